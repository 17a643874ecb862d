"""python -m auditor --archive DIR --topic tidewatch.samples [--acked FILE.ndjson [--strict]] [--plain-glob] [--report FILE]

Exit code 0: every promise holds; 1: at least one is broken; 2: the arguments are wrong.
"""

import argparse
import json
import pathlib
import os
import sys

from . import anomalies, chain, files, forecasts, rollups, samples
from .report import Report


def audit(root, topic, acknowledged=None, strict=False, plain_glob=False):
    """Checks the archive below a folder. Returns the report."""
    report = Report()
    partitions = chain.read(root, topic, report)
    rows = files.read(root, partitions, report)
    files.uncommitted(root, partitions, report, plain_glob)
    archive, home = samples.check(partitions, rows, acknowledged, strict, report)
    rollups.check(partitions, rows, archive, home, report)
    anomalies.check(partitions, rows, report)
    forecasts.check(partitions, rows, report)
    report.totals = {
        "partitions": len(partitions),
        "links": sum(len(partition.links) for partition in partitions),
        "files": sum(len(partition.files) for partition in partitions),
        "samples": len(archive),
        "series": len(home),
        "acknowledged": len(acknowledged) if acknowledged is not None else None,
    }
    return report


def main():
    parser = argparse.ArgumentParser(prog="auditor", description="Checks an archive against its promises.")
    parser.add_argument("--archive", required=True, type=pathlib.Path, help="the archive's folder")
    parser.add_argument("--topic", default="tidewatch.samples", help="whose chain to follow")
    parser.add_argument("--acked", type=pathlib.Path, help="acknowledged samples, one JSON per line")
    parser.add_argument("--strict", action="store_true", help="with --acked: nothing else may be in the archive")
    parser.add_argument("--plain-glob", action="store_true", help="files that are not committed are failures")
    parser.add_argument("--report", type=pathlib.Path, help="write the JSON report here")
    arguments = parser.parse_args()
    if not arguments.archive.is_dir():
        parser.error(f"{arguments.archive} is not a folder")
    if arguments.strict and not arguments.acked:
        parser.error("--strict needs --acked")
    acknowledged = samples.read_acknowledged(arguments.acked) if arguments.acked else None
    report = audit(arguments.archive, arguments.topic, acknowledged, arguments.strict, arguments.plain_glob)
    for line in report.lines():
        print(line)
    if arguments.report:
        arguments.report.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
    return 0 if report.ok else 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Without the interpreter's own end: pyarrow's threads have been seen to abort there, after the verdict, on a busy machine.
    os._exit(code or 0)
