//! `tidewatch topics create`: makes the topics of a Kafka cluster as the settings want them.

use std::fmt::Write;

use crate::config::{BusKind, Config};
use crate::error::CommandError;
use crate::stores;

/// Creates what is missing and prints what is there.
pub(crate) async fn create(config: &Config) -> Result<(), CommandError> {
    if config.bus.kind == BusKind::Embedded {
        return Err(CommandError::Usage(
            "the embedded log makes its topics itself when `tidewatch run` starts; for a Kafka cluster set bus.kind = \"kafka\" and bus.brokers".to_owned(),
        ));
    }
    let log = stores::open_log(config, &config.data_dir, None).await?;
    let specs = stores::topic_specs(config, &*log.bus).await?;
    log.bus
        .create_topics(&specs)
        .await
        .map_err(|error| CommandError::of("topics", error))?;
    let mut text = String::new();
    for spec in specs {
        let _ = writeln!(text, "{}: {} partitions", spec.name, spec.partitions);
    }
    super::print(&text)
}
