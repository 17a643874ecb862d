//! Events are what their JSON Schemas say, and the schemas say no more than the events.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use analytics::{DetectorConfig, SeriesDetectors, anomaly_event, rfc3339};
use jsonschema::Validator;
use schemas::{Anomaly, Forecast, Kind, Labels, Series};
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

fn a_forecast() -> Value {
    let series = series(&[("host.name", "web-1")]);
    serde_json::to_value(Forecast {
        event_id: "0123456789abcdef0123456789abcdef".to_owned(),
        series_id: series.id,
        metric: series.metric.to_string(),
        labels: series.labels,
        made_at: rfc3339(1_795_246_200_000_000),
        time: rfc3339(1_795_250_000_000_000),
        expected: 0.5,
        lower: 0.4,
        upper: 0.6,
        coverage: 0.8,
        model: "linear".to_owned(),
        explanation: "it will stay".to_owned(),
    })
    .unwrap()
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
fn a_forecast_validates() {
    assert!(self::validator("forecast").is_valid(&a_forecast()));
}

#[test]
fn schemas_list_exactly_the_fields_and_describe_each() {
    for (event, value) in [("anomaly", an_anomaly()), ("forecast", a_forecast())] {
        let schema = schema(event);
        let keys = |value: &Value| {
            value
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<BTreeSet<_>>()
        };
        let required: BTreeSet<String> =
            serde_json::from_value(schema["required"].clone()).unwrap();
        assert_eq!(
            (keys(&schema["properties"]), required),
            (keys(&value), keys(&value)),
            "{event}"
        );
        for (field, property) in schema["properties"].as_object().unwrap() {
            assert!(
                property["description"].is_string(),
                "{event}.{field} has no description"
            );
        }
    }
    let (vote, schema) = (
        &an_anomaly()["votes"][0],
        &schema("anomaly")["$defs"]["vote"],
    );
    assert_eq!(
        vote.as_object().unwrap().keys().collect::<Vec<_>>(),
        schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .collect::<Vec<_>>()
    );
}

#[test]
fn broken_events_do_not_validate() {
    let validators = [validator("anomaly"), validator("forecast")];
    let events = [an_anomaly(), a_forecast()];
    for (validator, event) in validators.iter().zip(&events) {
        for field in event.as_object().unwrap().keys() {
            let mut lacking = event.clone();
            lacking.as_object_mut().unwrap().remove(field);
            assert!(!validator.is_valid(&lacking), "without {field}");
            let mut other = event.clone();
            other[field] = Value::Null;
            assert!(!validator.is_valid(&other), "{field} is null");
        }
        let breaks = [
            ("event_id", json!("0123")),
            ("series_id", json!("ZZ13710a9352481bb651fb4d470d7123")),
            ("metric", json!("")),
            ("labels", json!({"host": 1})),
            ("labels", json!({"": "x"})),
            ("time", json!("yesterday")),
            ("time", json!(1_795_246_200)),
            ("expected", json!("0.3")),
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
    ] {
        let mut broken = an_anomaly();
        broken[field] = value.clone();
        assert!(!validators[0].is_valid(&broken), "{field} = {value}");
    }
    let mut broken = an_anomaly();
    broken["votes"][0]["detector"] = json!("oracle");
    assert!(!validators[0].is_valid(&broken));
}
