//! Events are what their JSON Schemas say, and the schemas say no more than the events.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use analytics::{DetectorConfig, SeriesDetectors, anomaly_event};
use jsonschema::Validator;
use schemas::forecast::{BAND_COVERAGES, FULL_WITHIN_S};
use schemas::{
    Anomaly, AnomalyKind, Band, Contribution, Direction, Forecast, FullAnswer, FullDates,
    FullWithin, Kind, Labels, Outlook, Related, Series, TrainedOn,
};
use serde_json::{Value, json};

fn schema(event: &str) -> Value {
    let path = tests::repository()
        .join("schemas/json")
        .join(format!("{event}.schema.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn validator(event: &str) -> Validator {
    let schema = schema(event);
    assert!(
        jsonschema::meta::is_valid(&schema),
        "{event}.schema.json is not a JSON Schema"
    );
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
}

fn series(labels: &[(&str, &str)]) -> Series {
    Series::new(
        "system.cpu.utilization",
        Labels::try_new(labels.iter().copied()).unwrap(),
        Kind::Gauge,
    )
}

/// Every event that a series of values brings about.
fn anomalies(series: &Series, values: impl Iterator<Item = f64>) -> Vec<Anomaly> {
    let (config, mut detectors) = (
        DetectorConfig {
            rest_s: 0.0,
            ..DetectorConfig::default()
        },
        SeriesDetectors::default(),
    );
    let mut found = Vec::new();
    for (i, value) in values.enumerate() {
        let time = 1_795_246_200_000_000 + i as i64 * 10_000_000;
        let observation = detectors.observe(&config, time, value);
        if observation.announce {
            found.push(anomaly_event(
                series,
                time,
                value,
                &observation,
                observation.completeness,
            ));
        }
    }
    found
}

fn an_anomaly() -> Value {
    let series = series(&[("host.name", "web-1"), ("cpu", "0")]);
    let values = (0..100).map(|i| {
        if i == 99 {
            0.97
        } else {
            0.3 + 0.01 * f64::from(i % 5)
        }
    });
    let events = anomalies(&series, values);
    assert_eq!(events.len(), 1);
    serde_json::to_value(&events[0]).unwrap()
}

/// An event with everything in it that an event can have.
fn a_full_anomaly() -> Value {
    let mut event: Anomaly = serde_json::from_value(an_anomaly()).unwrap();
    event.related = vec![Related {
        series_id: event.series_id,
        metric: "system.disk.io".to_owned(),
        labels: event.labels.clone(),
        lag_s: -40.0,
        score: 3.5,
        direction: Direction::Low,
    }];
    event.contributions = vec![Contribution {
        feature: "disk.io".to_owned(),
        value: 5.0,
        expected: 1.0,
        share: 0.75,
    }];
    serde_json::to_value(&event).unwrap()
}

fn a_forecast(time: i64, outlook: Outlook) -> Value {
    let series = series(&[("host.name", "web-1")]);
    let made_at = 1_795_246_200_000_000;
    serde_json::to_value(Forecast {
        event_id: "0123456789abcdef0123456789abcdef".to_owned(),
        series_id: series.id,
        metric: series.metric.to_string(),
        labels: series.labels,
        made_at,
        time,
        horizon_s: Forecast::horizon_s(made_at, time),
        outlook,
        method: "seasonal".to_owned(),
        trained_on: TrainedOn {
            span_s: 86_400,
            samples: 288,
        },
        trust: 1.0,
        explanation: "it will stay".to_owned(),
    })
    .unwrap()
}

/// A forecast of each kind.
fn forecasts() -> [Value; 2] {
    let band = |coverage: f64| Band {
        coverage,
        lower: 0.5 - coverage / 4.0,
        upper: 0.5 + coverage / 4.0,
    };
    let value = Outlook::Value {
        median: 0.5,
        bands: BAND_COVERAGES.map(band),
    };
    let full = Outlook::TimeToFull {
        answer: FullAnswer::FullIn,
        used: 70.0,
        ceiling: 100.0,
        p_full: FULL_WITHIN_S.map(|within_s| FullWithin {
            within_s,
            probability: within_s as f64 / 2_592_000.0,
        }),
        dates: FullDates {
            p10: Some(1_795_250_000_000_000),
            p50: Some(1_795_350_000_000_000),
            p90: None,
        },
    };
    [
        a_forecast(1_795_250_000_000_000, value),
        a_forecast(1_797_838_200_000_000, full),
    ]
}

#[test]
fn every_anomaly_that_the_detectors_emit_validates() {
    let validator = validator("anomaly");
    let mut seen = 0;
    for labels in [
        &[("host.name", "web-1"), ("cpu", "0")][..],
        &[],
        &[("a", "\"quoted\" 'ümlaut' \n")],
    ] {
        for size in [1e-300, 1e-9, 1.0, 1e12, 1e300] {
            for spike in [5.0, -5.0, 1e6] {
                let values = (0..400).map(|i| {
                    size * (1.0 + 0.01 * f64::from(i % 7)) * if i % 90 == 89 { spike } else { 1.0 }
                });
                for event in anomalies(&series(labels), values) {
                    let event = serde_json::to_value(&event).unwrap();
                    assert!(
                        validator.is_valid(&event),
                        "{}: {event}",
                        validator.validate(&event).unwrap_err()
                    );
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 50, "only {seen} events were checked");
    assert!(validator.is_valid(&an_anomaly()));
}

#[test]
fn every_kind_of_anomaly_validates() {
    let validator = validator("anomaly");
    let kinds = [
        AnomalyKind::Point,
        AnomalyKind::LevelShift,
        AnomalyKind::Drift,
        AnomalyKind::Variance,
        AnomalyKind::FlatLine,
        AnomalyKind::Missing,
        AnomalyKind::Resource,
        AnomalyKind::Peer,
        AnomalyKind::Cardinality,
    ];
    for kind in kinds {
        let mut event: Anomaly = serde_json::from_value(a_full_anomaly()).unwrap();
        event.kind = kind;
        event.observed = event.observed.filter(|_| kind != AnomalyKind::Missing);
        let event = serde_json::to_value(&event).unwrap();
        assert_eq!(event["kind"], kind.name());
        assert!(
            validator.is_valid(&event),
            "{}: {event}",
            validator.validate(&event).unwrap_err()
        );
    }
}

#[test]
fn forecasts_of_both_kinds_validate() {
    let validator = validator("forecast");
    for event in forecasts() {
        assert!(
            validator.is_valid(&event),
            "{}: {event}",
            validator.validate(&event).unwrap_err()
        );
    }
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

/// An object that a schema describes has exactly its properties, all required, each with a description.
fn check_fields(what: &str, schema: &Value, found: BTreeSet<String>) {
    let required: BTreeSet<String> = serde_json::from_value(schema["required"].clone()).unwrap();
    assert_eq!(
        (keys(&schema["properties"]), required),
        (found.clone(), found),
        "{what}"
    );
    for (field, property) in schema["properties"].as_object().unwrap() {
        assert!(
            property["description"].is_string() || property["const"].is_string(),
            "{what}.{field} has no description"
        );
    }
}

#[test]
fn schemas_list_exactly_the_fields_and_describe_each() {
    let (event, schema) = (a_full_anomaly(), self::schema("anomaly"));
    check_fields("anomaly", &schema, keys(&event));
    for (list, definition) in [
        ("votes", "vote"),
        ("related", "related"),
        ("contributions", "contribution"),
    ] {
        check_fields(list, &schema["$defs"][definition], keys(&event[list][0]));
    }
    let schema = self::schema("forecast");
    let common = keys(&schema["properties"]);
    for (event, own) in forecasts().iter().zip(schema["oneOf"].as_array().unwrap()) {
        let kind = event["kind"].as_str().unwrap();
        assert_eq!(own["properties"]["kind"]["const"], kind);
        let fields: BTreeSet<String> = keys(event).difference(&common).cloned().collect();
        let with_kind = fields.iter().cloned().chain(["kind".to_owned()]).collect();
        check_fields(kind, own, with_kind);
        let rest = keys(event).difference(&fields).cloned().collect();
        check_fields("forecast", &schema, rest);
    }
    let [value, full] = forecasts();
    let definitions = &schema["$defs"];
    check_fields("bands", &definitions["band"], keys(&value["bands"][0]));
    check_fields(
        "p_full",
        &definitions["full_within"],
        keys(&full["p_full"][0]),
    );
    let dates = &schema["oneOf"][1]["properties"]["dates"];
    check_fields("dates", dates, keys(&full["dates"]));
}

#[test]
fn broken_events_do_not_validate() {
    let validators = [validator("anomaly"), validator("forecast")];
    let [value, full] = forecasts();
    let events = [
        (&validators[0], a_full_anomaly()),
        (&validators[1], value),
        (&validators[1], full),
    ];
    for (validator, event) in &events {
        for field in event.as_object().unwrap().keys() {
            let mut lacking = event.clone();
            lacking.as_object_mut().unwrap().remove(field);
            assert!(!validator.is_valid(&lacking), "without {field}");
            let mut other = event.clone();
            other[field] = Value::Null;
            // Of what is missing, nothing was observed.
            assert_eq!(
                validator.is_valid(&other),
                field == "observed",
                "{field} is null"
            );
        }
        let breaks = [
            ("event_id", json!("0123")),
            ("series_id", json!("ZZ13710a9352481bb651fb4d470d7123")),
            ("metric", json!("")),
            ("labels", json!({"host": 1})),
            ("labels", json!({"": "x"})),
            ("time", json!("yesterday")),
            ("time", json!(1_795_246_200)),
            ("trust", json!("0.3")),
            ("kind", json!("other")),
            ("unknown", json!(1)),
        ];
        for (field, value) in breaks {
            let mut broken = event.clone();
            broken[field] = value.clone();
            assert!(!validator.is_valid(&broken), "{field} = {value}");
        }
    }
    for (field, value) in [
        ("score", json!(0.9)),
        ("direction", json!("up")),
        ("trust", json!(1.5)),
        ("votes", json!([])),
        ("completeness", json!(-0.1)),
        ("expected", json!("0.3")),
        ("raw_score", json!(-1)),
        ("related", json!([{}])),
        ("contributions", json!([{}])),
    ] {
        let mut broken = an_anomaly();
        broken[field] = value.clone();
        assert!(!validators[0].is_valid(&broken), "{field} = {value}");
    }
    let mut broken = an_anomaly();
    broken["votes"][0]["detector"] = json!("the oracle");
    assert!(!validators[0].is_valid(&broken));
}
