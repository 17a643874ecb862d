"""Reads the chain of checkpoint records of each partition and checks that it is one: contiguous, hashed, balanced."""

import hashlib
import json
import re

FORMAT = 1
TABLES = ["samples", "rollups_10s", "rollups_1m", "rollups_5m", "rollups_1h", "rollups_1d", "anomalies", "forecasts", "forecast_scores"]
LINK_FIELDS = {
    "format", "log_id", "partition", "sequence", "epoch", "owner", "kind", "start", "end", "added", "removed", "counts",
    "watermark", "log_clock", "snapshot", "previous",
}
FILE_FIELDS = {"path", "table", "size", "sha256", "rows", "time_min", "time_max", "metric_min", "metric_max"}
COUNT_FIELDS = {"read", "accepted", "duplicate", "late", "invalid", "replaced", "revised", "dead_letters"}
LINK_NAME = re.compile(r"^(\d{20})\.json$")
PARTITION_NAME = re.compile(r"^p(\d{5,})$")


class Partition:
    """What the chain of one partition says is true now."""

    def __init__(self, number):
        self.number = number
        self.links = []
        self.files = {}
        self.rows_expected = 0

    @property
    def watermark(self):
        return self.links[-1]["watermark"] if self.links else None


def read(root, topic, report):
    """The partitions of a topic, after checking every link."""
    check = report.check("chain-contiguous")
    counts = report.check("counts-balance")
    changes = report.check("chain-changes")
    top = root / "chain" / topic
    folders = sorted(top.iterdir()) if top.is_dir() else []
    partitions = []
    for folder in folders:
        found = PARTITION_NAME.match(folder.name)
        if not check.expect(found, f"{folder.name}: not the folder of a partition"):
            continue
        partition = Partition(int(found[1]))
        _read_partition(partition, folder, check, counts, changes)
        partitions.append(partition)
    check.expect(partitions, f"no chain below chain/{topic}")
    return partitions


def _read_partition(partition, folder, check, counts, changes):
    names = []
    for path in sorted(folder.iterdir()):
        found = LINK_NAME.match(path.name)
        if found:
            names.append((int(found[1]), path))
        elif not path.name.startswith("base-"):
            check.fail(f"{folder.name}/{path.name}: not a link")
    previous_bytes, previous = b"", None
    for expected, (sequence, path) in enumerate(names):
        where = f"{folder.name}/{path.name}"
        if not check.expect(sequence == expected, f"{where}: expected link {expected}; the chain has a hole"):
            return
        content = path.read_bytes()
        try:
            link = json.loads(content)
            missing = LINK_FIELDS - link.keys() or COUNT_FIELDS - link["counts"].keys()
            missing = missing or {field for file in link["added"] for field in FILE_FIELDS - file.keys()}
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            check.fail(f"{where}: not a checkpoint record: {error}")
            return
        if not check.expect(not missing, f"{where}: lacks {sorted(missing)}"):
            return
        _check_link(partition, link, previous, previous_bytes, where, check)
        _check_counts(link, where, counts)
        _apply(partition, link, where, changes)
        partition.links.append(link)
        previous, previous_bytes = link, content


def _check_link(partition, link, previous, previous_bytes, where, check):
    check.expect(link["format"] == FORMAT, f"{where}: format {link['format']}, expected {FORMAT}")
    check.expect(link["partition"] == partition.number, f"{where}: says partition {link['partition']}")
    check.expect(int(where.split("/")[-1][:20]) == link["sequence"], f"{where}: says sequence {link['sequence']}")
    check.expect(link["start"] <= link["end"], f"{where}: offsets [{link['start']}, {link['end']})")
    check.expect(link["kind"] in ("claim", "commit", "compaction"), f"{where}: kind {link['kind']}")
    snapshot = link["snapshot"]
    if snapshot:
        check.expect(snapshot["next_offset"] <= link["end"], f"{where}: the snapshot is of {snapshot['next_offset']}, after the link's end")
    if link["kind"] != "commit":
        check.expect(link["start"] == link["end"], f"{where}: a {link['kind']} covers offsets [{link['start']}, {link['end']})")
    if previous is None:
        check.expect(link["previous"] == "", f"{where}: the first link names a previous one")
        return
    expected = hashlib.sha256(previous_bytes).hexdigest()
    check.expect(link["previous"] == expected, f"{where}: previous is {link['previous'][:12]}…, the bytes before hash to {expected[:12]}…")
    check.expect(link["start"] == previous["end"], f"{where}: starts at {link['start']}, the link before ended at {previous['end']}")
    check.expect(link["log_id"] == previous["log_id"], f"{where}: log {link['log_id']}, before it {previous['log_id']}")
    rise = link["epoch"] - previous["epoch"]
    allowed = rise == 1 if link["kind"] == "claim" else rise == 0
    check.expect(allowed, f"{where}: a {link['kind']} of epoch {link['epoch']} after epoch {previous['epoch']}")
    check.expect(link["watermark"] >= previous["watermark"], f"{where}: the watermark fell from {previous['watermark']} to {link['watermark']}")
    check.expect(link["log_clock"] >= previous["log_clock"], f"{where}: the log clock fell from {previous['log_clock']} to {link['log_clock']}")


def _check_counts(link, where, check):
    c = link["counts"]
    total = c["accepted"] + c["duplicate"] + c["late"] + c["invalid"]
    check.expect(c["read"] == total, f"{where}: read {c['read']}, accounted for {total}")
    check.expect(c["replaced"] <= c["accepted"], f"{where}: replaced {c['replaced']} of {c['accepted']} accepted")
    check.expect(c["revised"] <= c["accepted"], f"{where}: revised {c['revised']} of {c['accepted']} accepted")
    check.expect(min(c.values()) >= 0, f"{where}: a count below zero")
    if link["kind"] != "commit":
        check.expect(not any(c.values()), f"{where}: a {link['kind']} counts samples")


def _apply(partition, link, where, check):
    """Removes and adds the files of a link; a compaction must keep the rows of each table."""
    rows = dict.fromkeys(TABLES, 0)
    for path in link["removed"]:
        if check.expect(path in partition.files, f"{where}: removes {path}, which is not there"):
            file = partition.files.pop(path)
            rows[file["table"]] -= file["rows"]
    for file in link["added"]:
        path = file["path"]
        sound = file["table"] in TABLES and path.startswith(file["table"] + "/") and ".." not in path.split("/")
        if check.expect(sound, f"{where}: adds {path} to table {file['table']}"):
            check.expect(path not in partition.files, f"{where}: adds {path} again")
            partition.files[path] = file
            rows[file["table"]] += file["rows"]
    if link["kind"] == "claim":
        check.expect(not link["added"] and not link["removed"], f"{where}: a claim changes files")
    if link["kind"] == "compaction":
        changed = {table: count for table, count in rows.items() if count}
        check.expect(not changed, f"{where}: a compaction changes the number of rows: {changed}")
    partition.rows_expected += link["counts"]["accepted"] - link["counts"]["replaced"]
