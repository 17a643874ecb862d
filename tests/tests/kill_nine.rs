//! C1 and C2 across `kill -9` at random moments: while starting, under load, in the middle of a request.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use tests::audit::Book;
use tests::load::Load;
use tests::process::Launch;
use tests::random::Random;

/// How often the program is killed, unless `TIDEWATCH_TEST_KILLS` says otherwise.
const KILLS: u64 = 6;

#[test]
fn c1_c2_random_kills_lose_nothing_and_count_nothing_twice() {
    if !tests::audit::is_available("kill_nine") {
        return;
    }
    let kills = std::env::var("TIDEWATCH_TEST_KILLS")
        .ok()
        .map_or(KILLS, |text| text.parse().unwrap());
    let mut random = Random::from_environment(20_261_121);
    eprintln!("seed {}: repeat with TIDEWATCH_TEST_SEED", random.seed);

    let directory = tempfile::tempdir().unwrap();
    let launch = Launch::new(directory.path());
    let mut load = Load::new(50).spikes_every(100);
    for round in 0..kills {
        let mut process = launch.start();
        let killer = process.killer();
        // One in three dies while it still starts; the others up to three seconds into the load.
        let starting = random.below(3) == 0;
        if !starting {
            process.wait_ready();
        }
        let delay = Duration::from_millis(random.below(if starting { 400 } else { 3000 }));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // The moment of the crash, drawn from the seed; nothing is expected of this wait.
                std::thread::sleep(delay);
                killer.kill();
            });
            while process.exited().is_none() {
                if starting {
                    process.wait_until(Duration::from_secs(30), |_| false);
                } else {
                    load.send(&process);
                }
            }
        });
        let mut process = launch.start_ready();
        load.resend(&process);
        // Half of the recoveries end in a kill, too, so that a recovery of a recovery is seen.
        if random.below(2) == 0 {
            process.kill_nine();
        } else {
            process.stop_cleanly();
        }
        eprintln!(
            "round {round}: killed after {delay:?} ({}), {} samples acknowledged so far",
            if starting { "starting" } else { "loaded" },
            load.acknowledged_samples()
        );
    }
    launch.start_ready().stop_cleanly();
    assert!(
        load.acknowledged_samples() > 0,
        "nothing was acknowledged, so nothing was tested"
    );
    Book::of(&load, directory.path())
        .audit(&format!("after {kills} kills with seed {}", random.seed));
}
