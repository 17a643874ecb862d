"""Names a series as the specification says: XXH3-128 of the hashes of metric and canonical labels."""

import xxhash

HOST_KEYS = ["host.name", "host", "hostname", "instance"]
SERVICE_KEYS = ["service.name", "job"]


def canonical(labels):
    """The canonical bytes of a label set; a label with an empty value is no label."""
    pairs = sorted((key.encode(), value.encode()) for key, value in labels if value)
    return b"".join(key + b"\xff" + value + b"\xff" for key, value in pairs)


def series_id(metric, labels):
    """32 hexadecimal digits of a metric name and (key, value) pairs."""
    parts = (xxhash.xxh3_128_intdigest(part) for part in (metric.encode(), canonical(labels)))
    return f"{xxhash.xxh3_128_intdigest(b''.join(part.to_bytes(16, 'little') for part in parts)):032x}"


def promoted(labels, keys):
    """The value of the first of the keys that the labels have."""
    labels = dict(labels)
    return next((labels[key] for key in keys if labels.get(key)), None)
