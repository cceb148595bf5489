"""YARA over carved artifacts: what the rules find, and that whatever an artifact does costs that artifact only."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from support.findings import Plant, of, the

from detectors import yara_rules
from detectors.carving.artifact import Artifact
from detectors.carving.carver import Carving, Watcher
from detectors.content import ContentError, rules_folder
from detectors.finding import Severity
from detectors.pipeline import Options, Pipeline, inspect, merge
from detectors.yara_child import _ALLOWED, MEMORY_BYTES
from detectors.yara_jail import CHILD, MAX_WAITING, Jail
from detectors.yara_scan import YaraScan
from pcaps.messages import modbus
from sensor.capture.source import open_capture

PROGRAM = b"MZ" + bytes(58) + (64).to_bytes(4, "little") + b"PE\0\0" + bytes(200)
ELF = b"\x7fELF" + bytes(60)


def block(kind, number, code=b""):
    """An S7 block that begins as one does."""
    return b"pp\x01\x01\x01" + bytes([kind]) + number.to_bytes(2, "big") + bytes(28) + code + bytes(36)


# (rule, kind, goes into the device, octets that match, octets that come close and do not)
SAMPLES = [
    ("s7_main_or_watchdog_block", "s7-block", True, block(8, 1), block(8, 100)),
    ("s7_main_or_watchdog_block", "s7-block", True, block(8, 35), block(12, 35)),
    ("s7_block_stops_the_cpu", "s7-block", True, block(12, 7, b"\xfb\x74\x00\x2e"), block(12, 7, b"\xfb\x74\x00\x2f")),
    ("s7_block_stops_the_cpu", "s7-block", False, block(14, 7, b"\xfb\x74\x00\x2e"), block(10, 7, b"\xfb\x74\x00\x2e")),
    ("s7_block_changes_protection_or_deletes", "s7-block", True, block(8, 9, b"\xfb\x74\x00\x17"),
     block(8, 9, b"\xfb\x72\x00\x17")),
    ("s7_block_changes_protection_or_deletes", "s7-block", True, block(8, 9, b"\xfb\x74\x00\x6d"), block(8, 9)),
    ("s7_block_sets_the_clock", "s7-block", True, block(12, 9, b"\xfb\x74\x00\x00"), block(12, 9, b"\xfb\x74\x00\x01")),
    ("windows_program", "ftp-file", True, PROGRAM, b"MZ" + bytes(300)),
    ("windows_program_fetched", "http-body", False, PROGRAM, b"MZ is a bank"),
    ("linux_program", "tftp-file", True, ELF, b"ELF" + bytes(60)),
    ("script_to_a_device", "http-body", True, b"#!/bin/sh\nrm -rf /\n", b"# see #!/bin/sh\n"),
    ("script_to_a_device", "ftp-file", True, b"@echo off\r\n", b"rem @echo off\r\n"),
    ("script_to_a_device", "ftp-file", True, b"powershell -enc AAAA", b"powershell is not installed"),
    ("web_shell", "http-body", True, b"<?php eval($_POST['a']); ?>", b"<?php echo $_POST['a']; ?>"),
    ("web_shell", "ftp-file", True, b'Runtime.getRuntime().exec(request.getParameter("c"))',
     b'Runtime.getRuntime().exec("ls")'),
    ("firmware_image", "tftp-file", True, b"\x27\x05\x19\x56" + bytes(60), b"\x27\x05\x19\x57" + bytes(60)),
    ("firmware_image", "ftp-file", True, bytes(70000) + b"hsqs", b"hsqs" + bytes(100)),
    ("project_archive", "umas-program", False, b"PK\x03\x04" + bytes(99), bytes(4) + b"PK\x03\x04"),
    ("project_archive", "ftp-file", True, b"APX" + bytes(300), b"APX"),
    ("private_key", "http-body", False, b"-----BEGIN EC PRIVATE KEY-----\nMHc", b"-----BEGIN PUBLIC KEY-----\nMHc"),
    ("malware_industroyer", "ftp-file", True, b"MZ 104.dll 61850.dll", b"MZ 104.dll"),
    ("malware_industroyer", "ftp-file", False, b"10.1.2.3 2404 2 0 1 1 Service.exe 1 0", b"10.1.2.3 2404 2"),
    ("malware_triton", "ftp-file", True, b"trilog.exe inject.bin imain.bin", b"trilog.exe inject.bin"),
    ("malware_stuxnet", "ftp-file", True, b"MZ" + b"s7otbxsx.dll s7otbxdx.dll", b"MZ s7otbxdx.dll"),
    ("malware_frostygoop_settings", "http-body", True, b'{"Iplist": ["a"], "Tasks": [{"Code": 6, "Address": 53}]}',
     b'{"Tasks": [{"Code": 200, "Address": 53}]}'),
]  # fmt: skip


def artifact(kind, data, *, to_device=True, name="x"):
    """An artifact that crossed the wire."""
    return Artifact(kind, name, data, "ftp", "10.1.0.20", "10.1.0.5", "10.1.0.20", 1, 2, to_device=to_device)


def externals(it):
    """What rules may ask about it."""
    return {"kind": it.kind, "name": it.name, "protocol": it.protocol, "to_device": it.to_device, "complete": True}


@pytest.fixture(scope="module")
def jail():
    """The process with the rules as shipped."""
    made = Jail(yara_rules.shipped().sources)
    yield made
    made.close()


def matched(jail, it):
    """Names of the rules that match."""
    assert jail.submit(1, externals(it), it.data)
    (verdict,) = jail.verdicts(60)
    assert verdict.failure == ""
    return {rule for rule, _ in verdict.matches}


@pytest.mark.parametrize(("rule", "kind", "to_device", "match", "miss"), SAMPLES)
def test_a_rule_matches_its_sample_and_not_what_comes_close(jail, rule, kind, to_device, match, miss):
    assert rule in matched(jail, artifact(kind, match, to_device=to_device))
    assert rule not in matched(jail, artifact(kind, miss, to_device=to_device))


def test_every_rule_has_samples_and_texts_in_both_languages():
    rules = yara_rules.shipped()
    assert rules.broken == ()
    assert {it[0] for it in SAMPLES} == set(rules.meaning)
    for rule in rules.meaning.values():
        assert rule.id.startswith("yara.")
        assert any("\u4e00" <= letter <= "\u9fff" for letter in rule.why.zh)
        assert rule.why.en.isascii()


def test_web_pages_and_settings_that_operators_load_match_nothing(jail):
    for data in (
        b"<html><script>var a = 'powershell';</script></html>" * 20,
        b'{"Address": 1, "tasks": "none"}',
        b"[station]\nname=pump\n" * 40,
        bytes(range(256)) * 64,
    ):
        assert matched(jail, artifact("http-body", data, to_device=False)) == set()
        assert matched(jail, artifact("dnp3-file", data)) == set()


def test_the_child_gives_up_what_it_does_not_need(jail):
    matched(jail, artifact("ftp-file", b"x"))
    assert {"limits", "privileges"} <= set(jail.confined)


def child_that(tmp_path, deed):
    """The real child, which does something else with the first artifact."""
    path = tmp_path / "child.py"
    text = CHILD.read_text("utf-8")
    path.write_text(text.replace("found = rules.match(", f"{deed}\n        found = rules.match("), "utf-8")
    return path


RULE = {"own": 'rule own { strings: $a = "MZ" condition: $a }'}


@pytest.mark.parametrize(
    ("deed", "failure"),
    [
        ("while True: pass", "took too long"),
        ("os._exit(9)", "crashed"),
        (f"bytearray({MEMORY_BYTES})", "crashed"),
        ("send({'matches': 'x' * 2000000})", "answered too much"),
    ],
)
def test_whatever_an_artifact_does_costs_that_artifact_only(tmp_path, deed, failure):
    deed = f"exec({deed!r}) if externals['name'] == 'evil' else None"
    made = Jail(RULE, scan_s=2, child=child_that(tmp_path, deed))
    for ticket, name in enumerate(["good", "evil", "good"]):
        assert made.submit(ticket, externals(artifact("ftp-file", b"", name=name)), b"MZ")
    verdicts = made.verdicts(60)
    made.close()
    assert [it.failure for it in verdicts] == ["", failure, ""]
    assert verdicts[2].matches == (("own", (("$a", 0),)),)
    assert made.started == 2


@pytest.mark.skipif(platform.machine() not in _ALLOWED, reason="system calls are not confined on this machine")
@pytest.mark.parametrize("deed", ["open('/etc/hostname')", "os.fork()", "__import__('socket').socket()",
                                  "os.open('/tmp/x', os.O_CREAT | os.O_WRONLY)"])  # fmt: skip
def test_the_child_can_open_nothing(tmp_path, deed):
    made = Jail(RULE, child=child_that(tmp_path, deed))
    made.submit(1, externals(artifact("ftp-file", b"")), b"MZ")
    (verdict,) = made.verdicts(60)
    made.close()
    assert verdict.failure == "crashed"


def test_what_waits_is_bounded():
    made = Jail(RULE, start_s=5)
    taken = [made.submit(ticket, externals(artifact("ftp-file", b"")), b"MZ") for ticket in range(MAX_WAITING + 40)]
    assert taken[:MAX_WAITING] == [True] * MAX_WAITING
    assert sum(taken) < MAX_WAITING + 40
    assert len(made.verdicts(60)) == sum(taken)
    made.close()


def test_a_broken_rule_is_told_with_its_line_and_the_others_stay(tmp_path):
    good = (rules_folder() / "yara" / "s7_blocks.yar").read_text("utf-8")
    bad = "rule broken\n{\n    condition:\n        $nothing\n}\n"
    path = tmp_path / "mixed.yar"
    path.write_text(good + "\n" + bad + "\n" + good.replace("rule s7_", "rule other_").replace('id = "', 'id = "o-'))
    rules = yara_rules.load([path])
    (error,) = rules.broken
    begin = good.count("\n") + 2
    assert error.path == str(path)
    assert begin < error.line < begin + 5
    assert len(rules.meaning) == 8
    assert yara_rules.check(path)[0] == 8


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (('id = "s7-main-block"', 'id = "No!"'), "must be lower-case words"),
        (('severity = "low"', 'severity = "bad"'), "meta severity"),
        (('technique = "T0821 T0843"', 'technique = "T1"'), "meta technique"),
        (("name_zh", "nome_zh"), "meta name_zh is missing"),
        (("{artifact}", "{nobody}"), "unknown name"),
        (("condition:", 'include "x"\n    condition:'), "includes are disabled"),
    ],
)
def test_a_rule_that_says_too_little_is_left_out(tmp_path, change, why):
    text = (rules_folder() / "yara" / "s7_blocks.yar").read_text("utf-8").replace(*change, 1)
    path = tmp_path / "rules.yar"
    path.write_text(text, "utf-8")
    rules = yara_rules.load([path])
    assert len(rules.meaning) == 3
    assert why in str(rules.broken[0])


def test_files_that_are_no_rules_are_told(tmp_path):
    (tmp_path / "a.yar").write_bytes(b"\xff\xfe\x00")
    assert isinstance(yara_rules.load([tmp_path / "a.yar", tmp_path / "none.yar"]).broken[1], ContentError)


def tftp_put(plant, data, name=b"tool.exe"):
    """A file goes to a device by TFTP."""
    from support.wire import udp

    ends = {"src": "10.1.0.5", "dst": "10.1.0.20"}
    plant.sends(udp(b"\0\2" + name + b"\0octet\0", sport=3000, dport=69, **ends))
    for number, at in enumerate(range(0, len(data) + 1, 512), 1):
        payload = b"\0\3" + number.to_bytes(2, "big") + data[at : at + 512]
        plant.sends(udp(payload, sport=3000, dport=5555, **ends))


def test_a_program_that_goes_to_a_device_is_a_finding_with_its_proof():
    plant = Plant()
    tftp_put(plant, PROGRAM)
    tftp_put(plant, PROGRAM)
    finding = the(plant.findings(), "yara.windows-program")
    assert (finding.severity, finding.techniques, finding.count) == (Severity.HIGH, ("T0867",), 2)
    assert (finding.source_ip, finding.destination_ip) == ("10.1.0.5", "10.1.0.20")
    assert "“tool.exe”" in finding.explanation.zh
    assert artifact("", PROGRAM).sha256 in finding.explanation.en
    assert finding.evidence.frames


def test_a_scan_that_fails_is_told_and_the_rest_goes_on(tmp_path):
    plant = Plant()
    tftp_put(plant, PROGRAM, b"evil")
    tftp_put(plant, PROGRAM, b"good")
    rules = yara_rules.shipped()
    child = child_that(tmp_path, "if externals['name'] == 'evil': os._exit(9)")
    scan = YaraScan(rules, Jail(rules.sources, child=child))
    carving = Carving(None, [Watcher(scan.artifact, scan.due)])
    findings = merge(Pipeline(Options(), [carving]).run(plant.batches()))
    assert "evil" in the(findings, "yara.not-examined").explanation.en
    assert [it.fields["artifact.name"] for it in of(findings, "yara.windows-program")] == ["good"]


def test_no_process_is_started_where_nothing_is_carved(monkeypatch):
    started = []
    monkeypatch.setattr(Jail, "_start", lambda self: started.append(self))
    plant = Plant()
    plant.exchange("10.1.0.5", "10.1.0.20", modbus.adu(1, 1, modbus.read(3, 0, 1)), b"")
    plant.findings()
    assert started == []


def test_a_download_of_the_main_loop_is_named():
    capture = Path(__file__).resolve().parents[2] / "pcaps" / "s7comm" / "block_download.pcap"
    findings = merge(inspect(open_capture(capture), Options()))
    assert [it.rule_id for it in findings if it.rule_id.startswith("yara.")] in ([], ["yara.s7-main-block"])
