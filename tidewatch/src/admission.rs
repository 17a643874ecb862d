//! Keeps an admission of series going: lets its time pass, tells what it folds, and lets its folded labels and known series outlive the process.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use ingest::admission::{Admission, SeriesLimits, Unreadable};
use pipeline::publish_anomalies;
use schemas::{Anomaly, HasCode, Topics};
use tracing::{debug, warn};

use crate::access::write_private;
use crate::error::CommandError;

/// File of the folded labels in the data directory. It holds example values, so it belongs to its owner alone.
const FILE: &str = "folded-labels";
/// File of the series that are known, beside it.
const KNOWN_FILE: &str = "known-series";
/// Who tells of folded labels, in the headers of the events.
const SOURCE: &str = "/tidewatch/admission";
/// How often time passes. 1 s: a label that was folded less long ago than that before a crash is folded again soon enough.
const INTERVAL: Duration = Duration::from_secs(1);

/// An admission that knows what was folded, and which series were active, when the last process ended.
///
/// # Errors
/// If a file is there and can't be read or set aside. One that is damaged is set aside and told.
pub(crate) fn open(limits: SeriesLimits, data_dir: &Path) -> Result<Arc<Admission>, CommandError> {
    let admission = Arc::new(Admission::new(
        limits,
        jiff::Timestamp::now().as_microsecond(),
    ));
    restore(data_dir, FILE, |saved| admission.restore(saved))?;
    restore(data_dir, KNOWN_FILE, |saved| {
        admission.restore_series(saved)
    })?;
    Ok(admission)
}

/// Takes up a file, if there is one.
fn restore(
    data_dir: &Path,
    name: &str,
    take: impl FnOnce(&[u8]) -> Result<(), Unreadable>,
) -> Result<(), CommandError> {
    let path = data_dir.join(name);
    let failed = |error: std::io::Error| {
        CommandError::surroundings(format!("`{}`: {error}", path.display()))
    };
    let saved = match std::fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        saved => saved.map_err(failed)?,
    };
    if let Err(error) = take(&saved) {
        let aside = path.with_extension("damaged");
        std::fs::rename(&path, &aside).map_err(failed)?;
        warn!(code = error.code().id, %error, file = %path.display(), aside = %aside.display(), "a file of the limits can't be read and is set aside; labels with too many values are folded anew, known series count as new");
    }
    Ok(())
}

/// Lets time pass, tells of folded labels and saves what changed, until it is aborted.
pub(crate) async fn keep(
    admission: Arc<Admission>,
    data_dir: PathBuf,
    bus: Arc<dyn Bus>,
    topics: Topics,
) {
    // Side by side: a log that is away must not hold the time.
    tokio::join!(
        pass_and_save(Arc::clone(&admission), data_dir),
        tell_news(&admission, &*bus, &topics),
    );
}

/// Appends the events of the labels that have begun to be folded. While the log is away they wait.
async fn tell_news(admission: &Admission, bus: &dyn Bus, topics: &Topics) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        let news = admission.take_news();
        let events: Vec<Anomaly> = news
            .iter()
            .map(|label| label.event(admission.values_max()))
            .collect();
        if let Err(error) = publish_anomalies(bus, topics, 0, SOURCE, &events).await {
            debug!(%error, labels = news.len(), "folded labels could not be told yet");
            admission.keep_news(news);
        }
    }
}

async fn pass_and_save(admission: Arc<Admission>, data_dir: PathBuf) {
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut told = false;
    loop {
        ticks.tick().await;
        let (admission, data_dir) = (Arc::clone(&admission), data_dir.clone());
        let saved = tokio::task::spawn_blocking(move || {
            admission.pass(jiff::Timestamp::now().as_microsecond());
            save(&admission, &data_dir)
        });
        match saved.await {
            Ok(Ok(())) => told = false,
            // Once: it is tried again each second.
            Ok(Err(error)) if !told => {
                warn!(%error, "folded labels and known series can't be saved; until they can, a restart stores new values of such labels as they are, and takes known series for new");
                told = true;
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

/// Saves the folded labels and the known series, each if they have changed.
pub(crate) fn save(admission: &Admission, data_dir: &Path) -> std::io::Result<()> {
    if let Some(saved) = admission.unsaved() {
        let written = write_private(&data_dir.join(FILE), &saved);
        written.inspect_err(|_| admission.keep_unsaved())?;
    }
    if let Some(saved) = admission.unsaved_series() {
        let written = write_private(&data_dir.join(KNOWN_FILE), &saved);
        written.inspect_err(|_| admission.keep_unsaved_series())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_set_aside_and_not_lost() {
        for name in [FILE, KNOWN_FILE] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(name), "nonsense").unwrap();
            let admission = open(SeriesLimits::default(), dir.path()).unwrap();
            assert_eq!(admission.counts(), (0, 0));
            assert!(!dir.path().join(name).exists());
            let aside = std::fs::read(dir.path().join(format!("{name}.damaged"))).unwrap();
            assert_eq!(aside, b"nonsense");
            save(&admission, dir.path()).unwrap();
            assert!(!dir.path().join(name).exists(), "nothing has changed");
        }
    }
}
