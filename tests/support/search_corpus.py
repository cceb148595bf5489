"""Findings to search in: made from pools of ordinary, Chinese and hostile values, the same ones each time."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from console.store.search.query.tree import Node

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
COUNT = 240
QUERIES = Path(__file__).parents[1] / "console" / "search" / "queries.txt"

Find = Callable[[int, Node], list[int]]  # organisation, tree: ids of findings, sorted

RULES = [  # rule, names, protocol, messages
    ("operation.s7comm.stop", "Controller stopped", "控制器被停止", "s7comm",
     "A station stopped the controller's program. Check who did it.", "工程站停止了控制器的程序。"),
    ("operation.s7comm.download", "Program downloaded", "下载程序", "s7comm",
     "Blocks OB1 and FB_20 went to the PLC; user\u202eexe.pdf", "程序块 OB1 被写入第3台PLC。"),
    ("scan.functions", "Function codes scanned", "功能码扫描", "modbus",
     "A host tried 100%_all function codes, one after the other.", "一台主机试遍了功能码。"),
    ("operation.modbus.write_single_coil", "Coil written", "写入线圈", "modbus",
     "Coil 17 at 10.0.0.9 was written (value=1); DROP TABLE finding; --", "线圈 17 被写入，值为１。"),
    ("anomaly.length", "Length contradicts bytes", "长度不符", "dnp3",
     "<script>alert('stop')</script> \"quoted\" back\\slash", "长度与内容不符：前置机。"),
    ("ioc.match", "Indicator seen", "命中威胁指标", "",
     "Bulletin QD-2026-007 names evil.example.com", "通报 QD-2026-007 点名。"),
    ("iec104.interrogation", "Ünusual İnterrogation STRAẞE", "异常总召唤", "iec104",
     "{{7*7}} ${jndi:ldap://x} Σίσυφος ｆｕｌｌｗｉｄｔｈ", "ﾊﾝｶｸ カタカナ 总召唤"),
    ("asset.changed", "Device changed", "设备变化", "enip", "", ""),
]  # fmt: skip
ADDRESSES = ["10.0.0.5", "10.0.0.9", "10.0.1.77", "10.128.3.4", "192.168.1.10", "172.16.0.1", "2001:db8::5",
             "2001:db8:1::5", "fe80::1", "::1", "00:0c:29:aa:bb:cc", "08:00:06:01:02:03", ""]  # fmt: skip
TECHNIQUES = [["T0858"], ["T0843", "T0845"], ["T0888", "T0846"], [], ["T0836", "T0855", "T0831"]]
FIELDS: list[dict[str, Any]] = [
    {},
    {"modbus.function_code": 5, "modbus.address": 17, "modbus.quantity": 1, "event.action": "write"},
    {"modbus.function_code": 15, "modbus.address": 40001, "modbus.values": [1, 0, 70000], "anomalies": ["crc", "late"]},
    {"modbus.function_code": 90, "modbus.address": -1, "event.action": "read"},
    {"s7comm.function": 41, "event.action": "stop", "s7comm.block": "OB1", "event.learning": True},
    {"s7comm.function": 26, "event.action": "download", "artifact.name": "OB 1", "event.learning": False},
    {"dnp3.function_code": 13, "dnp3.link.source": 1024, "tag.name": "前置机/泵 1 压力"},
    {"opcua.publishing_interval": 0.5, "enip.identity.address": "10.0.0.9"},
    {"opcua.publishing_interval": 1000, "modbus.function_code": "15", "modbus.quantity": 2**63, "unknown.key": "zebra"},
    {"artifact.name": "a*b?c", "tag.name": "C:\\plant\\tag=1 | x", "modbus.address": [5, 50_000]},
    {"modbus.values": list(range(100, 130)), "cip.nested": {"modbus.address": 7, "deep": ["unicorn"]}},
    {"tag.name": "STRAẞE", "capture": "other.pcap", "rule.id": "forged.rule", "modbus.unit_id": True},
]
CAPTURES = ["", "", "plant/line-1.pcap", "/data/第1车间/抓包 2.pcap"]
SENSORS = [("s1", "North works", "Line 1"), ("S2-edge", "北厂区", "一号线"), ("lab*1", "Mill (old)", "Line 1")]
VERDICTS = [None, None, "real", "expected", "false"]


def rows() -> list[dict[str, Any]]:
    """Columns of the findings, without ids; `sensor` is the number of one of SENSORS."""
    dice = random.Random(7)
    found = []
    for number in range(COUNT):
        rule_id, name_en, name_zh, protocol, message_en, message_zh = RULES[number % len(RULES)]
        first = NOW - timedelta(
            seconds=dice.choice([0, 0.0004, 59, 3600, 86_400, 86_399.9999, 7 * 86_400, 400 * 86_400])
        )
        first -= timedelta(microseconds=dice.choice([0, 1, 999, 1000, 500_000]))
        found.append(
            {
                "uid": f"s{dice.randrange(1, 3)}/1764000000/{number + 1}",
                "fingerprint": f"{number:032x}",
                "rule_id": rule_id,
                "rule_name_en": name_en,
                "rule_name_zh": name_zh,
                "severity": dice.randrange(1, 6),
                "protocol": protocol,
                "first_seen": first,
                "last_seen": first + timedelta(seconds=dice.choice([0, 1, 3600])),
                "received_at": NOW - timedelta(hours=dice.choice([0, 1, 48])),
                "updated_at": NOW,
                "count": dice.choice([1, 1, 2, 10, 1_000_000, 10**12]),
                "source_ip": dice.choice(ADDRESSES),
                "source_port": dice.choice([None, 102, 502, 49152]),
                "destination_ip": dice.choice(ADDRESSES),
                "destination_port": dice.choice([None, 102, 502, 20000, 0]),
                "station": dice.choice([None, None, 0, 1, 255, -5, 2**63 - 1]),
                "techniques": dice.choice(TECHNIQUES),
                "message_en": message_en,
                "message_zh": message_zh or message_en,
                "fields": dice.choice(FIELDS),
                "risk": dice.choice([{}, {"score": 7.5}, {"score": 12}, {"score": 0.0}]),
                "capture": dice.choice(CAPTURES),
                "drill": dice.random() < 0.2,
                "verdict": dice.choice(VERDICTS),
                "sensor": dice.randrange(len(SENSORS)),
            }
        )
    return found


def queries() -> list[tuple[str, str]]:
    """(query, what it means) of the data file."""
    lines = QUERIES.read_text().splitlines()
    return [(q, m.strip("\t")) for q, _, m in (line.partition("\t\t") for line in lines if line and line[0] != "#")]
