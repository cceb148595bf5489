"""The same captures through Suricata with the rules that it ships, where it is installed: a yardstick for the card.

Its rules carry no ATT&CK ids, so any alert inside an attack's time counts as having found it, whatever it says: that is
generous. On ordinary traffic every distinct signature between two hosts counts as one alarm.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import tempfile
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from detectors.finding import Severity
from detectors.scorecard.score import Claim
from detectors.scorecard.truth import Case
from sensor.capture.source import open_capture

RULES = (Path("/etc/suricata/rules"), Path("/usr/share/suricata/rules"))
TIMEOUT_S = 120
FILES = ("modbus-events.rules", "dnp3-events.rules", "enip-events.rules")  # its rules about industrial protocols
MAX_ALERTS = 200_000
ANY = "alert"  # the rule id that stands for any of its signatures

_SETTINGS = """%YAML 1.1
---
vars:
  address-groups: {{{addresses}}}
  port-groups: {{MODBUS_PORTS: 502, DNP3_PORTS: 20000, HTTP_PORTS: 80, SSH_PORTS: 22}}
default-rule-path: {rules}
rule-files: [{files}]
stats: {{enabled: no}}
outputs:
  - eve-log: {{enabled: yes, filetype: regular, filename: eve.json, types: [alert]}}
app-layer:
  protocols:
    modbus: {{enabled: yes, detection-ports: {{dp: 502}}, stream-depth: 0}}
    dnp3: {{enabled: yes, detection-ports: {{dp: 20000}}}}
    enip: {{enabled: yes, detection-ports: {{dp: 44818, sp: 44818}}}}
stream: {{checksum-validation: no, midstream: true, reassembly: {{depth: 0}}}}
"""
_GROUPS = ("HOME_NET", "EXTERNAL_NET", "HTTP_SERVERS", "SMTP_SERVERS", "SQL_SERVERS", "DNS_SERVERS", "TELNET_SERVERS",
           "AIM_SERVERS", "DC_SERVERS", "DNP3_SERVER", "DNP3_CLIENT", "MODBUS_CLIENT", "MODBUS_SERVER", "ENIP_CLIENT",
           "ENIP_SERVER")  # fmt: skip


def version() -> str:
    """The installed version, "" where Suricata or its rules are missing."""
    program = shutil.which("suricata")
    if program is None or not any(folder.is_dir() for folder in RULES):
        return ""
    said = subprocess.run([program, "-V"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False).stdout
    return next((word for word in said.split() if word[:1].isdigit()), "")


def generous(case: Case) -> Case:
    """The same case, with every alert counted as fitting."""
    attacks = tuple(
        dataclasses.replace(it, expected=dataclasses.replace(it.expected, rules=(ANY,), least=Severity.INFORMATIONAL))
        for it in case.attacks
    )
    return dataclasses.replace(case, attacks=attacks, excused=())


def alerts(path: Path) -> tuple[list[Claim], npt.NDArray[np.int64]]:
    """(what Suricata claims about a capture, capture time of each frame)."""
    at = [batch.ts_ns for batch in open_capture(path)]
    rules = next(folder for folder in RULES if folder.is_dir())
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "suricata.yaml")
        files = ", ".join(name for name in FILES if (rules / name).is_file())
        addresses = ", ".join(f"{name}: any" for name in _GROUPS)
        settings.write_text(_SETTINGS.format(rules=rules, files=files, addresses=addresses))
        command = ["suricata", "-c", str(settings), "-r", str(path), "-l", folder, "-k", "none", "--runmode", "single"]
        subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=True)
        log = Path(folder, "eve.json")
        lines = log.read_text("utf-8", "replace").splitlines()[:MAX_ALERTS] if log.is_file() else []
    return [_claim(json.loads(line)) for line in lines], np.concatenate(at) if at else np.zeros(0, np.int64)


def _claim(line: dict[str, object]) -> Claim:
    moment = datetime.fromisoformat(str(line["timestamp"]))
    time_ns = int(moment.timestamp()) * 10**9 + moment.microsecond * 1000
    alert = line["alert"]
    assert isinstance(alert, dict)
    who = f"{alert['signature_id']} {line.get('src_ip')} {line.get('dest_ip')}"
    return Claim(ANY, (), Severity.MEDIUM, (time_ns,), time_ns, who)
