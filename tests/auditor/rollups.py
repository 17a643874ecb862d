"""Recomputes every rollup from the archived samples and compares it with the stored one."""

import math
import struct

SECOND = 1_000_000
LEVELS = [
    ("rollups_10s", 10 * SECOND),
    ("rollups_1m", 60 * SECOND),
    ("rollups_5m", 300 * SECOND),
    ("rollups_1h", 3600 * SECOND),
    ("rollups_1d", 86_400 * SECOND),
]
EXACT = ["count", "min", "max", "first", "last"]
CLOSE = ["sum", "sum_squares"]
TOLERANCE = 1e-12


class Rollup:
    """The summary of finite samples in time order, as docs/archive-format.md defines it."""

    def __init__(self, time, value):
        self.count = 1
        self.sum = self.min = self.max = self.first = self.last = value
        self.sum_squares = value * value
        self.increase = 0.0
        self.first_time = self.last_time = time

    def add(self, time, value):
        self.append(Rollup(time, value))

    def append(self, later):
        step = later.first - self.last if later.first >= self.last else later.first
        self.count += later.count
        self.sum += later.sum
        self.min = min(self.min, later.min)
        self.max = max(self.max, later.max)
        self.sum_squares += later.sum_squares
        self.increase += step + later.increase
        self.last, self.last_time = later.last, later.last_time

    @property
    def rate(self):
        seconds = (self.last_time - self.first_time) / SECOND
        return self.increase / seconds if seconds > 0 else None


def recompute(archive):
    """{table: {(series_id, window start): Rollup}} of samples {(series_id, time): bits}."""
    levels = {}
    finest = {}
    for (name, time), bits in sorted(archive.items()):
        value = struct.unpack("<d", struct.pack("<Q", bits))[0]
        if math.isfinite(value):
            _into(finest, name, time, LEVELS[0][1], Rollup(time, value))
    levels[LEVELS[0][0]] = below = finest
    for table, width in LEVELS[1:]:
        level = {}
        for (name, start), rollup in below.items():
            _into(level, name, start, width, _copy(rollup))
        levels[table] = below = level
    return levels


def _copy(rollup):
    copy = object.__new__(Rollup)
    copy.__dict__.update(rollup.__dict__)
    return copy


def _into(level, name, time, width, rollup):
    key = (name, time // width * width)
    if key in level:
        level[key].append(rollup)
    else:
        level[key] = rollup


def close(a, b):
    """Equal to within rounding; two NaNs and equal infinities are equal."""
    if a == b or (math.isnan(a) and math.isnan(b)):
        return True
    return math.isfinite(a) and math.isfinite(b) and abs(a - b) <= TOLERANCE * max(abs(a), abs(b))


def check(partitions, rows, archive, home, report):
    """Compares stored and recomputed rollups of all sealed windows."""
    equal = report.check("rollups-equal-samples")
    complete = report.check("rollups-complete")
    watermarks = {partition.number: partition.watermark for partition in partitions}
    expected = recompute(archive)
    for table, width in LEVELS:
        stored = {}
        for partition in partitions:
            level = rows.get((partition.number, table))
            for index in range(len(level) if level else 0):
                key = (level["series_id"][index], level["time"][index])
                where = f"{table} {level['metric'][index]} {key}"
                equal.expect(key not in stored, f"{where} is there twice")
                row = {name: level[name][index] for name in [*EXACT, *CLOSE, "rate", "completeness", "revision"]}
                stored[key] = row
                if key not in expected[table]:
                    equal.fail(f"{where}: a rollup without samples")
                    continue
                equal.expect(key[1] + width <= watermarks[partition.number], f"{where}: the window is not sealed")
                equal.expect(home.get(key[0]) == partition.number, f"{where}: its samples are in partition {home.get(key[0])}, not {partition.number}")
                _compare(row, expected[table][key], where, equal)
        for key in expected[table]:
            if key[1] + width <= watermarks[home[key[0]]]:
                complete.expect(key in stored, f"{table} {key}: there are samples, the window is sealed, and no rollup is stored")


def _compare(row, rollup, where, check):
    for name in EXACT:
        wanted = getattr(rollup, name)
        check.expect(row[name] == wanted, f"{where}: {name} is {row[name]!r}, recomputed {wanted!r}")
    for name in CLOSE:
        wanted = getattr(rollup, name)
        check.expect(row[name] is not None and close(row[name], wanted), f"{where}: {name} is {row[name]!r}, recomputed {wanted!r}")
    if row["rate"] is not None:
        wanted = rollup.rate
        check.expect(wanted is not None and close(row["rate"], wanted), f"{where}: rate is {row['rate']!r}, recomputed {wanted!r}")
    check.expect(row["completeness"] is not None and 0.0 <= row["completeness"] <= 1.0, f"{where}: completeness is {row['completeness']!r}")
    check.expect(row["revision"] is not None and row["revision"] >= 0, f"{where}: revision is {row['revision']!r}")
