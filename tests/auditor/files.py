"""Reads the files that the chain names and checks that they are what it says."""

import datetime
import hashlib
import io
import re

import pyarrow as pa
import pyarrow.parquet as pq

from . import chain, series

TIME = pa.timestamp("us", tz="UTC")
SERIES_COLUMNS = {"time": TIME, "metric": "text", "series_id": "text", "labels": "map", "host": "text", "service": "text"}
NUMBERS = ["sum", "min", "max", "first", "last", "sum_squares", "rate", "completeness"]
ROLLUP_COLUMNS = SERIES_COLUMNS | {"count": pa.int64(), "revision": pa.int32()} | {name: pa.float64() for name in NUMBERS}
ANOMALY_COLUMNS = (
    SERIES_COLUMNS
    | {name: "text" for name in ["event_id", "kind", "direction", "votes", "related", "contributions", "explanation"]}
    | {name: TIME for name in ["window_start", "window_end"]}
    | {name: pa.float64() for name in ["observed", "expected", "lower", "upper", "raw_score", "score", "trust", "completeness"]}
    | {"alarm": pa.bool_()}
)
FORECAST_COLUMNS = (
    SERIES_COLUMNS
    | {name: "text" for name in ["event_id", "kind", "answer", "method", "explanation"]}
    | {name: TIME for name in ["made_at", "full_p10", "full_p50", "full_p90"]}
    | {name: pa.int64() for name in ["horizon_s", "trained_span_s", "trained_samples"]}
    | {name: pa.float64() for name in ["median", "used", "ceiling", "trust"]}
    | {f"{edge}_{share}": pa.float64() for edge in ["lower", "upper"] for share in [50, 80, 95]}
    | {f"p_full_{stretch}": pa.float64() for stretch in ["1h", "4h", "24h", "3d", "14d", "30d"]}
)
SCORE_COLUMNS = (
    SERIES_COLUMNS
    | {name: "text" for name in ["forecast_id", "kind", "method"]}
    | {"made_at": TIME, "horizon_s": pa.int64()}
    | {name: pa.float64() for name in ["observed", "median", "pinball_loss", "probability", "brier"]}
    | {name: pa.bool_() for name in ["covered_50", "covered_80", "covered_95", "full"]}
)
EVENT_COLUMNS = {"anomalies": ANOMALY_COLUMNS, "forecasts": FORECAST_COLUMNS, "forecast_scores": SCORE_COLUMNS}
DATE = re.compile(r"/date=(\d{4}-\d{2}-\d{2})/")


class Rows:
    """Columns of one table from all live files of one partition, as lists of equal length."""

    def __init__(self, names):
        self.columns = {name: [] for name in names}

    def __getitem__(self, name):
        return self.columns[name]

    def __len__(self):
        return len(self.columns["time"])


def columns_of(table):
    """Name and type of each column of a table; None for a table that is not known."""
    if table == "samples":
        return SERIES_COLUMNS | {"value": pa.float64()}
    if table.startswith("rollups_"):
        return ROLLUP_COLUMNS
    return EVENT_COLUMNS.get(table)


def read(root, partitions, report):
    """Rows per (partition number, table), after checking every live file and the saved states."""
    check = report.check("files-as-committed")
    contents = report.check("files-as-described")
    names = report.check("series-ids")
    rows, known = {}, {}
    for partition in partitions:
        for path, file in sorted(partition.files.items()):
            content = _bytes(root / path, path, file, check)
            if content is not None:
                _read_file(content, file, rows, partition.number, contents, names, known)
        snapshot = partition.links[-1]["snapshot"] if partition.links else None
        if snapshot:
            _bytes(root / snapshot["path"], snapshot["path"], snapshot, check)
    return rows


def uncommitted(root, partitions, report, plain_glob):
    """Finds Parquet files that no chain names: a plain glob would read them. A failure only if a glob is to be exact."""
    check = report.check("no-uncommitted-files")
    live = {path for partition in partitions for path in partition.files}
    check.looked_at = len(live)
    for table in chain.TABLES:
        for path in sorted((root / table).rglob("*.parquet")):
            relative = path.relative_to(root).as_posix()
            if relative not in live:
                (check.fail if plain_glob else check.note)(f"{relative} is not committed")


def _bytes(path, name, expected, check):
    if not check.expect(path.is_file(), f"{name} is missing"):
        return None
    content = path.read_bytes()
    check.expect(len(content) == expected["size"], f"{name}: {len(content)} bytes, committed {expected['size']}")
    digest = hashlib.sha256(content).hexdigest()
    check.expect(digest == expected["sha256"], f"{name}: sha256 {digest[:12]}…, committed {expected['sha256'][:12]}…")
    return content


def _kind(data_type):
    if pa.types.is_dictionary(data_type):
        data_type = data_type.value_type
    if pa.types.is_string(data_type) or pa.types.is_large_string(data_type) or pa.types.is_string_view(data_type):
        return "text"
    return "map" if pa.types.is_map(data_type) else data_type


def _read_file(content, file, rows, partition, check, names, known):
    path, columns = file["path"], columns_of(file["table"])
    if columns is None:
        return
    try:
        table = pq.read_table(io.BytesIO(content))
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        check.fail(f"{path}: not readable: {error}")
        return
    found = {field.name: _kind(field.type) for field in table.schema}
    if not check.expect(found == columns, f"{path}: columns {sorted(set(found.items()) ^ set(columns.items()), key=str)} differ"):
        return
    check.expect(table.num_rows == file["rows"] and table.num_rows > 0, f"{path}: {table.num_rows} rows, committed {file['rows']}")
    into = rows.setdefault((partition, file["table"]), Rows(columns))
    first = len(into)
    for name, kind in columns.items():
        column = table.column(name).combine_chunks()
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        if kind == TIME:
            column = column.cast(pa.int64())
        elif name == "value":
            # As bits: NaN payloads and the sign of zero count.
            column = column.view(pa.uint64())
        into[name].extend(column.to_pylist())
    times, metrics = into["time"][first:], into["metric"][first:]
    if times:
        check.expect((min(times), max(times)) == (file["time_min"], file["time_max"]), f"{path}: times do not span what was committed")
        check.expect((min(metrics), max(metrics)) == (file["metric_min"], file["metric_max"]), f"{path}: metrics do not span what was committed")
        date = DATE.search(path)
        span = {datetime.datetime.fromtimestamp(t // 1_000_000, datetime.timezone.utc).date().isoformat() for t in (min(times), max(times))}
        check.expect(date and span == {date[1]}, f"{path}: holds rows of {sorted(span)}")
    names.looked_at += len(times)
    for index in range(first, len(into)):
        metric, labels = into["metric"][index], tuple(into["labels"][index])
        if (metric, labels) not in known:
            known[metric, labels] = (series.series_id(metric, labels), series.promoted(labels, series.HOST_KEYS), series.promoted(labels, series.SERVICE_KEYS))
            names.expect(list(labels) == sorted(set(labels)), f"{path}: labels of {metric} are not sorted and unique: {labels}")
        stored = (into["series_id"][index], into["host"][index], into["service"][index])
        if stored != known[metric, labels]:
            names.fail(f"{path}: {metric} {dict(labels)} is {known[metric, labels]}, stored as {stored}")
