//! `tidewatch archive files`: the files of a table that count at this moment, for any engine that reads Parquet.

use schemas::Table;
use sinks::{list_partitions, load_chain};

use crate::config::Config;
use crate::error::CommandError;
use crate::stores;

/// Prints one absolute path or URL per line.
pub(crate) async fn files(config: &Config, table: Table) -> Result<(), CommandError> {
    let archive = stores::existing_archive(config)?;
    let topic = stores::topics(config).samples();
    let unread = |error| CommandError::of("the archive's chain", error);
    let mut text = String::new();
    for partition in list_partitions(&archive, &topic).await.map_err(unread)? {
        let Some(chain) = load_chain(&archive, &topic, partition)
            .await
            .map_err(unread)?
        else {
            continue;
        };
        for file in chain.files.iter().filter(|file| file.table == table) {
            match archive.local_root() {
                Some(root) => text.push_str(&root.join(&file.path).display().to_string()),
                None => text.push_str(&format!("{}/{}", archive.url(), file.path)),
            }
            text.push('\n');
        }
    }
    super::print(&text)
}
