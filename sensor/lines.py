"""What `fenghuo decode` prints: one line for each PDU of some captures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sensor.capture.source import Capture
from sensor.capture.together import Together
from sensor.decode.decoder import Decoder
from sensor.progress import watched


def lines(
    captures: Sequence[Capture], *, together: bool, complain: Callable[[object], None]
) -> Iterator[dict[str, Any]]:
    """Fields of each PDU (sensor/schema.py), capture after capture, or as one stream of time.

    Every line says which capture it is from. complain: takes the warnings about each capture, after its lines.
    """
    if together:
        yield from _merged(captures)
        for capture in captures:
            for warning in capture.warnings:
                complain(warning)
        return
    for capture in captures:
        decoder = Decoder()
        for batch in decoder.decode(watched(capture, capture.path)):
            for row in range(batch.size):
                yield {"capture": capture.path, **decoder.view.fields(batch, row)}
        for warning in capture.warnings:
            complain(warning)


def _merged(captures: Sequence[Capture]) -> Iterator[dict[str, Any]]:
    merged = Together(captures)
    decoder = Decoder()
    for batch in decoder.decode(watched(merged, f"{len(captures)} captures")):
        for row in range(batch.size):
            line = decoder.view.fields(batch, row)
            line["capture"], line["frame"] = merged.place(line["frame"])
            if "request.frame" in line:
                capture, frame = merged.place(line.pop("request.frame"))
                if capture == line["capture"]:  # a number says nothing about another file
                    line["request.frame"] = frame
            yield line
