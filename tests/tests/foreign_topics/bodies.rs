//! Records as the agents write them, each with one sample: the same value and time in every format.

use serde_json::json;

/// A format by its name, how its records are written, and what its samples are called.
pub(crate) struct Agent {
    pub(crate) format: &'static str,
    /// Of a value and a time in seconds.
    pub(crate) record: fn(u64, u64) -> Vec<u8>,
    pub(crate) metric: &'static str,
    /// The label that names the host.
    pub(crate) host: &'static str,
}

/// All formats.
pub(crate) const AGENTS: [Agent; 7] = [
    Agent {
        format: "otlp_proto",
        record: otlp_proto,
        metric: "system.load",
        host: "host.name",
    },
    Agent {
        format: "otlp_json",
        record: otlp_json,
        metric: "system.load.json",
        host: "host.name",
    },
    Agent {
        format: "influx",
        record: influx,
        metric: "cpu_usage",
        host: "host",
    },
    Agent {
        format: "json",
        record: telegraf_json,
        metric: "mem_used",
        host: "host",
    },
    Agent {
        format: "prometheusremotewrite",
        record: remote_write,
        metric: "node_load1",
        host: "host",
    },
    Agent {
        format: "native_json",
        record: native_json,
        metric: "vector_load",
        host: "host",
    },
    Agent {
        format: "json_lines",
        record: json_lines,
        metric: "plain",
        host: "host",
    },
];

/// One field of bytes of a protobuf message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![number << 3 | 2];
    varint(&mut message, bytes.len() as u64);
    message.extend_from_slice(bytes);
    message
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// One field of eight bytes.
fn fixed(number: u8, bytes: [u8; 8]) -> Vec<u8> {
    let mut message = vec![number << 3 | 1];
    message.extend_from_slice(&bytes);
    message
}

/// As the Collector's Kafka exporter writes it: one request, no key, no headers.
pub(crate) fn otlp_proto(value: u64, seconds: u64) -> Vec<u8> {
    let time = fixed(3, (seconds * 1_000_000_000).to_le_bytes());
    let point = [time, fixed(4, (value as f64).to_le_bytes())].concat();
    let metric = [field(1, b"system.load"), field(5, &field(1, &point))].concat();
    let attribute = [field(1, b"host.name"), field(2, &field(1, b"a"))].concat();
    let resource = field(1, &field(1, &attribute));
    field(1, &[resource, field(2, &field(2, &metric))].concat())
}

/// The same with `encoding: otlp_json`.
pub(crate) fn otlp_json(value: u64, seconds: u64) -> Vec<u8> {
    json!({"resourceMetrics": [{
        "resource": {"attributes": [{"key": "host.name", "value": {"stringValue": "a"}}]},
        "scopeMetrics": [{"scope": {}, "metrics": [{"name": "system.load.json", "gauge": {"dataPoints": [
            {"timeUnixNano": (seconds * 1_000_000_000).to_string(), "asDouble": value as f64}]}}]}],
    }]})
    .to_string()
    .into_bytes()
}

/// As Telegraf writes it by default: one line, nanoseconds.
pub(crate) fn influx(value: u64, seconds: u64) -> Vec<u8> {
    format!("cpu,host=a usage={value},state=\"idle\" {seconds}000000000\n").into_bytes()
}

/// As Telegraf writes it with `data_format = "json"`: seconds.
fn telegraf_json(value: u64, seconds: u64) -> Vec<u8> {
    json!({"fields": {"used": value}, "name": "mem", "tags": {"host": "a"}, "timestamp": seconds})
        .to_string()
        .into_bytes()
}

/// As Telegraf writes it with `data_format = "prometheusremotewrite"`: a snappy block, here of literals only.
fn remote_write(value: u64, seconds: u64) -> Vec<u8> {
    let label = |name: &[u8], value: &[u8]| field(1, &[field(1, name), field(2, value)].concat());
    let mut sample = fixed(1, (value as f64).to_le_bytes());
    sample.push(2 << 3);
    varint(&mut sample, seconds * 1_000);
    let labels = [label(b"__name__", b"node_load1"), label(b"host", b"a")].concat();
    let request = field(1, &[labels, field(2, &sample)].concat());
    let mut block = Vec::new();
    varint(&mut block, request.len() as u64);
    for literal in request.chunks(60) {
        block.push((literal.len() as u8 - 1) << 2);
        block.extend_from_slice(literal);
    }
    block
}

/// As Vector writes a metric with the codec `native_json`.
fn native_json(value: u64, seconds: u64) -> Vec<u8> {
    let time = schemas::time::rfc3339(i64::try_from(seconds).unwrap() * 1_000_000);
    json!({"metric": {"name": "load", "namespace": "vector", "tags": {"host": "a"}, "timestamp": time,
        "kind": "absolute", "gauge": {"value": value as f64}}})
    .to_string()
    .into_bytes()
}

/// As our own receiver takes them.
fn json_lines(value: u64, seconds: u64) -> Vec<u8> {
    json!({"metric": "plain", "labels": {"host": "a"}, "time": seconds * 1_000, "value": value})
        .to_string()
        .into_bytes()
}

/// Six kinds of what people send to a topic of `otlp_proto` by mistake, each with what it looks like.
pub(crate) fn garbage(kind: u64, value: u64, seconds: u64) -> (Vec<u8>, &'static str) {
    let good = otlp_proto(value, seconds);
    match kind % 6 {
        0 => (otlp_json(value, seconds), "otlp_json"),
        1 => (influx(value, seconds), "influx"),
        2 => {
            let gzip = [
                b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".as_slice(),
                &good,
            ]
            .concat();
            (gzip, "gzip")
        }
        3 => {
            let framed = [b"\x00\x00\x00\x00\x07".as_slice(), &good].concat();
            (framed, "a schema registry's framing")
        }
        4 => (good[..good.len() - 9].to_vec(), "protobuf, cut off"),
        _ => {
            let bytes = (0..64u64).map(|at| (at * 151 + value * 29) as u8 | 0x80);
            (bytes.collect(), "binary data")
        }
    }
}
