"""Writes a small valid archive for the auditor's own tests: two partitions, three commits, a late value, a compaction.

Rollups are computed here by brute force from all samples of a window, not by the auditor's folding; values are small integers,
so both give the same bits. `Tamper` changes what is written before it is hashed, so that a lie is told consistently.
"""

import datetime
import hashlib
import json
import struct

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

SECOND = 1_000_000
# Five minutes before midnight UTC, so that a day is sealed and files of two dates are written.
START = 1_795_305_300 * SECOND
TOPIC = "tidewatch.samples"
WIDTHS = {"rollups_10s": 10, "rollups_1m": 60, "rollups_5m": 300, "rollups_1h": 3600, "rollups_1d": 86_400}
TIME = pa.timestamp("us", tz="UTC")
SERIES = [("time", TIME), ("metric", pa.string()), ("series_id", pa.string()), ("labels", pa.map_(pa.string(), pa.string(), keys_sorted=True)),
          ("host", pa.string()), ("service", pa.string())]
ROLLUP = [("count", pa.int64()), *((n, pa.float64()) for n in ["sum", "min", "max", "first", "last", "sum_squares", "rate", "completeness"]),
          ("revision", pa.int32())]
ANOMALY = [("event_id", pa.string()), ("kind", pa.string()), ("window_start", TIME), ("window_end", TIME),
           *((n, pa.float64()) for n in ["observed", "expected", "lower", "upper", "raw_score", "score"]), ("alarm", pa.bool_()), ("direction", pa.string()), ("votes", pa.string()),
           ("trust", pa.float64()), ("completeness", pa.float64()), ("related", pa.string()), ("contributions", pa.string()), ("explanation", pa.string())]
P_FULL = {3_600: "p_full_1h", 14_400: "p_full_4h", 86_400: "p_full_24h", 259_200: "p_full_3d", 1_209_600: "p_full_14d", 2_592_000: "p_full_30d"}
FORECAST = [("event_id", pa.string()), ("kind", pa.string()), ("made_at", TIME), ("horizon_s", pa.int64()),
            *((n, pa.float64()) for n in ["median", "lower_50", "upper_50", "lower_80", "upper_80", "lower_95", "upper_95"]), ("answer", pa.string()),
            *((n, pa.float64()) for n in ["used", "ceiling", *P_FULL.values()]), *((n, TIME) for n in ["full_p10", "full_p50", "full_p90"]),
            ("method", pa.string()), ("trained_span_s", pa.int64()), ("trained_samples", pa.int64()), ("trust", pa.float64()), ("explanation", pa.string())]
SCORE = [("forecast_id", pa.string()), ("kind", pa.string()), ("made_at", TIME), ("horizon_s", pa.int64()), ("method", pa.string()),
         *((n, pa.float64()) for n in ["observed", "median", "pinball_loss"]), *((n, pa.bool_()) for n in ["covered_50", "covered_80", "covered_95"]),
         ("probability", pa.float64()), ("full", pa.bool_()), ("brier", pa.float64())]
OWN = {"samples": [("value", pa.float64())], "anomalies": ANOMALY, "forecasts": FORECAST, "forecast_scores": SCORE}


class Tamper:
    """Does nothing; a test overrides what it lies about. All get and return lists of dictionaries."""

    def samples(self, rows):
        return rows

    def rollups(self, table, rows):
        return rows

    def anomalies(self, rows):
        return rows

    def forecasts(self, rows):
        return rows

    def scores(self, rows):
        return rows

    def link(self, partition, sequence, link):
        return link


def series_id(metric, labels):
    canonical = b"".join(k.encode() + b"\xff" + v.encode() + b"\xff" for k, v in sorted(labels.items()))
    both = b"".join(xxhash.xxh3_128(part).digest()[::-1] for part in (metric.encode(), canonical))
    return xxhash.xxh3_128(both).hexdigest()


def described(time, metric, labels):
    return {"time": time, "metric": metric, "series_id": series_id(metric, labels), "labels": sorted(labels.items()),
            "host": labels.get("host.name"), "service": labels.get("service.name")}


def series_of(partition):
    host = {"host.name": f"web-{partition}"}
    return [("system.cpu.load", {**host, "cpu": "0"}), ("system.cpu.load", {**host, "cpu": "1"}), ("requests_total", {**host, "service.name": "shop"})]


def samples_of(partition, first, last):
    """A sample of each series every 5 s; the counter resets once; one NaN, one infinity and a zero with a sign."""
    rows = []
    for number, (metric, labels) in enumerate(series_of(partition)):
        for step in range(first, last):
            value = float(step % 17 * 3) if metric.endswith("_total") else float((step * 7 + number) % 23 - 5)
            value = {3: float("nan"), 4: float("inf"), 5: -0.0}.get(step, value) if number == 0 else value
            rows.append(described(START + step * 5 * SECOND, metric, labels) | {"value": value})
    return rows


def rollups_of(samples, seconds, until):
    """Windows of finite samples that end at or before `until`."""
    width, windows = seconds * SECOND, {}
    for row in sorted(samples, key=lambda row: row["time"]):
        if abs(row["value"]) < float("inf"):
            windows.setdefault((row["series_id"], row["time"] // width * width), []).append(row)
    rows = []
    for (_, start), inside in windows.items():
        if start + width > until:
            continue
        values = [row["value"] for row in inside]
        steps = [b - a if b >= a else b for a, b in zip(values, values[1:])]
        took = (inside[-1]["time"] - inside[0]["time"]) / SECOND
        counter = inside[0]["metric"].endswith("_total")
        rows.append({name: inside[0][name] for name, _ in SERIES} | {
            "time": start, "count": len(values), "sum": sum(values), "min": min(values), "max": max(values), "first": values[0], "last": values[-1],
            "sum_squares": sum(v * v for v in values), "rate": sum(steps) / took if counter and took else None, "completeness": 1.0, "revision": 0,
        })
    return rows


class Archive:
    """The archive being written below a folder."""

    def __init__(self, root, tamper=None):
        self.root, self.tamper = root, tamper or Tamper()
        self.acknowledged = {}
        for partition in (0, 3):
            self._partition(partition)

    def _partition(self, number):
        self.number, self.sequence, self.previous, self.epoch, self.rows = number, 0, "", 0, {}
        self.end, self.watermark = 0, -(2**63)
        self._claim()
        self._commit(0, 40)
        self._claim()
        self._commit(40, 100)
        self._commit(100, 140)
        self._compact("samples")
        self._compact("rollups_10s")

    def _claim(self):
        self.epoch += 1
        self._link("claim", [], [], {})

    def _commit(self, first, last):
        before = list(self.rows.values())
        samples = self.tamper.samples(samples_of(self.number, first, last))
        old = [row for rows in before for row in rows if "value" in row]
        previous_watermark, self.watermark = self.watermark, START + (last * 5 - 30) * SECOND
        tables = {"samples": samples}
        for table, seconds in WIDTHS.items():
            done = {(row["series_id"], row["time"]) for row in rollups_of(old, seconds, previous_watermark)}
            new = [row for row in rollups_of(old + samples, seconds, self.watermark) if (row["series_id"], row["time"]) not in done]
            tables[table] = self.tamper.rollups(table, new)
        tables["anomalies"] = self.tamper.anomalies([self._anomaly(samples[0])])
        forecasts = [self._forecast(samples[0]), self._time_to_full(samples[0])]
        tables["forecasts"] = self.tamper.forecasts(forecasts)
        tables["forecast_scores"] = self.tamper.scores([self._score(forecasts[0]), self._full_score(forecasts[1])])
        added = [file for table, rows in tables.items() for file in self._write(table, rows)]
        counts = {"read": len(samples) + 4, "accepted": len(samples), "duplicate": 1, "late": 2, "invalid": 1}
        self.end += 10
        self._link("commit", added, [], counts)
        for row in samples_of(self.number, first, last):
            self.acknowledged[row["metric"], tuple(row["labels"]), row["time"]] = row["value"]

    def _anomaly(self, sample):
        start = sample["time"] // (10 * SECOND) * 10 * SECOND
        return {name: sample[name] for name, _ in SERIES} | {
            "event_id": xxhash.xxh3_128(f"{sample['series_id']} {sample['time']}".encode()).hexdigest(), "kind": "point", "window_start": start,
            "window_end": start + 10 * SECOND, "observed": 9.0, "expected": 1.0, "lower": 0.0, "upper": 2.0, "raw_score": 8.0, "score": 8.0,
            "alarm": True, "direction": "high", "votes": "[]", "trust": 1.0, "completeness": 1.0, "related": "[]", "contributions": "[]", "explanation": "too high",
        }

    def _event(self, sample, kind, horizon):
        """The fields of a forecast that both kinds have, from a sample's; those of the kinds are null."""
        name = f"{kind} {sample['series_id']} {sample['time']}"
        return {name: sample[name] for name, _ in SERIES} | {name: None for name, _ in FORECAST} | {
            "time": sample["time"] + horizon * SECOND, "event_id": xxhash.xxh3_128(name.encode()).hexdigest(), "kind": kind, "made_at": sample["time"],
            "horizon_s": horizon, "method": "seasonal", "trained_span_s": 60, "trained_samples": 12, "trust": 1.0, "explanation": "it goes on",
        }

    def _forecast(self, sample):
        edges = {f"{edge}_{share}": 5.0 + sign * share / 10 for edge, sign in (("lower", -1), ("upper", 1)) for share in (50, 80, 95)}
        return self._event(sample, "value", 60) | {"median": 5.0} | edges

    def _time_to_full(self, sample):
        chances = {name: number / 10 for number, name in enumerate(P_FULL.values())}
        return self._event(sample, "time_to_full", 2_592_000) | {"answer": "full_in", "used": 7.0, "ceiling": 10.0, "full_p50": sample["time"] + 1} | chances

    def _score(self, forecast):
        """11 came, 6 above the median: by hand, the sum over quantiles q and edges e of max(q(11 − e), (q − 1)(11 − e)), over 7."""
        loss = (0.025 * 15.5 + 0.1 * 14 + 0.25 * 11 + 0.5 * 6 + 0.75 * 1 + 0.1 * 2 + 0.025 * 3.5) / 7
        return self._scored(forecast, 60) | {"observed": 11.0, "median": 5.0, "pinball_loss": loss, "covered_50": False, "covered_80": True, "covered_95": True}

    def _full_score(self, forecast):
        return self._scored(forecast, 86_400) | {"observed": 10.0, "probability": 0.2, "full": True, "brier": 0.64}

    def _scored(self, forecast, horizon):
        return {name: forecast[name] for name, _ in SERIES} | {name: None for name, _ in SCORE} | {
            "forecast_id": forecast["event_id"], "time": forecast["made_at"] + horizon * SECOND, "horizon_s": horizon,
            **{name: forecast[name] for name in ("kind", "made_at", "method")},
        }

    def _compact(self, table):
        parts = [path for path in self.rows if path.startswith(table + "/")]
        rows = [row for path in parts for row in self.rows[path]]
        added = self._write(table, rows, "compacted-")
        for path in parts:
            del self.rows[path]
        self._link("compaction", added, parts, {})
        for path in parts:
            (self.root / path).unlink()

    def _write(self, table, rows, prefix=""):
        """Writes a file per date of the rows; returns them as a link lists them."""
        dates = {}
        for row in sorted(rows, key=lambda row: (row["metric"], row["series_id"], row["time"])):
            dates.setdefault(datetime.datetime.fromtimestamp(row["time"] // SECOND, datetime.timezone.utc).date().isoformat(), []).append(row)
        return [self._write_date(table, date, dates[date], prefix) for date in sorted(dates)]

    def _write_date(self, table, date, rows, prefix):
        fields = SERIES + OWN.get(table, ROLLUP)
        times, metrics = [row["time"] for row in rows], [row["metric"] for row in rows]
        path = f"{table}/date={date}/{prefix}p{self.number:05}-{self.sequence:05}.parquet"
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(fields)), self.root / path, compression="zstd")
        content = (self.root / path).read_bytes()
        self.rows[path] = rows
        return {"path": path, "table": table, "size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "rows": len(rows),
                "time_min": min(times), "time_max": max(times), "metric_min": min(metrics), "metric_max": max(metrics)}

    def _link(self, kind, added, removed, counts):
        zero = dict.fromkeys(["read", "accepted", "duplicate", "late", "invalid", "replaced", "revised", "dead_letters"], 0)
        start = self.end - 10 if kind == "commit" else self.end
        link = {"format": 1, "log_id": "a-log", "partition": self.number, "sequence": self.sequence, "epoch": self.epoch, "owner": "test", "kind": kind,
                "start": start, "end": self.end, "added": added, "removed": removed, "counts": zero | counts, "watermark": self.watermark,
                "log_clock": self.end * SECOND, "snapshot": self._snapshot() if kind == "commit" else None, "previous": self.previous}
        content = json.dumps(self.tamper.link(self.number, self.sequence, link), indent=2).encode()
        path = self.link_path(self.number, self.sequence)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.sequence, self.previous = self.sequence + 1, hashlib.sha256(content).hexdigest()

    def _snapshot(self):
        path, content = f"snapshots/p{self.number:05}-{self.sequence:05}.bin", b"state"
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(content)
        return {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "next_offset": self.end}

    def link_path(self, partition, sequence):
        return self.root / "chain" / TOPIC / f"p{partition:05}" / f"{sequence:020}.json"

    def files(self, table):
        return sorted((self.root / table).rglob("*.parquet"))

    def acknowledged_lines(self):
        """What a client would have noted, as lines of JSON."""
        for (metric, labels, time), value in self.acknowledged.items():
            bits = struct.unpack("<Q", struct.pack("<d", value))[0]
            yield {"metric": metric, "labels": dict(labels), "time_us": time, "value_bits": f"{bits:016x}"}
