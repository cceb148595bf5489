"""Behaviours: who asks what of whom. The distinct exchanges of a run, interned in the kernel, read here."""

from __future__ import annotations

from sensor.records import record

# One row of the behaviour table. `client` asks, `server` is asked, whoever opened the connection.
BEHAVIOUR = record(
    [
        ("client", "i4"),  # row of the host table
        ("server", "i4"),
        ("protocol", "u1"),
        ("kind", "u1"),
        ("outcome", "u1"),
        ("station", "i8"),
        ("function", "i4"),
        ("subfunction", "i4"),
        ("object", "i8"),
        ("quantity", "i4"),
        ("status", "i4"),
        ("detail", "u8"),
        ("hash", "u8"),  # of the fields above, under this run's keys
        ("asked", "i4"),  # of an outcome: the behaviour of its request, -1 where that was not seen
        ("answered", "i4"),  # of a request: the behaviour of the answer that grants it, -1 before there was one
        ("count", "i8"),
        ("first_ns", "i8"),
        ("last_ns", "i8"),
        ("first_frame", "i8"),
        ("last_frame", "i8"),
        ("conversation", "i4"),  # of the first event
        ("value_min", "i8"),  # NO_VALUE when no event carried one
        ("value_max", "i8"),
        ("gap_sum", "f8"),  # of the times between events, ns: mean period = gap_sum / (count - 1)
        ("gap_squares", "f8"),  # of their squares: jitter is the standard deviation
        ("anomalies", "u4"),  # bits seen on any of its events
    ]
)
