//! What the ledger must remember, score and decide.

use super::*;
use crate::forecast::Band;

const HOUR: i64 = 3_600_000_000;

/// A step with bands of ±1, ±2 and ±3 around a median.
fn step(time: Micros, median: f64) -> ForecastStep {
    let band = |width: f64| Band {
        lower: median - width,
        upper: median + width,
    };
    ForecastStep {
        time,
        median,
        bands: [band(1.0), band(2.0), band(3.0)],
    }
}

fn value_forecast(id: u128, time: Micros, by_method: &[(Method, f64)]) -> PublishedForecast {
    let statements = by_method
        .iter()
        .map(|(method, median)| (*method, step(time, *median)));
    PublishedForecast {
        id,
        made_at: time - HOUR,
        time,
        statement: Statement::Value(statements.collect()),
    }
}

fn full_within(id: u128, made_at: Micros, hours: i64, probability: f64) -> PublishedForecast {
    PublishedForecast {
        id,
        made_at,
        time: made_at + hours * HOUR,
        statement: Statement::FullWithin(probability),
    }
}

#[test]
fn a_forecast_is_scored_by_the_value_of_its_step() {
    let mut ledger = ForecastLedger::default();
    ledger.publish(value_forecast(
        7,
        5 * HOUR,
        &[(Method::SeasonalRegression, 10.0)],
    ));
    assert_eq!(ledger.value_came(4 * HOUR, 99.0), []);
    let scored = ledger.value_came(5 * HOUR, 12.5);
    // By hand: 0.5·2.5; the ends below at 9, 8, 7 cost 3.5·.25, 4.5·.1, 5.5·.025; above, 11 and 12 are passed by 1.5 and .5, which cost
    // 1.5·.75 and .5·.9, and 13 is not passed by .5, which costs .5·.025; a seventh of the sum.
    let loss = (1.25 + 0.875 + 0.45 + 0.1375 + 1.125 + 0.45 + 0.0125) / 7.0;
    let [
        ScoredForecast {
            id: 7,
            score,
            observed,
            ..
        },
    ] = scored[..]
    else {
        panic!("{scored:?}");
    };
    let StatementScore::Value {
        method,
        median,
        pinball_loss,
        covered,
    } = score
    else {
        panic!("{score:?}");
    };
    assert_eq!(
        (method, median, observed),
        (Method::SeasonalRegression, 10.0, 12.5)
    );
    assert_eq!(covered, [false, false, true]);
    assert!((pinball_loss - loss).abs() < 1e-12, "{pinball_loss} {loss}");
    assert_eq!(ledger.waiting(), 0);
    let record = ledger.track_record(Method::SeasonalRegression).unwrap();
    assert_eq!((record.forecasts, record.coverage), (1, [0.0, 0.0, 1.0]));
}

#[test]
fn a_forecast_that_met_a_hole_leaves_unscored() {
    let mut ledger = ForecastLedger::default();
    ledger.publish(value_forecast(
        1,
        5 * HOUR,
        &[(Method::SeasonalNaive, 10.0)],
    ));
    assert_eq!(ledger.value_came(5 * HOUR, f64::NAN), []);
    assert_eq!(ledger.waiting(), 1);
    assert_eq!(ledger.value_came(6 * HOUR, 10.0), []);
    assert_eq!((ledger.waiting(), ledger.unscored()), (0, 1));
}

#[test]
fn what_waits_is_bounded_and_an_id_waits_once() {
    let mut ledger = ForecastLedger::default();
    for id in 0..1_000 {
        ledger.publish(full_within(id, 0, 1, 0.5));
        ledger.publish(full_within(id, 0, 1, 0.5));
    }
    assert_eq!(ledger.waiting(), STATEMENTS_MAX);
    assert_eq!(ledger.unscored(), 1_000 - STATEMENTS_MAX as u64);
}

#[test]
fn a_worse_method_is_demoted_and_a_better_one_returns() {
    let both = [Method::SeasonalRegression, Method::SeasonalNaive];
    let mut ledger = ForecastLedger::default();
    let mut hour = 0;
    let mut play = |ledger: &mut ForecastLedger, forecasts: i64, own: f64, naive: f64| {
        for _ in 0..forecasts {
            hour += 1;
            let statements = [
                (Method::SeasonalRegression, own),
                (Method::SeasonalNaive, naive),
            ];
            ledger.publish(value_forecast(hour as u128, hour * HOUR, &statements));
            ledger.value_came(hour * HOUR, 0.0);
        }
        ledger.method(&both)
    };
    // 29 bad ones are not enough, the thirtieth is.
    assert_eq!(play(&mut ledger, 29, 9.0, 3.0), Method::SeasonalRegression);
    assert_eq!(play(&mut ledger, 1, 9.0, 3.0), Method::SeasonalNaive);
    // As good as the naive one is not enough to return, however long.
    assert_eq!(play(&mut ledger, 500, 3.0, 3.0), Method::SeasonalNaive);
    // Better is, after a while; and what is as good as the naive one stays.
    assert_eq!(play(&mut ledger, 100, 0.0, 3.0), Method::SeasonalRegression);
    assert_eq!(
        play(&mut ledger, 1_000, 3.0, 3.0),
        Method::SeasonalRegression
    );
    // The yardstick is never sent away, and a method that nobody offers is not chosen.
    assert!(!ledger.track_record(Method::SeasonalNaive).unwrap().demoted);
    assert_eq!(
        ledger.method(&[Method::SeasonalNaive]),
        Method::SeasonalNaive
    );
    assert_eq!(ledger.method(&[]), Method::SeasonalNaive);
    assert_eq!(
        ledger.method(&[Method::MstlEts, Method::SeasonalRegression]),
        Method::MstlEts
    );
}

#[test]
fn probabilities_of_full_are_hits_or_misses() {
    let mut ledger = ForecastLedger::default();
    ledger.publish(full_within(1, 0, 1, 0.1));
    ledger.publish(full_within(2, 0, 4, 0.8));
    ledger.publish(full_within(3, 0, 24, 0.9));
    assert_eq!(ledger.fullness_came(HOUR / 2, false, 0.9), []);
    // The first stretch ends without: a miss, of a forecast that said so.
    let scored = ledger.fullness_came(HOUR, false, 0.95);
    assert_eq!(scored.len(), 1);
    let StatementScore::FullWithin {
        probability: 0.1,
        full: false,
        brier,
    } = scored[0].score
    else {
        panic!("{scored:?}");
    };
    assert!((brier - 0.01).abs() < 1e-12);
    // Full within the other two, both decided at once; one made at this very moment is not decided by it.
    ledger.publish(full_within(4, 3 * HOUR, 1, 0.5));
    let scored = ledger.fullness_came(3 * HOUR, true, 1.0);
    let ids: Vec<u128> = scored.iter().map(|scored| scored.id).collect();
    assert_eq!(ids, [2, 3]);
    assert!(
        scored
            .iter()
            .all(|scored| matches!(scored.score, StatementScore::FullWithin { full: true, .. }))
    );
    // Full, but after the end of the stretch: a miss.
    let scored = ledger.fullness_came(9 * HOUR, true, 1.0);
    assert!(matches!(
        scored[0].score,
        StatementScore::FullWithin { full: false, .. }
    ));
    let record = ledger.probability_record();
    assert_eq!(record.forecasts, 4);
    assert!((record.came_true - 0.5).abs() < 1e-12);
    assert!((record.probability - (0.1 + 0.8 + 0.9 + 0.5) / 4.0).abs() < 1e-12);
    assert!((record.brier - (0.01 + 0.04 + 0.01 + 0.25) / 4.0).abs() < 1e-12);
}

#[test]
fn a_snapshot_continues_to_the_last_bit() {
    let mut whole = ForecastLedger::default();
    let mut parts = ForecastLedger::default();
    for hour in 0..200_i64 {
        let statements = [
            (Method::SeasonalRegression, (hour % 7) as f64 / 3.0),
            (Method::SeasonalNaive, (hour % 5) as f64 / 3.0),
        ];
        for ledger in [&mut whole, &mut parts] {
            ledger.publish(value_forecast(hour as u128, (hour + 3) * HOUR, &statements));
            ledger.publish(full_within(1_000 + hour as u128, hour * HOUR, 5, 0.3));
            ledger.value_came(hour * HOUR, 0.1);
            ledger.fullness_came(hour * HOUR, hour % 50 == 0, 0.5);
        }
        parts = postcard::from_bytes(&postcard::to_allocvec(&parts).unwrap()).unwrap();
    }
    assert_eq!(parts, whole);
    assert_eq!(
        whole
            .track_record(Method::SeasonalRegression)
            .unwrap()
            .forecasts,
        197
    );
}
