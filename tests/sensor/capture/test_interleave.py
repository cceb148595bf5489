"""Frames of several rings, handed over late and in pieces, come in the order of their times, each once."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.capture.interleave import Interleaver

LATE = 5  # time units after which a frame has been handed over


@st.composite
def handed_over(draw: st.DrawFn) -> list[list[tuple[int, bytes]]]:
    """What comes at each time unit: frames, none older than LATE, of which some were to come earlier."""
    stages = []
    for now in range(draw(st.integers(1, 12))):
        times = draw(st.lists(st.integers(max(now - LATE, 0), now), max_size=6))
        stages.append([(time, draw(st.binary(max_size=4))) for time in times])
    return stages


def run(stages: list[list[tuple[int, bytes]]]) -> list[tuple[int, bytes]]:
    waiting, out = Interleaver(), []
    for now, frames in enumerate([*stages, []]):
        piece = waiting.piece(sum(len(frame) for _, frame in frames), len(frames))
        for time, frame in frames:
            piece.data[piece.filled : piece.filled + len(frame)] = list(frame)
            for column, value in zip(piece.columns, (time, piece.filled, len(frame), len(frame), 1), strict=True):
                column[piece.rows] = value
            piece.filled += len(frame)
            piece.rows += 1
        columns = waiting.release(piece, now - LATE if now < len(stages) else None)
        for time, at, length in zip(columns.ts_ns, columns.offset, columns.captured, strict=True):
            out.append((int(time), piece.data[at : at + length].tobytes()))
    return out


@settings(deadline=None)
@given(handed_over())
def test_every_frame_comes_out_once_in_the_order_of_time(stages: list[list[tuple[int, bytes]]]) -> None:
    came = [frame for stage in stages for frame in stage]
    out = run(stages)
    assert [time for time, _ in out] == sorted(time for time, _ in came)
    assert sorted(out) == sorted(came)


@settings(deadline=None)
@given(handed_over())
def test_frames_of_the_same_time_keep_the_order_in_which_they_came(stages: list[list[tuple[int, bytes]]]) -> None:
    came = [frame for stage in stages for frame in stage]
    assert run(stages) == sorted(came, key=lambda it: it[0])
