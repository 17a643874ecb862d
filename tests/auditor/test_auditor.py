"""The auditor passes a valid archive and catches every kind of damage seeded here."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

from . import rollups, series
from .__main__ import audit
from .fixture import TOPIC, Archive, Tamper
from .samples import read_acknowledged


def once(seen, key):
    """True the first time a key comes."""
    return not (key in seen or seen.add(key))


class Lie(Tamper):
    """Applies one function to the first rows of a table that it accepts, before anything is hashed."""

    def __init__(self, table, change):
        self.table, self.change, self.seen = table, change, set()

    def _apply(self, table, rows):
        return self.change(rows) if table == self.table and rows and once(self.seen, table) else rows

    def samples(self, rows):
        return self._apply("samples", rows)

    def rollups(self, table, rows):
        return self._apply(table, rows)

    def anomalies(self, rows):
        return self._apply("anomalies", rows)

    def forecasts(self, rows):
        return self._apply("forecasts", rows)

    def scores(self, rows):
        return self._apply("forecast_scores", rows)


class LinkLie(Tamper):
    """Changes link 3 of partition 0 (a commit) before it is written: the chain after it is consistent with the lie."""

    def __init__(self, change, sequence=3):
        self.change, self.sequence = change, sequence

    def link(self, partition, sequence, link):
        return self.change(link) if (partition, sequence) == (0, self.sequence) else link


def changed(row, **values):
    return [row | values]


LIES = {
    # name: (tamper, the checks that must fail)
    "a sample dropped, counted": (Lie("samples", lambda rows: rows[1:]), {"acknowledged-are-archived"}),
    "a sample doubled": (Lie("samples", lambda rows: rows + rows[9:10]), {"samples-once"}),
    "a value changed": (Lie("samples", lambda rows: changed(rows[9], value=rows[9]["value"] + 1e-9) + rows[:9] + rows[10:]), {"acknowledged-are-archived"}),
    "the sign of a zero lost": (Lie("samples", lambda rows: changed(rows[5], value=0.0) + rows[:5] + rows[6:]), {"acknowledged-are-archived"}),
    "a time changed": (Lie("samples", lambda rows: changed(rows[9], time=rows[9]["time"] + 1) + rows[:9] + rows[10:]), {"acknowledged-are-archived"}),
    "a wrong series id": (Lie("samples", lambda rows: changed(rows[9], series_id="0" * 32) + rows[:9] + rows[10:]), {"series-ids"}),
    "a wrong host": (Lie("samples", lambda rows: changed(rows[9], host="other") + rows[:9] + rows[10:]), {"series-ids"}),
    "a wrong label": (Lie("samples", lambda rows: changed(rows[9], labels=[("cpu", "9"), ("host.name", "web-0")]) + rows[:9] + rows[10:]), {"series-ids"}),
    "a rollup window shifted": (Lie("rollups_10s", lambda rows: changed(rows[4], time=rows[4]["time"] + 5_000_000) + rows[:4] + rows[5:]), {"rollups-equal-samples", "rollups-complete"}),
    "a rollup sum wrong": (Lie("rollups_1m", lambda rows: changed(rows[0], sum=rows[0]["sum"] + 1e-6) + rows[1:]), {"rollups-equal-samples"}),
    "a rollup count wrong": (Lie("rollups_10s", lambda rows: changed(rows[2], count=rows[2]["count"] + 1) + rows[:2] + rows[3:]), {"rollups-equal-samples"}),
    "a rollup minimum wrong": (Lie("rollups_1m", lambda rows: changed(rows[1], min=rows[1]["min"] - 1) + rows[:1] + rows[2:]), {"rollups-equal-samples"}),
    "a rate wrong": (Lie("rollups_1m", lambda rows: [row | {"rate": row["rate"] * 2} if row["rate"] else row for row in rows]), {"rollups-equal-samples"}),
    "a rollup missing": (Lie("rollups_5m", lambda rows: rows[1:]), {"rollups-complete"}),
    "a day's rollup missing": (Lie("rollups_1d", lambda rows: rows[1:]), {"rollups-complete"}),
    "an hour's last value wrong": (Lie("rollups_1h", lambda rows: changed(rows[0], last=-1.0) + rows[1:]), {"rollups-equal-samples"}),
    "a rollup before its window is sealed": (LinkLie(lambda link: link | {"watermark": link["watermark"] - 60_000_000}, sequence=6), {"rollups-equal-samples"}),
    "a rollup without samples": (Lie("rollups_10s", lambda rows: rows + changed(rows[0], time=rows[0]["time"] - 10_000_000)), {"rollups-equal-samples"}),
    "a rollup doubled": (Lie("rollups_10s", lambda rows: rows + rows[:1]), {"rollups-equal-samples"}),
    "an event doubled": (Lie("anomalies", lambda rows: rows + rows), {"anomalies-once"}),
    "a normal event": (Lie("anomalies", lambda rows: changed(rows[0], score=0.9)), {"anomalies-once"}),
    "a missing sample with a value": (Lie("anomalies", lambda rows: changed(rows[0], kind="missing")), {"anomalies-once"}),
    "a forecast doubled": (Lie("forecasts", lambda rows: rows + rows[:1]), {"forecasts-once"}),
    "a median outside its bands": (Lie("forecasts", lambda rows: changed(rows[0], median=99.0) + rows[1:]), {"forecasts-once", "forecast-scores"}),
    "a probability that falls": (Lie("forecasts", lambda rows: rows[:1] + changed(rows[1], p_full_4h=0.9)), {"forecasts-once"}),
    "a forecast dropped": (Lie("forecasts", lambda rows: rows[1:]), {"forecast-scores"}),
    "a score doubled": (Lie("forecast_scores", lambda rows: rows + rows[:1]), {"forecast-scores"}),
    "a loss too small": (Lie("forecast_scores", lambda rows: changed(rows[0], pinball_loss=0.0) + rows[1:]), {"forecast-scores"}),
    "a band that held nothing": (Lie("forecast_scores", lambda rows: changed(rows[0], covered_50=True) + rows[1:]), {"forecast-scores"}),
    "another probability": (Lie("forecast_scores", lambda rows: rows[:1] + changed(rows[1], probability=1.0, brier=0.0)), {"forecast-scores"}),
    "an epoch that falls": (LinkLie(lambda link: link | {"epoch": 1}), {"chain-contiguous"}),
    "an offset gap": (LinkLie(lambda link: link | {"start": link["start"] + 1}), {"chain-contiguous"}),
    "a watermark that falls": (LinkLie(lambda link: link | {"watermark": 0}), {"chain-contiguous"}),
    "a wrong previous hash": (LinkLie(lambda link: link | {"previous": "0" * 64}), {"chain-contiguous"}),
    "another log": (LinkLie(lambda link: link | {"log_id": "another"}), {"chain-contiguous"}),
    "counts that do not balance": (LinkLie(lambda link: link | {"counts": link["counts"] | {"read": 1}}), {"counts-balance"}),
    "more accepted than archived": (LinkLie(lambda link: link | {"counts": link["counts"] | {"read": link["counts"]["read"] + 1, "accepted": link["counts"]["accepted"] + 1}}), {"counts-equal-rows"}),
    "a compaction that loses a file": (LinkLie(lambda link: link | {"added": []}, sequence=5), {"chain-changes"}),
    "a file added twice": (LinkLie(lambda link: link | {"added": link["added"] + link["added"][:1]}), {"chain-changes"}),
    "wrong row count committed": (LinkLie(lambda link: link | {"added": [file | {"rows": file["rows"] + 1} if file["table"] == "anomalies" else file for file in link["added"]]}), {"files-as-described"}),
    "wrong time span committed": (LinkLie(lambda link: link | {"added": [file | {"time_max": 0} if file["table"] == "anomalies" else file for file in link["added"]]}), {"files-as-described"}),
}


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def rewrite_link(archive):
    path = archive.link_path(3, 3)
    path.write_text(path.read_text().replace('"owner": "test"', '"owner": "tset"'))


DAMAGE = {
    "a byte of a file flipped": (lambda a: flip(a.files("samples")[0]), {"files-as-committed"}),
    "a file missing": (lambda a: a.files("rollups_1h")[0].unlink(), {"files-as-committed", "rollups-complete"}),
    "a file renamed": (lambda a: a.files("samples")[0].rename(a.files("samples")[0].with_name("other.parquet")), {"files-as-committed"}),
    "a file cut short": (lambda a: a.files("samples")[0].write_bytes(a.files("samples")[0].read_bytes()[:-1]), {"files-as-committed"}),
    "a saved state damaged": (lambda a: rewrite_snapshot(a), {"files-as-committed"}),
    "a link missing": (lambda a: a.link_path(0, 2).unlink(), {"chain-contiguous"}),
    "a byte of a link changed": (rewrite_link, {"chain-contiguous"}),
    "a link that is no JSON": (lambda a: a.link_path(0, 4).write_bytes(b"{"), {"chain-contiguous"}),
    "the chain gone": (lambda a: (a.root / "chain").rename(a.root / "niahc"), {"chain-contiguous"}),
}


def rewrite_snapshot(archive):
    """Puts the last link of partition 0 back to the last commit's, whose saved state is damaged."""
    for sequence in (6, 5):
        archive.link_path(0, sequence).unlink()
    sorted((archive.root / "snapshots").glob("p00000-*"))[-1].write_bytes(b"etats")


class AuditorTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)

    def acknowledged_file(self, archive, extra=()):
        path = self.root / "acknowledged.ndjson"
        path.write_text("".join(json.dumps(line) + "\n" for line in [*archive.acknowledged_lines(), *extra]))
        return path

    def audit(self, archive, **options):
        acknowledged = read_acknowledged(self.acknowledged_file(archive))
        return audit(self.root, TOPIC, acknowledged, strict=True, plain_glob=True, **options)

    def failed(self, report):
        return {check.name for check in report.checks if not check.ok}

    def test_a_valid_archive_passes(self):
        report = self.audit(Archive(self.root))
        self.assertEqual([], [line for line in report.lines() if not line.startswith("ok")])
        self.assertEqual(report.totals["samples"], 2 * 3 * 140)
        for check in report.checks:
            self.assertGreater(check.looked_at, 0, check.name)

    def test_every_lie_is_caught(self):
        for name, (tamper, expected) in LIES.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                self.root = pathlib.Path(folder)
                failed = self.failed(self.audit(Archive(self.root, tamper)))
                self.assertLessEqual(expected, failed, "what was expected to fail, and what failed")

    def test_every_damage_is_caught(self):
        for name, (damage, expected) in DAMAGE.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                self.root = pathlib.Path(folder)
                archive = Archive(self.root)
                damage(archive)
                self.assertLessEqual(expected, self.failed(self.audit(archive)))

    def test_what_was_acknowledged_must_be_there(self):
        archive = Archive(self.root)
        line = next(archive.acknowledged_lines())
        absent = read_acknowledged(self.acknowledged_file(archive, [line | {"time_us": line["time_us"] + 1}]))
        self.assertEqual({"acknowledged-are-archived"}, self.failed(audit(self.root, TOPIC, absent)))
        other = read_acknowledged(self.acknowledged_file(archive, [line | {"value_bits": "3ff0000000000000"}]))
        self.assertEqual({"acknowledged-are-archived"}, self.failed(audit(self.root, TOPIC, other)))
        again = read_acknowledged(self.acknowledged_file(archive, [line | {"value_bits": "3ff0000000000000"}, line]))
        self.assertEqual(set(), self.failed(audit(self.root, TOPIC, again)), "the later line wins")
        again.popitem()
        self.assertEqual({"nothing-but-acknowledged"}, self.failed(audit(self.root, TOPIC, again, strict=True)))
        self.assertEqual(set(), self.failed(audit(self.root, TOPIC, again)))

    def test_uncommitted_files_are_reported_and_fail_a_plain_glob(self):
        archive = Archive(self.root)
        left = archive.files("samples")[0].with_name("left-behind.parquet")
        left.write_bytes(b"")
        report = audit(self.root, TOPIC)
        self.assertTrue(report.ok)
        self.assertTrue(any("left-behind.parquet" in line for line in report.lines()))
        self.assertEqual({"no-uncommitted-files"}, self.failed(audit(self.root, TOPIC, plain_glob=True)))

    def test_base_objects_are_not_links(self):
        archive = Archive(self.root)
        archive.link_path(0, 0).with_name("base-00000000000000000003.json").write_bytes(b"{}")
        self.assertTrue(self.audit(archive).ok)

    def test_the_command_says_it_in_lines_json_and_exit_code(self):
        archive = Archive(self.root)
        arguments = ["--archive", str(self.root), "--topic", TOPIC, "--acked", str(self.acknowledged_file(archive)), "--strict", "--report", str(self.root / "report.json")]
        run = lambda: subprocess.run([sys.executable, "-m", "auditor", *arguments], capture_output=True, text=True, cwd=pathlib.Path(__file__).parent.parent)
        good = run()
        self.assertEqual(0, good.returncode, good.stdout + good.stderr)
        self.assertTrue(json.loads((self.root / "report.json").read_text())["ok"])
        flip(archive.files("samples")[0])
        bad = run()
        self.assertEqual(1, bad.returncode, bad.stdout + bad.stderr)
        self.assertIn("FAIL  files-as-committed", bad.stdout)
        self.assertIn("files-as-committed", json.loads((self.root / "report.json").read_text())["failed"])


class DefinitionsTest(unittest.TestCase):
    def test_the_series_id_is_that_of_the_specification(self):
        # The vector of docs/record-format.md.
        self.assertEqual("5c13710a9352481bb651fb4d470d7123", series.series_id("system.cpu.utilization", [("host.name", "web-1"), ("cpu", "0"), ("empty", "")]))

    def test_a_rollup_folded_by_hand(self):
        second = 1_000_000
        rollup = rollups.Rollup(0, 10.0)
        for time, value in [(1, 15.0), (2, 3.0), (3, 4.0)]:
            rollup.add(time * second, value)
        self.assertEqual((4, 32.0, 3.0, 15.0, 10.0, 4.0, 350.0), (rollup.count, rollup.sum, rollup.min, rollup.max, rollup.first, rollup.last, rollup.sum_squares))
        # A fall is a reset and counts from zero: 5 + 3 + 1 in 3 s.
        self.assertEqual(3.0, rollup.rate)
        self.assertIsNone(rollups.Rollup(0, 1.0).rate)


if __name__ == "__main__":
    unittest.main()
