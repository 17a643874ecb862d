"""Checks the samples: each once, all that were acknowledged, as many as were counted."""

import json
import struct

from . import series


def check(partitions, rows, acknowledged, strict, report):
    """Checks samples of all partitions. Returns {(series_id, time): bits of the value} and {series_id: partition}."""
    once = report.check("samples-once")
    balance = report.check("counts-equal-rows")
    archive, home = {}, {}
    for partition in partitions:
        table = rows.get((partition.number, "samples"))
        found = len(table) if table else 0
        balance.expect(
            found == partition.rows_expected,
            f"partition {partition.number}: accepted less replaced is {partition.rows_expected}, the archive has {found} samples",
        )
        for index in range(found):
            key = (table["series_id"][index], table["time"][index])
            once.expect(key not in archive, f"{table['metric'][index]} {key} is there twice")
            archive[key] = table["value"][index]
            owner = home.setdefault(key[0], partition.number)
            if owner != partition.number:
                once.fail(f"series {key[0]} is in partitions {owner} and {partition.number}")
    if acknowledged is not None:
        _check_acknowledged(acknowledged, archive, strict, report)
    return archive, home


def read_acknowledged(path):
    """{(series_id, time): bits} from lines of JSON; a later line of the same key wins, as in the log."""
    acknowledged = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                sample = json.loads(line)
                key = (series.series_id(sample["metric"], sample["labels"].items()), int(sample["time_us"]))
                acknowledged[key] = int(sample["value_bits"], 16)
    return acknowledged


def _number(bits):
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def _check_acknowledged(acknowledged, archive, strict, report):
    present = report.check("acknowledged-are-archived")
    for key, bits in acknowledged.items():
        if present.expect(key in archive, f"acknowledged {key} is not in the archive"):
            stored = archive[key]
            present.expect(stored == bits, f"{key}: acknowledged {_number(bits)!r} ({bits:016x}), archived {_number(stored)!r} ({stored:016x})")
    if strict:
        nothing_else = report.check("nothing-but-acknowledged")
        for key in archive:
            nothing_else.expect(key in acknowledged, f"{key} is archived and was never acknowledged")
