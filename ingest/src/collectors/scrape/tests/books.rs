//! Tests of what is remembered of a target's series between scrapes: labels that clash, rules, stale markers, limits.

use super::*;
use crate::collectors::scrape::ScrapeError;
use crate::collectors::scrape::series::{
    Report, STALE_MARKER_BITS, Scraped, SeriesBook, end_reports,
};
use crate::door::Batcher;
use crate::memory_bus::rows_of_all;

/// A target that is scraped again and again.
struct Scene {
    job: Job,
    target: Target,
    book: SeriesBook,
    door: Batcher,
    time: i64,
}

impl Scene {
    fn new(job: Job) -> Self {
        Scene {
            target: target(&job).unwrap(),
            job,
            book: SeriesBook::new(7),
            door: Batcher::new(1, 1 << 20, 10_000),
            time: 0,
        }
    }

    /// Scrapes a second later; a failure loses all.
    fn scrape(&mut self, body: &str) -> Result<Scraped, ScrapeError> {
        self.time += 1_000_000;
        let (job, target) = (&self.job, &self.target);
        let taken = self.book.take(
            body.as_bytes(),
            Format::Text,
            self.time,
            job,
            target,
            &mut self.door,
        );
        if taken.is_err() {
            self.door.discard();
            self.book
                .lose_all(self.time, job, target, &mut self.door)
                .unwrap();
        }
        taken
    }

    /// What was stored, sorted: `metric{labels} value @seconds`, without the target's labels; then what was refused.
    fn stored(&mut self) -> Vec<String> {
        let (records, rejections) = self.door.finish().unwrap();
        let mut stored: Vec<String> = rows_of_all(&records)
            .iter()
            .map(|(metric, labels, _, time, bits)| {
                let value = match *bits {
                    STALE_MARKER_BITS => "stale".to_owned(),
                    bits => f64::from_bits(bits).to_string(),
                };
                let own = labels.trim_matches(['{', '}']).split(',');
                let own: Vec<&str> = own
                    .filter(|label| ![r#"instance="web:80""#, r#"job="test""#].contains(label))
                    .collect();
                let labels = format!("{{{}}}", own.join(","));
                format!("{metric}{labels} {value} @{}", *time as f64 / 1e6)
            })
            .collect();
        stored.sort();
        stored.extend(rejections.first().iter().map(|one| format!("! {one}")));
        stored
    }
}

#[test]
fn series_that_go_are_marked_and_may_come_back() {
    let mut scene = Scene::new(job());
    assert_eq!(scene.scrape("a 1\nb{x=\"1\"} 2").unwrap().added, 2);
    assert_eq!(scene.stored(), ["a{} 1 @1", "b{x=\"1\"} 2 @1"]);
    let second = scene.scrape("a 3").unwrap();
    assert_eq!((second.exposed, second.kept, second.added), (1, 1, 0));
    assert_eq!(scene.stored(), ["a{} 3 @2", "b{x=\"1\"} stale @2"]);
    // Told once.
    assert_eq!(scene.scrape("a 3").unwrap().added, 0);
    assert_eq!(scene.stored(), ["a{} 3 @3"]);
    assert_eq!(scene.scrape("b{x=\"1\"} 5\na 4").unwrap().added, 1);
    assert_eq!(scene.stored(), ["a{} 4 @4", "b{x=\"1\"} 5 @4"]);
}

#[test]
fn a_scrape_that_fails_stores_nothing_and_marks_all() {
    let mut scene = Scene::new(job());
    scene.scrape("a 1\nb 2").unwrap();
    scene.stored();
    let error = scene.scrape("a 3\nc 4\nd{ 5").unwrap_err().to_string();
    assert_eq!(error, "line 3, column 2: these labels have no end, `}`");
    assert_eq!(scene.stored(), ["a{} stale @2", "b{} stale @2"]);
    scene.scrape("no number\n").unwrap_err();
    assert_eq!(scene.stored(), [""; 0]);
    assert_eq!(scene.scrape("a 6").unwrap().added, 1);
    assert_eq!(scene.stored(), ["a{} 6 @4"]);
}

#[test]
fn who_brings_times_is_not_marked_unless_times_are_not_taken() {
    let mut scene = Scene::new(job());
    scene.scrape("a 1 500").unwrap();
    assert_eq!(scene.stored(), ["a{} 1 @0.5"]);
    scene.scrape("").unwrap();
    assert_eq!(scene.stored(), [""; 0]);
    scene.job.honor_timestamps = false;
    scene.scrape("a 1 500").unwrap();
    assert_eq!(scene.stored(), ["a{} 1 @3"]);
    scene.scrape("").unwrap();
    assert_eq!(scene.stored(), ["a{} stale @4"]);
}

#[test]
fn labels_that_clash_are_renamed_or_win() {
    let body = "a{job=\"theirs\",exported_job=\"x\",instance=\"\"} 1";
    let mut scene = Scene::new(job());
    scene.scrape(body).unwrap();
    assert_eq!(
        scene.stored(),
        [r#"a{exported_exported_job="theirs",exported_job="x"} 1 @1"#]
    );
    scene.job.honor_labels = true;
    let mut scene = Scene::new(scene.job);
    scene.scrape(body).unwrap();
    assert_eq!(scene.stored(), [r#"a{exported_job="x",job="theirs"} 1 @1"#]);
}

#[test]
fn rules_drop_and_rename_series_of_every_scrape() {
    let mut with_rules = job();
    with_rules.metric_relabel = vec![
        rule(Action::Drop, &["__name__"], "go_.*", "", ""),
        rule(
            Action::Replace,
            &["__name__"],
            "old_(.*)",
            "__name__",
            "new_$1",
        ),
        rule(Action::LabelDrop, &[], "id", "", ""),
    ];
    let mut scene = Scene::new(with_rules);
    for second in 1..=3 {
        let scraped = scene.scrape("go_threads 8\nold_a{id=\"5\"} 1").unwrap();
        assert_eq!((scraped.exposed, scraped.kept), (2, 1));
        assert_eq!(scene.stored(), [format!("new_a{{}} 1 @{second}")]);
    }
    scene.scrape("").unwrap();
    assert_eq!(scene.stored(), ["new_a{} stale @4"]);
}

#[test]
fn a_series_that_can_not_be_is_refused_alone_and_each_time() {
    let mut scene = Scene::new(job());
    let labels: Vec<String> = (0..300).map(|i| format!("l{i}=\"v\"")).collect();
    let body = format!("a{{b=\"1\",b=\"2\"}} 1\nc 2\nd{{{}}} 3", labels.join(","));
    for second in 1..=2 {
        assert_eq!(scene.scrape(&body).unwrap().kept, 1);
        assert_eq!(
            scene.stored(),
            [
                format!("c{{}} 2 @{second}"),
                "! line 1, column 1: label `b` occurs twice; a label key must be unique within a series".to_owned(),
                "! line 3, column 1: 257 labels in one series; at most 256 are taken".to_owned(),
            ]
        );
    }
}

#[test]
fn more_samples_than_a_job_may_bring_fail_the_scrape() {
    let mut few = job();
    few.samples_max = 2;
    few.metric_relabel = vec![rule(Action::Drop, &["__name__"], "d.*", "", "")];
    let mut scene = Scene::new(few);
    assert_eq!(scene.scrape("a 1\nd1 1\nd2 1\nb 2").unwrap().kept, 2);
    let error = scene.scrape("a 1\nb 2\nc 3").unwrap_err();
    assert_eq!(error, ScrapeError::TooMany(2));
}

#[test]
fn reports_tell_how_it_went_and_end_with_markers() {
    let mut scene = Scene::new(job());
    let report = Report {
        is_up: true,
        duration_s: 0.25,
        scraped: Scraped {
            exposed: 5,
            kept: 4,
            added: 3,
            exemplars: 2,
        },
    };
    report
        .push(1_000_000, &scene.target, &mut scene.door)
        .unwrap();
    assert_eq!(
        scene.stored(),
        [
            "scrape_duration_seconds{} 0.25 @1",
            "scrape_samples_post_metric_relabeling{} 4 @1",
            "scrape_samples_scraped{} 5 @1",
            "scrape_series_added{} 3 @1",
            "up{} 1 @1"
        ]
    );
    end_reports(2_000_000, &scene.target, &mut scene.door).unwrap();
    let stored = scene.stored();
    assert_eq!(stored.len(), 5);
    assert!(
        stored.iter().all(|line| line.ends_with("{} stale @2")),
        "{stored:?}"
    );
}

/// The door forgets label sets when it is full; the book must not lose series by that.
#[test]
fn series_outlive_the_memory_of_the_door() {
    let mut many = job();
    many.samples_max = 10_000;
    let mut scene = Scene::new(many);
    scene.door = Batcher::new(1, 2_000, 100_000);
    let body: String = (0..500).map(|i| format!("a{{x=\"{i}\"}} {i}\n")).collect();
    for _ in 0..3 {
        scene.scrape(&body).unwrap();
        let stored = scene.stored();
        assert_eq!(stored.len(), 500);
        assert!(stored.iter().all(|line| !line.starts_with('!')));
    }
    scene.scrape("").unwrap();
    let stored = scene.stored();
    assert_eq!(
        stored
            .iter()
            .filter(|line| line.contains(" stale "))
            .count(),
        500
    );
}
