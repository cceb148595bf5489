"""How samples of rules are written, and that what they become is what was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from detectors.content import ContentError
from detectors.sigma import sample_frames
from detectors.sigma.samples import Sample, load_file
from sensor.decode.decoder import Decoder


def write(tmp_path: Path, lines: str, protocol: str = "modbus") -> Path:
    path = tmp_path / "samples.yaml"
    path.write_text(f"protocol: {protocol}\nsamples:\n  a.rule:\n    match:\n      what is shown:\n{lines}")
    return path


def only(tmp_path: Path, lines: str, protocol: str = "modbus") -> Sample:
    ((sample,),) = load_file(write(tmp_path, lines, protocol)).values()
    return sample


def events(*samples: Sample) -> list[dict[str, object]]:
    decoder = Decoder()
    return [
        decoder.view.fields(batch, row)
        for batch in decoder.decode([sample_frames.frames(samples)])
        for row in range(batch.size)
    ]


def test_a_question_and_its_answer_belong_together(tmp_path: Path) -> None:
    asked, answered = events(only(tmp_path, '      - "> unit=7 03 0010 0002"\n      - "< unit=7 03 04 00010002"\n'))
    assert (asked["modbus.unit_id"], asked["modbus.address"], asked["event.kind"]) == (7, 16, "request")
    assert (answered["event.outcome"], answered["request.frame"]) == ("answered", asked["frame"])
    assert answered["source.ip"] == asked["destination.ip"]


def test_lines_are_repeated_with_a_counter_and_a_clock(tmp_path: Path) -> None:
    lines = '      - {repeat: 3, every: 60, say: ["> to={n+1} 06 {n+256:16} {n*2:16}"]}\n'
    told = events(only(tmp_path, lines))
    assert [event["modbus.address"] for event in told] == [256, 257, 258]
    assert [event["modbus.values"] for event in told] == [[0], [2], [4]]
    assert len({event["destination.ip"] for event in told}) == 3
    assert [str(event["@timestamp"])[14:19] for event in told] == ["00:00", "01:00", "02:00"]


def test_text_and_lengths_are_written_as_people_read_them(tmp_path: Path) -> None:
    (asked,) = events(only(tmp_path, "      - \"> 29 0000000000 ('P_PROGRAM')\"\n", "s7comm"))
    assert (asked["s7comm.function"], asked["s7comm.service"]) == (0x29, "P_PROGRAM")
    sample = only(tmp_path, "      - \"> (('a')(" + "00" * 200 + '))"\n', "mms")
    assert sample.steps[0].body == b"\x81\xcc\x01a\x81\xc8" + bytes(200)


def test_what_a_device_says_unasked_is_no_answer(tmp_path: Path) -> None:
    lines = '      - "> 01 3C0206"\n      - "< 81 0000"\n      - "<< 82 8000"\n      - ">> 00"\n'
    told = events(only(tmp_path, lines, "dnp3"))
    assert [event["event.kind"] for event in told[:3]] == ["request", "response", "unsolicited"]
    assert told[2]["dnp3.iin_bits"] == ["device_restart"]
    assert (told[3]["dnp3.function"], told[3]["dnp3.control.uns"]) == ("confirm", True)


def test_samples_side_by_side_do_not_disturb_each_other(tmp_path: Path) -> None:
    sample = only(tmp_path, '      - "> 03 0000 0001"\n      - "< 03 02 0001"\n')
    told = events(*[sample] * 300)
    assert len(told) == 600
    assert all(event["event.outcome"] == "answered" for event in told if event["event.kind"] == "response")
    assert {sample_frames.number_of(str(event["source.ip"])) for event in told} == set(range(300))


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ('      - "03 0000 0001"\n', "begins with >"),
        ('      - "> 03 000"\n', "pairs of hexadecimal digits"),
        ('      - "> (03"\n', "not closed"),
        ('      - "> 03)"\n', "not opened"),
        ('      - "> unity=3 03"\n', "unknown option 'unity'"),
        ('      - "> to=100 03"\n', "from 1 to 99"),
        ('      - "> unit=256 03"\n', "cannot be put into a message"),
        ('      - {repeat: 2, say: ["> 03"], often: 3}\n', "a repetition has"),
        ('      - {repeat: 30000, say: ["> 03"]}\n', "at most 20000 messages"),
        (f'      - "> {"00" * 1500}"\n', "at most 1400 octets"),
    ],
)
def test_a_sample_that_cannot_be_read_is_named_with_its_line(tmp_path: Path, lines: str, why: str) -> None:
    path = write(tmp_path, lines)
    with pytest.raises(ContentError, match=why) as error:
        load_file(path)
    assert (error.value.path, error.value.line) == (str(path), 5)
