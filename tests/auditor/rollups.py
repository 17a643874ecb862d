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
                row = {name: level[name][index] for name in [*EXACT, *CLOSE, "rate", "completeness", "revision"]}
                wrong = ["there is a second one"] if key in stored else []
                stored[key] = row
                if key not in expected[table]:
                    wrong.append("a rollup without samples")
                else:
                    if key[1] + width > watermarks[partition.number]:
                        wrong.append("the window is not sealed")
                    if home[key[0]] != partition.number:
                        wrong.append(f"its samples are in partition {home[key[0]]}, not {partition.number}")
                    wrong += _differences(row, expected[table][key])
                equal.looked_at += 1
                if wrong:
                    equal.fail(f"{table} {level['metric'][index]} {key}: {'; '.join(wrong)}")
        for key in expected[table]:
            if key[1] + width <= watermarks[home[key[0]]]:
                complete.looked_at += 1
                if key not in stored:
                    complete.fail(f"{table} {key}: there are samples, the window is sealed, and no rollup is stored")


def _differences(row, rollup):
    """What of a stored row is not as recomputed, in words."""
    wrong = [name for name in EXACT if row[name] != getattr(rollup, name)]
    wrong += [name for name in CLOSE if row[name] is None or not close(row[name], getattr(rollup, name))]
    # Which series are counters is not in the archive: a rate may be absent, but never wrong.
    if row["rate"] is not None and (rollup.rate is None or not close(row["rate"], rollup.rate)):
        wrong.append("rate")
    wrong = [f"{name} is {row[name]!r}, recomputed {getattr(rollup, name)!r}" for name in wrong]
    if row["completeness"] is None or not 0.0 <= row["completeness"] <= 1.0:
        wrong.append(f"completeness is {row['completeness']!r}")
    if row["revision"] is None or row["revision"] < 0:
        wrong.append(f"revision is {row['revision']!r}")
    return wrong
