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
        # Messages are made only for failures here and in the other loops over rows: making them is most of the work.
        once.looked_at += found
        for index in range(found):
            key = (table["series_id"][index], table["time"][index])
            if key in archive:
                once.fail(f"{table['metric'][index]} {key} is there twice")
            archive[key] = table["value"][index]
            owner = home.setdefault(key[0], partition.number)
            if owner != partition.number:
                once.fail(f"series {key[0]} is in partitions {owner} and {partition.number}")
    if acknowledged is not None:
        _check_acknowledged(acknowledged, archive, strict, report)
    return archive, home


def read_acknowledged(path):
    """{(series_id, time): bits} from lines of JSON; a later line of the same key wins, as in the log."""
    acknowledged, ids = {}, {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                sample = json.loads(line)
                name = (sample["metric"], tuple(sample["labels"].items()))
                if name not in ids:
                    ids[name] = series.series_id(*name)
                acknowledged[ids[name], int(sample["time_us"])] = int(sample["value_bits"], 16)
    return acknowledged


def _number(bits):
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def _check_acknowledged(acknowledged, archive, strict, report):
    present = report.check("acknowledged-are-archived")
    present.looked_at = len(acknowledged)
    for key, bits in acknowledged.items():
        stored = archive.get(key)
        if stored is None:
            present.fail(f"acknowledged {key} is not in the archive")
        elif stored != bits:
            present.fail(f"{key}: acknowledged {_number(bits)!r} ({bits:016x}), archived {_number(stored)!r} ({stored:016x})")
    if strict:
        nothing_else = report.check("nothing-but-acknowledged")
        nothing_else.looked_at = len(archive)
        for key in archive.keys() - acknowledged.keys():
            nothing_else.fail(f"{key} is archived and was never acknowledged")
