//! Reads a chain link by link, far behind its newest base, to find a hole before someone needs what is in it.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::load::read_links;
use super::state::link_path;
use super::{ChainError, ChainView};
use crate::archive::Archive;

/// Links read at a time. 512: a few hundred kilobytes, and the time that is left is looked at often.
const STRETCH: u64 = 512;

/// Checks the links of a chain, newest first, each against the one before, until the first one or until the time is over.
/// Returns the sequences that were checked (end exclusive); they start at 0 if there was time for all.
///
/// # Errors
/// `Corruption` if a link is missing, damaged, or does not follow the one before; `Outage`; `BadConfig`.
pub async fn verify_links(
    archive: &Archive,
    topic: &str,
    view: &ChainView,
    within: Duration,
) -> Result<Range<u64>, ChainError> {
    let started = Instant::now();
    let partition = view.partition;
    let end = view.last().map_or(0, |link| link.sequence + 1);
    let mut from = end;
    while from > 0 && (from == end || started.elapsed() < within) {
        let stretch = from.saturating_sub(STRETCH)..from;
        // One link more, so that the first of the stretch before is compared with it.
        let asked = stretch.start..(stretch.end + 1).min(end);
        let found = read_links(archive, topic, partition, asked.clone()).await?;
        let next = asked.start + found.len() as u64;
        let damaged = |sequence, detail| match link_path(topic, partition, sequence) {
            Ok(path) => ChainError::Corruption { path, detail },
            Err(error) => ChainError::from_archive(partition, error),
        };
        if next < asked.end {
            let detail = format!("it is missing, though the chain goes on to {}", end - 1);
            return Err(damaged(next, detail));
        }
        if let Some((link, expected)) = found
            .iter()
            .zip(asked)
            .find(|(link, expected)| link.sequence != *expected || link.partition != partition)
        {
            let detail = format!(
                "expected link {expected} of partition {partition}, found {} of {}",
                link.sequence, link.partition
            );
            return Err(damaged(expected, detail));
        }
        from = stretch.start;
    }
    Ok(from..end)
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::path::Path;
    use rstest::rstest;

    use super::super::tests::{TOPIC, claim, commit, get, place, put};
    use super::*;
    use crate::load_chain;

    const LONG: Duration = Duration::from_secs(600);

    /// 600 links: two bases, so that loading no longer looks at the old ones.
    async fn long_chain(archive: &Archive) -> ChainView {
        let mut chain = claim(archive).await.unwrap();
        for end in 1..600 {
            chain.append(commit(end, &[], &[])).await.unwrap();
        }
        load_chain(archive, TOPIC, 3).await.unwrap().unwrap()
    }

    #[rstest]
    #[case::removed(false)]
    #[case::changed(true)]
    #[tokio::test]
    async fn a_hole_behind_the_base_is_found(#[case] changed: bool) {
        let place = place(false).unwrap();
        let view = long_chain(&place.archive).await;
        let verified = verify_links(&place.archive, TOPIC, &view, LONG).await;
        assert_eq!(verified.unwrap(), 0..600);

        let path = link_path(TOPIC, 3, 10).unwrap();
        if changed {
            // Still a link, but not the one that its successor names.
            let text = String::from_utf8(get(&place.archive, &path).await).unwrap();
            let other = text.replace("\"duplicate\": 2", "\"duplicate\": 3");
            assert_ne!(
                text, other,
                "the link has another form than this test knows"
            );
            put(&place.archive, &path, other.as_bytes()).await;
        } else {
            let location = Path::from(path.as_str());
            place.archive.store().delete(&location).await.unwrap();
        }
        let loaded = load_chain(&place.archive, TOPIC, 3).await.unwrap();
        assert!(loaded.is_some(), "loading does not look that far back");
        let error = verify_links(&place.archive, TOPIC, &view, LONG)
            .await
            .unwrap_err();
        let ChainError::Corruption { path: told, .. } = &error else {
            panic!("expected corruption, found {error}")
        };
        let blamed = if changed { 11 } else { 10 };
        assert_eq!(*told, link_path(TOPIC, 3, blamed).unwrap());
    }

    #[tokio::test]
    async fn what_there_was_no_time_for_is_said() {
        let place = place(false).unwrap();
        let view = long_chain(&place.archive).await;
        let verified = verify_links(&place.archive, TOPIC, &view, Duration::ZERO).await;
        assert_eq!(verified.unwrap(), 600 - STRETCH..600);
    }
}
