"""Checks the archived anomalies: each event once, and each really one."""

import re

EVENT_ID = re.compile(r"^[0-9a-f]{32}$")
WINDOW = 10_000_000


def check(partitions, rows, report):
    """Checks the anomalies of all partitions."""
    check = report.check("anomalies-once")
    seen = set()
    for partition in partitions:
        table = rows.get((partition.number, "anomalies"))
        for index in range(len(table) if table else 0):
            event, time = table["event_id"][index], table["time"][index]
            check.expect(EVENT_ID.match(event), f"event id {event!r} is not 32 hexadecimal digits")
            check.expect(event not in seen, f"event {event} is there twice")
            seen.add(event)
            start = time // WINDOW * WINDOW
            window = (table["window_start"][index], table["window_end"][index])
            check.expect(window == (start, start + WINDOW), f"event {event}: the window {window} is not that of {time}")
            check.expect(table["score"][index] > 1.0, f"event {event}: score {table['score'][index]} is normal")
            missing = table["kind"][index] == "missing"
            check.expect((table["observed"][index] is None) == missing, f"event {event} of kind {table['kind'][index]} observed {table['observed'][index]}")
