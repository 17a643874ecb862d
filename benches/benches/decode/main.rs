//! Decoding of remote write, OpenTelemetry, line protocol and the exposition format to columns, in samples per second: 1,000 hosts × 10 metrics with 10 tags, as TSBS makes them.

mod messages;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ingest::collectors::scrape::{self, Exposition, read_series};
use ingest::door::{Batcher, Place, Reason, TimeUnit};
use ingest::foreign::{Format, Reading};
use ingest::http::{
    LineOptions, LineUnit, decode_line_protocol, decode_otlp, decode_remote_write,
    decode_remote_write_with_symbols,
};
use messages::{ExportMetrics, Label, Sample, TimeSeries, WriteRequest};
use prost::Message;
use schemas::Labels;

const HOSTS: usize = 1000;
const TIME_MS: i64 = 1_700_000_000_000;
const METRICS: [&str; 10] = [
    "usage_user",
    "usage_system",
    "usage_idle",
    "usage_nice",
    "usage_iowait",
    "usage_irq",
    "usage_softirq",
    "usage_steal",
    "usage_guest",
    "usage_guest_nice",
];

/// The ten tags of a host, sorted by name.
fn tags(host: usize) -> Vec<(&'static str, String)> {
    let region = ["eu-central-1", "us-west-2", "ap-southeast-1"][host % 3];
    vec![
        ("arch", ["x64", "x86"][host % 2].to_owned()),
        (
            "datacenter",
            format!("{region}{}", ["a", "b", "c"][host / 3 % 3]),
        ),
        ("hostname", format!("host_{host}")),
        ("os", ["Ubuntu16.10", "Ubuntu16.04LTS"][host % 2].to_owned()),
        ("rack", (host % 100).to_string()),
        ("region", region.to_owned()),
        ("service", (host % 20).to_string()),
        (
            "service_environment",
            ["production", "staging", "test"][host % 3].to_owned(),
        ),
        ("service_version", (host % 2).to_string()),
        ("team", ["SF", "NYC", "LON", "CHI"][host % 4].to_owned()),
    ]
}

fn value(host: usize, metric: usize) -> i64 {
    ((host * 31 + metric * 17) % 101) as i64
}

fn remote_write() -> Vec<u8> {
    let mut timeseries = Vec::new();
    for host in 0..HOSTS {
        for (index, metric) in METRICS.iter().enumerate() {
            let mut labels = vec![Label {
                name: "__name__".to_owned(),
                value: format!("cpu_{metric}"),
            }];
            labels.extend(tags(host).into_iter().map(|(name, value)| Label {
                name: name.to_owned(),
                value,
            }));
            timeseries.push(TimeSeries {
                labels,
                samples: vec![Sample {
                    value: value(host, index) as f64,
                    timestamp: TIME_MS,
                }],
            });
        }
    }
    WriteRequest { timeseries }.encode_to_vec()
}

/// A protobuf field that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        field.push(length as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    field.extend_from_slice(bytes);
    field
}

/// The same series as remote write 2.0, whose symbols are those of each host anew.
fn remote_write_with_symbols() -> Vec<u8> {
    let (mut symbols, mut series) = (field(4, b""), Vec::new());
    let mut count = 1u32;
    for host in 0..HOSTS {
        let mut references = Vec::new();
        for (name, value) in tags(host) {
            symbols.extend(field(4, name.as_bytes()));
            symbols.extend(field(4, value.as_bytes()));
            references.extend([count, count + 1]);
            count += 2;
        }
        symbols.extend(field(4, b"__name__"));
        let name = count;
        count += 1;
        for (index, metric) in METRICS.iter().enumerate() {
            symbols.extend(field(4, metric.as_bytes()));
            let sample = Sample {
                value: value(host, index) as f64,
                timestamp: TIME_MS,
            };
            let all = references.iter().chain([&name, &count]);
            let packed: Vec<u8> = all
                .flat_map(|number| {
                    let mut bytes = Vec::new();
                    prost::encoding::encode_varint(u64::from(*number), &mut bytes);
                    bytes
                })
                .collect();
            let message = [field(1, &packed), field(2, &sample.encode_to_vec())].concat();
            series.extend(field(5, &message));
            count += 1;
        }
    }
    [symbols, series].concat()
}

/// The same values as OpenTelemetry's gauges: each host a resource with ten attributes, each metric one data point.
fn otlp() -> Vec<u8> {
    let attribute = |(name, text): (&str, String)| {
        [
            field(1, name.as_bytes()),
            field(2, &field(1, text.as_bytes())),
        ]
        .concat()
    };
    let resources = (0..HOSTS).flat_map(|host| {
        let attributes: Vec<u8> = tags(host)
            .into_iter()
            .flat_map(|tag| field(1, &attribute(tag)))
            .collect();
        let metrics: Vec<u8> = METRICS
            .iter()
            .enumerate()
            .flat_map(|(index, metric)| {
                let time = (TIME_MS as u64 * 1_000_000).to_le_bytes();
                let number = (value(host, index) as f64).to_le_bytes();
                let point = [&[0x19][..], &time, &[0x21], &number].concat();
                let gauge = field(5, &field(1, &point));
                field(2, &[field(1, metric.as_bytes()), gauge].concat())
            })
            .collect();
        field(1, &[field(1, &attributes), field(2, &metrics)].concat())
    });
    resources.collect()
}

fn lines(field: impl Fn(i64) -> String) -> Vec<u8> {
    let mut text = String::new();
    for host in 0..HOSTS {
        text.push_str("cpu");
        tags(host)
            .iter()
            .for_each(|(name, value)| text.push_str(&format!(",{name}={value}")));
        for (index, metric) in METRICS.iter().enumerate() {
            text.push_str(if index == 0 { " " } else { "," });
            text.push_str(&format!("{metric}={}", field(value(host, index))));
        }
        text.push_str(&format!(" {TIME_MS}000000\n"));
    }
    text.into_bytes()
}

/// The same values as an endpoint exposes them: a line each.
fn exposition() -> String {
    let mut text = String::new();
    for (index, metric) in METRICS.iter().enumerate() {
        text.push_str(&format!("# TYPE cpu_{metric} gauge\n"));
        for host in 0..HOSTS {
            let labels: Vec<String> = tags(host)
                .iter()
                .map(|(name, value)| format!("{name}=\"{value}\""))
                .collect();
            let value = value(host, index);
            text.push_str(&format!("cpu_{metric}{{{}}} {value}\n", labels.join(",")));
        }
    }
    text
}

/// Every line to the door, as a scrape without rules does it.
fn take_exposition(body: &str, door: &mut Batcher) {
    let mut lines = Exposition::new(body.as_bytes(), scrape::Format::Text);
    while let Ok(Some(line)) = lines.next_line() {
        let series = door.series_by_raw(line.series, || {
            let (metric, labels) = read_series(line.series).map_err(|_| Reason::NoMetric)?;
            match metric {
                std::borrow::Cow::Borrowed(metric) => Ok((metric, Labels::try_new(labels)?)),
                std::borrow::Cow::Owned(_) => Err(Reason::NoMetric),
            }
        });
        if let Ok(series) = series {
            let _ = door.push(
                series.metric,
                series.labels,
                line.kind,
                TIME_MS,
                TimeUnit::Milliseconds,
                line.value,
                Place::Collected,
            );
        }
    }
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements((HOSTS * METRICS.len()) as u64));
    let door = || Batcher::new(16, 64 << 20, 1_000_000);

    let body = remote_write();
    let snappy = snap::raw::Encoder::new()
        .compress_vec(&body)
        .unwrap_or_default();
    let mut warm = door();
    group.bench_function("remote_write", |bench| {
        bench.iter(|| {
            let _ = black_box(decode_remote_write(black_box(&body), &mut warm));
            black_box(warm.samples());
            warm.discard();
        });
    });
    group.bench_function("remote_write_snappy_to_records", |bench| {
        bench.iter(|| {
            let body = snap::raw::Decoder::new()
                .decompress_vec(black_box(&snappy))
                .unwrap_or_default();
            let _ = black_box(decode_remote_write(&body, &mut warm));
            let _ = black_box(warm.finish());
        });
    });
    // What code made by prost does: into its own structures, without labels checked or columns.
    group.bench_function("remote_write_by_prost", |bench| {
        bench.iter(|| black_box(WriteRequest::decode(black_box(body.as_slice())).is_ok()));
    });
    group.bench_function("remote_write_cold", |bench| {
        bench.iter(|| {
            let mut cold = door();
            let _ = black_box(decode_remote_write(black_box(&body), &mut cold));
        });
    });

    let body = remote_write_with_symbols();
    group.bench_function("remote_write_with_symbols", |bench| {
        bench.iter(|| {
            let _ = black_box(decode_remote_write_with_symbols(
                black_box(&body),
                &mut warm,
            ));
            black_box(warm.samples());
            warm.discard();
        });
    });
    let body = otlp();
    group.bench_function("otlp_gauges", |bench| {
        bench.iter(|| {
            let _ = black_box(decode_otlp(black_box(&body), 0, &mut warm));
            black_box(warm.samples());
            warm.discard();
        });
    });
    group.bench_function("otlp_gauges_by_prost", |bench| {
        bench.iter(|| {
            let request = ExportMetrics::decode(black_box(body.as_slice()));
            black_box(request.map_or(0, |request| request.points()))
        });
    });

    let options = LineOptions {
        unit: LineUnit::Fixed(TimeUnit::Nanoseconds),
        now: 0,
    };
    let kinds = [
        ("line_protocol_integers", lines(|value| format!("{value}i"))),
        (
            "line_protocol_floats",
            lines(|value| format!("{:?}", value as f64 + 0.123_456_789_012_345)),
        ),
    ];
    for (name, body) in &kinds {
        group.bench_function(*name, |bench| {
            bench.iter(|| {
                let _ = black_box(decode_line_protocol(black_box(body), options, &mut warm));
                black_box(warm.samples());
                warm.discard();
            });
        });
    }
    group.bench_function("line_protocol_integers_to_records", |bench| {
        bench.iter(|| {
            let _ = black_box(decode_line_protocol(
                black_box(&kinds[0].1),
                options,
                &mut warm,
            ));
            let _ = black_box(warm.finish());
        });
    });
    let body = exposition();
    group.bench_function("exposition", |bench| {
        bench.iter(|| {
            take_exposition(black_box(&body), &mut warm);
            black_box(warm.samples());
            warm.discard();
        });
    });
    group.bench_function("exposition_cold", |bench| {
        bench.iter(|| take_exposition(black_box(&body), &mut door()));
    });
    // What the crate of that name makes of it, without columns.
    group.bench_function("exposition_by_prometheus_parse", |bench| {
        bench.iter(|| {
            let lines = black_box(&body).lines().map(|line| Ok(line.to_owned()));
            black_box(prometheus_parse::Scrape::parse(lines).map_or(0, |all| all.samples.len()))
        });
    });
    group.finish();
}

/// The same lines as Telegraf puts them on a topic: one record each, as line protocol and as its JSON.
fn foreign_records(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("foreign_records");
    group.throughput(Throughput::Elements(HOSTS as u64));
    let lines = lines(|value| format!("{value}i"));
    let lines = lines.split_inclusive(|byte| *byte == b'\n');
    let json = (0..HOSTS).map(|host| {
        let text = |pairs: Vec<String>| pairs.join(",");
        let tags = tags(host).into_iter();
        let tags = text(tags.map(|(key, value)| format!("\"{key}\":\"{value}\"")).collect());
        let fields = METRICS.iter().enumerate();
        let fields = fields.map(|(index, name)| format!("\"{name}\":{}", value(host, index)));
        let fields = text(fields.collect());
        format!("{{\"fields\":{{{fields}}},\"name\":\"cpu\",\"tags\":{{{tags}}},\"timestamp\":{TIME_MS}}}\n")
            .into_bytes()
    });
    let topics: [(Format, Vec<Vec<u8>>); 2] = [
        (Format::Influx, lines.map(<[u8]>::to_vec).collect()),
        (Format::TelegrafJson, json.collect()),
    ];
    for (format, records) in &topics {
        let mut warm = Batcher::new(16, 64 << 20, 1_000_000);
        let reading = Reading {
            format: *format,
            unit: LineUnit::Auto,
        };
        group.bench_function(format.name(), |bench| {
            bench.iter(|| {
                for record in records {
                    let _ = black_box(reading.decode(black_box(record), 0, &mut warm));
                }
                let _ = black_box(warm.finish());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode, foreign_records);
criterion_main!(benches);
