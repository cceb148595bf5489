"""Every event field, once: name, type, unit, meaning.

Names are dotted in the manner of the Elastic Common Schema (ECS); protocol fields stand under the protocol's own
prefix. The decoder's output, Sigma field names, index mappings and the field reference in docs derive from here; a
name that is not in FIELDS may not be emitted (tests/sensor/test_schema.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FieldType = Literal["date", "long", "double", "boolean", "ip", "keyword", "text"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an event or a finding.

    name: dotted key as it is printed, indexed and used in rules.
    type: an Elasticsearch field type; `keyword` and `text` are strings, `date` is RFC 3339 in UTC.
    meaning: one line in English for people who write rules.
    unit: of numbers with one ("ns", "bytes"), otherwise empty.
    many: the value is a list.
    """

    name: str
    type: FieldType
    meaning: str
    unit: str = ""
    many: bool = False


COMMON = (
    Field("@timestamp", "date", "when the frame that completes the PDU was captured"),
    Field("capture", "keyword", "path of the capture, as given, where several are read in one call"),
    Field("frame", "long", "number of the frame that completes the PDU, from 1 in each capture"),
    Field("source.ip", "ip", "who sent the PDU"),
    Field("source.port", "long", "transport port of the sender"),
    Field("destination.ip", "ip", "to whom the PDU was sent"),
    Field("destination.port", "long", "transport port of the receiver"),
    Field("network.transport", "keyword", "tcp or udp"),
    Field("network.protocol", "keyword", "modbus, s7comm, dnp3"),
    Field("network.vlan.id", "long", "VLAN identifier of the innermost tag, absent when untagged"),
    Field("event.kind", "keyword", "role of the PDU: request, response or unsolicited"),
    Field("event.action", "keyword", "verb of the operation, the same for all protocols: see sensor/operations.py"),
    Field("event.outcome", "keyword", "asked, answered, refused, unanswered or unsolicited"),
    Field("event.duration", "long", "time from the request to this response", unit="ns"),
    Field("request.frame", "long", "frame of the request that this response answers"),
    Field("anomalies", "keyword", "what is wrong with the PDU or with the way it travelled", many=True),
)

# Each protocol's own fields. The code is always there as a number; its name stands beside it.
MODBUS: tuple[Field, ...] = ()
S7COMM: tuple[Field, ...] = ()
DNP3: tuple[Field, ...] = ()

FIELDS: dict[str, Field] = {field.name: field for field in (*COMMON, *MODBUS, *S7COMM, *DNP3)}
