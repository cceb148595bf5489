"""What a sensor may send: hostile bytes to checked records. Nothing in here trusts a length, a number or a name."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address
from math import isfinite
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from console.services.errors import InvalidError
from console.services.json_body import Ambiguous, parse_json
from console.store.storable import storable
from detectors.finding import MAX_EVIDENCE_FRAMES, MAX_EVIDENCE_PCAP_BYTES, MAX_EVIDENCE_PDUS, FindingId, Severity
from sensor import schema
from sensor.spool_loss import MAX_SPAN

MAX_FINDINGS = 1000  # of one batch
MAX_DEPTH = 12  # of lists and objects inside a record
MAX_NODES = 50_000  # values in one record: a DNP3 fragment of small objects has some thousands
MAX_STRING = 65_536  # characters: a whole PDU in hex fits
MAX_INT, MIN_INT = 2**64 - 1, -(2**63)
MAX_COUNT = 10**12  # events of one record
MAX_EPOCH = 2**40
MAX_RISK = 1e6
MAX_SEQUENCE = 2**62
MAX_TALLY = 500  # rules and severities of one loss
PCAP_MAGIC = (b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1")
SEVERITIES = {severity.word: severity for severity in Severity}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)
ID = re.compile(r"(.*)/([0-9]{1,19})/([0-9]{1,19})", re.ASCII | re.DOTALL)
KEY = re.compile(r"[@A-Za-z0-9_][@A-Za-z0-9_. /-]{0,127}", re.ASCII)
TWICE = "a key stands twice in an object"
FIELDS = frozenset(schema.FIELDS)  # most keys are these, and a set knows them sooner


def _unambiguous(value: Any) -> Any:
    if type(value) is Ambiguous:
        raise ValueError(TWICE)
    return value


def _tree(value: Any) -> Any:
    """A free-form JSON object as `parse_json` gives it, if it is within the limits; ValueError otherwise."""
    if not isinstance(_unambiguous(value), dict):
        raise ValueError("not an object")
    if _size(value, 0) > MAX_NODES:
        raise ValueError("too many values")
    return value


def _size(node: dict[str, Any] | list[Any], depth: int) -> int:
    """How many values a list or object holds at all depths. A loop for each level, for this runs on every PDU."""
    if depth >= MAX_DEPTH:
        raise ValueError("nested too deeply")
    size = len(node)
    items: Iterable[Any] = node
    if isinstance(node, dict):
        if not (node.keys() <= FIELDS or all(map(KEY.fullmatch, node))):
            raise ValueError("a key is not a field name")
        items = node.values()
    for item in items:
        kind = type(item)
        if kind is str:
            if len(item) > MAX_STRING:
                raise ValueError("a string is too long")
        elif kind is int:
            if not MIN_INT <= item <= MAX_INT:
                raise ValueError("a number is out of range")
        elif kind is float:
            if not isfinite(item):
                raise ValueError("a number is out of range")
        elif kind is dict or kind is list:
            size += _size(item, depth + 1)
        elif kind is Ambiguous:
            raise ValueError(TWICE)
        elif item is not None and kind is not bool:
            raise ValueError("a number is out of range")
    return size


def _time(text: Any) -> datetime:
    if not isinstance(text, str) or not TIME.fullmatch(text):
        raise ValueError("not a time in RFC 3339, UTC")
    try:
        moment = datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00")  # microseconds: what the store keeps
    except ValueError:
        raise ValueError("not a time that exists") from None
    if moment.year < 1970:
        raise ValueError("a time before 1970")
    return moment


def _severity(word: Any) -> Severity:
    if not isinstance(word, str) or word not in SEVERITIES:
        raise ValueError("not a severity")
    return SEVERITIES[word]


@lru_cache(4096)
def _address(text: str) -> str:
    return str(ip_address(text)) if text else ""


def _pcap(text: Any) -> bytes:
    if not isinstance(text, str) or len(text) > MAX_EVIDENCE_PCAP_BYTES * 4 // 3 + 4:
        raise ValueError("not base64, or too large")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None
    if len(data) > MAX_EVIDENCE_PCAP_BYTES or (data and not data.startswith(PCAP_MAGIC)):
        raise ValueError("not a classic pcap file, or too large")
    return data


def finding_id(text: Any) -> FindingId:
    """ "sensor/epoch/sequence" as a FindingId; ValueError where it is none."""
    parts = ID.fullmatch(text) if isinstance(text, str) and len(text) <= 120 else None
    if parts is None:
        raise ValueError("not sensor/epoch/sequence")
    found = FindingId(parts[1], int(parts[2]), int(parts[3]))
    if not 1 <= found.sequence <= MAX_SEQUENCE:
        raise ValueError("a sequence begins at 1")
    return found


Line = Annotated[str, StringConstraints(max_length=500)]
Paragraph = Annotated[str, StringConstraints(max_length=20_000)]
Path = Annotated[str, StringConstraints(max_length=4096)]
Address = Annotated[str, StringConstraints(max_length=64), AfterValidator(_address)]
Mac = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2}(:[0-9a-f]{2}){5})?$")]
Port = Annotated[int, Field(ge=0, le=65535)]
Moment = Annotated[datetime, BeforeValidator(_time)]
Tree = Annotated[dict[str, Any], PlainValidator(_tree)]  # looked through once, and kept as it is
Factor = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,32}$")]
Factors = Annotated[
    dict[Factor, Annotated[float, Field(ge=0, le=MAX_RISK)]], Field(max_length=8), BeforeValidator(_unambiguous)
]
Technique = Annotated[str, StringConstraints(pattern=r"^T[0-9]{4}(\.[0-9]{3})?$")]


class Strict(BaseModel):
    """No coercion, no unknown keys: what is not in the contract is refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)
    _one_meaning = model_validator(mode="before")(_unambiguous)


class Why(StrEnum):
    """Why findings are lost."""

    SHED = "shed"  # to make room
    DAMAGED = "damaged"  # on the sensor's disk
    MISSING = "missing"  # never arrived over a one-way link


class LossEntry(Strict):
    """How many findings of one rule and severity are lost, and how many events they counted."""

    rule_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]{0,200}$")] = Field(alias="rule.id")
    severity: Annotated[Severity, BeforeValidator(_severity)] = Field(alias="rule.severity")
    findings: int = Field(ge=1, le=MAX_SPAN)
    events: int = Field(ge=0, le=MAX_COUNT)


class LossRecord(Strict):
    """What a finding about lost ones stands for: the sequences from `first_sequence` to its own."""

    why: Annotated[Why, BeforeValidator(lambda word: Why(word) if isinstance(word, str) else word)]
    first_sequence: int = Field(ge=1, le=MAX_SEQUENCE)
    tally: Annotated[list[LossEntry], Field(max_length=MAX_TALLY)]


class FindingRecord(Strict):
    """One finding as `detectors.finding.to_dict` writes it."""

    id: Annotated[FindingId, BeforeValidator(finding_id), WithJsonSchema({"type": "string"})] = Field(
        alias="finding.id"
    )
    fingerprint: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")] = Field(alias="finding.fingerprint")
    first_seen: Moment = Field(alias="@timestamp")
    last_seen: Moment = Field(alias="finding.last_seen")
    count: int = Field(alias="finding.count", ge=1, le=MAX_COUNT)
    rule_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$")] = Field(alias="rule.id")
    rule_name: Line = Field(alias="rule.name")
    rule_name_zh: Line = Field("", alias="rule.name_zh")
    severity: Annotated[Severity, BeforeValidator(_severity)] = Field(alias="rule.severity")
    source_ip: Address = Field(alias="source.ip")
    source_mac: Mac = Field("", alias="source.mac")
    source_port: Port | None = Field(None, alias="source.port")
    destination_ip: Address = Field(alias="destination.ip")
    destination_mac: Mac = Field("", alias="destination.mac")
    destination_port: Port | None = Field(None, alias="destination.port")
    station: Annotated[int, Field(ge=MIN_INT, le=2**63 - 1)] | None = None
    protocol: Annotated[str, StringConstraints(pattern=r"^[a-z0-9._-]{0,64}$")] = Field("", alias="network.protocol")
    techniques: Annotated[list[Technique], Field(max_length=20)] = Field(alias="threat.technique.id")
    message: Paragraph
    message_zh: Paragraph = ""
    capture: Path = ""
    risk: Annotated[float, Field(ge=0, le=MAX_RISK)] | None = Field(None, alias="finding.risk")
    risk_factors: Factors = Field(default_factory=dict, alias="finding.risk_factors")
    risk_equation: Paragraph = Field("", alias="finding.risk_equation")
    risk_equation_zh: Paragraph = Field("", alias="finding.risk_equation_zh")
    risk_overridden: bool = Field(False, alias="finding.risk_overridden")
    fields: Tree = Field(default_factory=dict)
    frames: Annotated[list[Annotated[int, Field(ge=1, le=2**63 - 1)]], Field(max_length=MAX_EVIDENCE_FRAMES)]
    pdus: Annotated[list[Tree], Field(max_length=MAX_EVIDENCE_PDUS)] = Field(
        default_factory=list, alias="evidence.pdus"
    )
    pcap: Annotated[bytes, BeforeValidator(_pcap)] = Field(b"", alias="evidence.pcap")
    loss: LossRecord | None = Field(None, alias="finding.loss")

    @model_validator(mode="after")
    def _loss_fits(self) -> FindingRecord:
        if self.loss is not None and not 0 <= self.id.sequence - self.loss.first_sequence < MAX_SPAN:
            raise ValueError(f"a loss stands for at most {MAX_SPAN} sequences up to its own")
        return self


class Batch(Strict):
    """The envelope of POST /api/v1/findings. Its records are checked one by one."""

    epoch: int = Field(ge=0, le=MAX_EPOCH)
    findings: Annotated[list[Any], Field(max_length=MAX_FINDINGS)]


class Heartbeat(Strict):
    """POST /api/v1/heartbeat."""

    epoch: int = Field(ge=0, le=MAX_EPOCH)
    counters: Tree


class NewKey(Strict):
    """POST /api/v1/key: what a sensor says of a key that it made. See console.services.sensors.Key."""

    key_hash: Annotated[str, StringConstraints(max_length=64)]
    key_hint: Annotated[str, StringConstraints(max_length=16)]


class Enrolment(NewKey):
    """POST /api/v1/enrol."""

    token: Annotated[str, StringConstraints(max_length=100)]


def explain(error: ValidationError) -> str:
    """What is wrong, without repeating what was sent: "finding.count: Input should be ...", at most 300 characters."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) if isinstance(part, int) else storable(part)[:60] for part in first["loc"])
    return f"{place}: {first['msg']}"[:300]


def parse(model: type[Strict], body: bytes) -> Any:
    """A body as an instance of `model`; InvalidError where it is not."""
    value = parse_json(body)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InvalidError(explain(error)) from None
