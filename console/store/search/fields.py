"""The searchable fields of a finding, once: name, type, meaning in both languages.

Names are those of `fenghuo inspect --format jsonl` and of sensor/schema.py. The query language, the search index and
the help page derive from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from detectors.finding import Severity
from sensor.schema import FIELDS as SCHEMA

SearchType = Literal["date", "long", "double", "boolean", "ip", "keyword", "text", "level"]
Kept = Literal["token", "row", "place"]


@dataclass(frozen=True, slots=True)
class SearchField:
    """One field that a query may name.

    type: as in Elasticsearch, and `level`: words that have an order (rule.severity). en, zh: what it means, one line;
    zh is "" where the schema of events knows English only. kept: where a SQL store finds it: among the tokens that are
    made once ("token"), in a column of the row, for it changes ("row"), or beside its sensor ("place"). values: all
    that it can be, of fields with few.
    """

    name: str
    type: SearchType
    en: str
    zh: str
    many: bool = False
    kept: Kept = "token"
    values: tuple[str, ...] = ()

    def meaning(self, locale: str) -> str:
        """What it means, in the reader's language where it is known."""
        return self.zh if locale == "zh" and self.zh else self.en


LEVELS = {severity.word: int(severity) for severity in Severity}
STATES = ("new", "real", "expected", "false")

OWN: tuple[SearchField, ...] = (
    SearchField("@timestamp", "date", "when it was first seen", "首次发生的时间", kept="row"),
    SearchField("finding.last_seen", "date", "when it was last seen", "最近发生的时间", kept="row"),
    SearchField("finding.received", "date", "when it arrived here", "到达本平台的时间", kept="row"),
    SearchField("finding.id", "keyword", "sensor/epoch/sequence of its first record", "首条记录的 探针/纪元/序号"),
    SearchField(
        "finding.number",
        "long",
        "its number in this console, as in its address",
        "在本平台的编号，即网址中的数字",
        kept="row",
    ),
    SearchField("finding.count", "long", "how often it happened", "发生的次数", kept="row"),
    SearchField("finding.risk", "double", "score that its severity comes from", "得出严重程度的风险分值", kept="row"),
    SearchField("rule.id", "keyword", "the rule that found it", "发现它的规则"),
    SearchField("rule.name", "text", "words of the rule's name, in both languages", "规则名称中的词（中英文）"),
    SearchField(
        "rule.severity",
        "level",
        "informational < low < medium < high < critical",
        "提示 < 低 < 中 < 高 < 严重",
        kept="row",
        values=tuple(LEVELS),
    ),
    SearchField("message", "text", "words of the explanation, in both languages", "说明中的词（中英文）"),
    SearchField("threat.technique.id", "keyword", "ATT&CK for ICS technique", "ATT&CK for ICS 技术编号", many=True),
    SearchField(
        "network.protocol", "keyword", "modbus, s7comm, dnp3, iec104, ...", "协议：modbus、s7comm、dnp3、iec104 等"
    ),
    SearchField("source.ip", "ip", "address of who acted, or a network: 10.0.0.0/8", "发起方地址，或网段：10.0.0.0/8"),
    SearchField(
        "source.mac",
        "keyword",
        "hardware address of who acted, of messages straight on Ethernet",
        "发起方的硬件地址（以太网报文）",
    ),
    SearchField("source.port", "long", "port of who acted", "发起方端口"),
    SearchField("destination.ip", "ip", "address of who was acted on, or a network", "对象地址，或网段"),
    SearchField("destination.mac", "keyword", "hardware address of who was acted on", "对象的硬件地址"),
    SearchField("destination.port", "long", "port of who was acted on", "对象端口"),
    SearchField(
        "station",
        "long",
        "device behind the address: Modbus unit, DNP3 outstation",
        "地址后的设备：Modbus 单元、DNP3 子站",
    ),
    SearchField("sensor", "keyword", "name of the sensor", "探针名称", kept="place"),
    SearchField("sensor.number", "long", "the sensor's number in this console", "探针在本平台的编号", kept="row"),
    SearchField("site", "keyword", "place of the sensor", "探针所在厂区", kept="place"),
    SearchField("segment", "keyword", "network segment of the sensor", "探针所在网段", kept="place"),
    SearchField(
        "state",
        "keyword",
        "new, real, expected or false: what people decided",
        "处理结论：new 新、real 属实、expected 预期内、false 误报",
        kept="row",
        values=STATES,
    ),
    SearchField("drill", "boolean", "it belongs to an exercise", "属于演练", kept="row"),
    SearchField("finding.cut", "boolean", "it has more words than are searched", "文字过多，未全部纳入搜索"),
    SearchField("capture", "keyword", "path of the capture it came from", "来源抓包文件的路径"),
)

# What detectors put into findings most often; the schema knows these in English only.
CHINESE = {
    "event.action": "操作，各协议同一套动词：read、write、stop、download 等",
    "event.outcome": "结果：asked 已请求、answered 已应答、refused 被拒、unanswered 无应答",
    "event.kind": "报文角色：request 请求、response 应答、unsolicited 主动上送",
    "event.change": "与之相符的变更单",
    "event.learning": "在学习基线期间产生",
    "event.severity_before": "没有变更单或基线时的严重程度",
    "baseline.line": "所涉及的基线条目",
    "tag.name": "工厂点表中的点名",
    "asset.attribute": "设备发生变化的属性：固件、型号等",
    "asset.component": "地址后的哪个部件",
    "anomalies": "报文或其传输中的异常",
    "artifact.kind": "产物类型：s7-block、umas-program、dnp3-file 等",
    "artifact.name": "程序块或文件的名称：OB1、firmware.bin",
    "artifact.sha256": "产物的 SHA-256",
    "modbus.function_code": "功能码",
    "modbus.function": "功能名称",
    "modbus.subfunction_code": "子功能码",
    "modbus.exception_code": "异常码",
    "modbus.unit_id": "地址后的设备（单元号）",
    "modbus.address": "首个线圈或寄存器，从 0 起",
    "modbus.quantity": "线圈或寄存器的数量",
    "s7comm.function": "功能码",
    "s7comm.userdata.group": "用户数据功能组",
    "s7comm.userdata.subfunction": "用户数据子功能",
    "s7comm.block": "程序块",
    "s7comm.service": "程序调用服务名",
    "dnp3.function_code": "功能码",
    "dnp3.link.source": "链路源地址",
    "dnp3.link.destination": "链路目的地址",
    "iec104.type": "类型标识",
    "iec104.cause": "传送原因",
    "iec104.common_address": "公共地址",
    "observer.ingress.interface.name": "所涉及的采集网口",
    "network.transport": "tcp、udp 或 ethernet",
    "network.vlan.id": "最内层 VLAN 标识",
}

FIELDS: dict[str, SearchField] = {field.name: field for field in OWN}
for _event in SCHEMA.values():
    # texts of events are compared as a whole: people search for their words without naming a field
    _type = "keyword" if _event.type in ("text", "date") else _event.type
    FIELDS.setdefault(
        _event.name, SearchField(_event.name, _type, _event.meaning, CHINESE.get(_event.name, ""), _event.many)
    )

# Names that stand for several fields, or are shorter to type.
ALIASES: dict[str, tuple[str, ...]] = {
    "ip": ("source.ip", "destination.ip"),
    "mac": ("source.mac", "destination.mac"),
    "port": ("source.port", "destination.port"),
    "source": ("source.ip",),
    "destination": ("destination.ip",),
    "severity": ("rule.severity",),
    "rule": ("rule.id",),
    "name": ("rule.name",),
    "protocol": ("network.protocol",),
    "technique": ("threat.technique.id",),
    "count": ("finding.count",),
    "first_seen": ("@timestamp",),
    "last_seen": ("finding.last_seen",),
}

ORGANISATION = "organisation.id"  # whose it is; every search is limited to it from outside, no query names it
TOKENS = "search"  # the words and values that queries ask for: console.store.search.document.tokens
RANK = "rule.severity_rank"  # of a document: 1 informational to 5 critical, to sort by
SHOWN_ONLY = ("rule.name_zh", "message_zh")  # in a document, searched under the name without the ending

NATIVE: dict[SearchType, dict[str, Any]] = {
    "date": {"type": "date"},
    "long": {"type": "long"},
    "double": {"type": "double"},
    "boolean": {"type": "boolean"},
    "ip": {"type": "ip"},
    "keyword": {"type": "keyword", "ignore_above": 1024},
    "text": {"type": "text"},
    "level": {"type": "keyword"},
}


def mapping() -> dict[str, Any]:
    """Elasticsearch mapping of a document (console.store.search.document): strict; dots in names nest nothing."""
    properties: dict[str, Any] = {field.name: dict(NATIVE[field.type]) for field in FIELDS.values()}
    properties |= {name: {"type": "text"} for name in SHOWN_ONLY}
    properties[ORGANISATION] = {"type": "long"}
    properties[RANK] = {"type": "byte"}
    properties[TOKENS] = {"type": "text", "analyzer": "whitespace", "norms": False}
    return {"dynamic": "strict", "subobjects": False, "properties": properties}
