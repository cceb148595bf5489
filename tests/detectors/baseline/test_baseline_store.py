"""The file of a baseline: read back as it was written, errors with file and line, signatures that hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detectors.baseline.book import Baseline, ExchangeLine, HostLine, State, Way
from detectors.baseline.extents import Extents, parse
from detectors.baseline.review import difference, report
from detectors.baseline.signing import make_keys, open_trusted, private_key, sign, trusted, verify
from detectors.baseline.store import TrustError, dump, export_rows, read, save
from detectors.content import ContentError
from sensor.decode.pdu import Protocol

SECOND = 10**9


def small() -> Baseline:
    baseline = Baseline()
    host = HostLine(address="10.1.0.20", macs=["02:00:00:00:00:01"], asked=True)
    host.seen(3, SECOND, 9 * SECOND, ["a.pcap frame 1"])
    line = ExchangeLine(
        client="10.1.0.5", server="10.1.0.20", protocol=Protocol.DNP3, station=1 << 16 | 4, way=Way.ASKS, function=5,
        name="direct_operate", operation="operation.dnp3.operate", kind="control",
        objects=Extents(map(parse, ["g12v1 3-5"])), values=(0, 7), period_s=2.5, jitter_s=0.01,
    )  # fmt: skip
    line.seen(5, SECOND, 9 * SECOND)
    line.decide(State.APPROVED, "李娜", "known: \"pump\" & 'valve'", 10 * SECOND)
    baseline.put(host)
    baseline.put(line)
    baseline.first_ns, baseline.last_ns, baseline.sources = SECOND, 9 * SECOND, ["a.pcap"]
    return baseline


def test_what_is_written_is_read_back_the_same(tmp_path: Path) -> None:
    save(tmp_path / "a.yaml", small())
    baseline, signature = read(tmp_path / "a.yaml")
    assert signature is None
    assert dump(baseline) == dump(small())
    (line,) = baseline.exchanges.values()
    assert (line.station, line.values, line.state, line.by) == (65540, (0, 7), State.APPROVED, "李娜")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(name=st.text(max_size=30), objects=st.lists(st.text(min_size=1, max_size=12), max_size=4))
def test_hostile_names_do_not_break_the_file(tmp_path: Path, name: str, objects: list[str]) -> None:
    from detectors.baseline.extents import named
    from detectors.wording import safe

    baseline = small()
    baseline.put(ExchangeLine(client="10.1.0.5", server="10.1.0.9", protocol=Protocol.OPCUA, name=safe(name),
                              objects=Extents(map(named, objects)), count=1))  # fmt: skip
    save(tmp_path / "h.yaml", baseline)
    assert dump(read(tmp_path / "h.yaml")[0]) == dump(baseline)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"count": 5', '"count": "many"', r":8: 'count' must be a number"),
        ('"state": "approved"', '"state": "fine"', r":8: state 'fine' is none of: learned, approved, refused"),
        ('"client": "10.1.0.5"', '"client": "10.1.0.6"', r":8: id '\w+' does not fit what the line says"),
        ('"station": "1>4"', '"station": "x"', r":8: station 'x' must be a number"),
        ('"way": "asks"', '"wey": "asks"', r":8: unknown key 'wey'"),
        ("fenghuo_baseline: 1", "fenghuo_baseline: 9", r":3: is not a baseline of version 1"),
    ],
)
def test_an_error_names_file_line_and_what_is_expected(tmp_path: Path, old: str, new: str, why: str) -> None:
    path = tmp_path / "b.yaml"
    save(path, small())
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(ContentError, match="b.yaml" + why):
        read(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(at=st.integers(0, 10_000), octet=st.integers(0, 255))
def test_a_damaged_file_is_refused_or_means_the_same_as_it_says(tmp_path: Path, at: int, octet: int) -> None:
    path = tmp_path / "d.yaml"
    save(path, small())
    raw = bytearray(path.read_bytes())
    raw[at % len(raw)] = octet
    path.write_bytes(raw)
    try:
        baseline, _ = read(path)
    except ContentError:
        return
    save(path, baseline)
    assert dump(read(path)[0]) == dump(baseline)


def test_only_an_unchanged_file_with_a_trusted_signature_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    save(path, small())
    private, public, fingerprint = make_keys(tmp_path / "plant")
    _, other, _ = make_keys(tmp_path / "other")
    with pytest.raises(TrustError, match="is not signed"):
        open_trusted(path, (public,), unsigned=False)
    sign(path, private_key(private), "li.na", 10 * SECOND)
    baseline, signature = open_trusted(path, (public,), unsigned=False)
    assert signature is not None
    assert (signature.by, signature.key, len(baseline)) == ("li.na", fingerprint, 2)
    with pytest.raises(TrustError, match="not among the trusted ones"):
        open_trusted(path, (other,), unsigned=False)
    with pytest.raises(TrustError, match="--trust"):
        open_trusted(path, (), unsigned=False)
    assert private.stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError):
        make_keys(tmp_path / "plant")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"count": 5', '"count": 6'),
        ('"by": "li.na"', '"by": "li.mu"'),
        ("# A", "# a"),
        ("\nsignature", "\n\nsignature"),
    ],
)
def test_an_altered_file_is_refused(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "s.yaml"
    save(path, small())
    private, public, _ = make_keys(tmp_path / "plant")
    sign(path, private_key(private), "li.na")
    verify(path, trusted((public,)))
    text = path.read_text("utf-8")
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(TrustError, match="was altered after"):
        verify(path, trusted((public,)))


def test_the_report_says_every_line_in_both_languages() -> None:
    english, chinese = (list(report(small(), lang)) for lang in ("en", "zh"))
    assert any("10.1.0.5 asks 10.1.0.20 [1>4]: direct_operate; objects g12v1 3-5" in line for line in english)
    assert any("写入值 0 到 7；每 2.5 秒一次" in line for line in chinese)
    assert len(english) == len(chinese)


def test_a_difference_names_what_came_went_and_changed() -> None:
    old, new = small(), small()
    line = next(iter(new.exchanges.values()))
    line.objects.add([parse("g12v1 9")])
    new.hosts.clear()
    new.put(HostLine(address="10.1.0.66"))
    said = list(difference(old, new, "en"))
    assert [it[0] for it in said if it[0] != " "] == ["~", "-", "+"]
    assert "objects: g12v1 3-5 -> g12v1 3-5, g12v1 9" in said[1]
    assert list(difference(old, small(), "en")) == []


def test_an_export_cannot_become_a_formula() -> None:
    baseline = small()
    next(iter(baseline.exchanges.values())).reason = "=cmd|' /C calc'!A0"
    header, *rows = export_rows(baseline, "csv")
    assert header.startswith("id,state,host,mac,")
    assert any("'=cmd" in row for row in rows)
