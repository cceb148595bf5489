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
MODBUS: tuple[Field, ...] = (
    Field("modbus.transaction_id", "long", "MBAP transaction identifier, which pairs request and response"),
    Field("modbus.unit_id", "long", "device behind the address; 0 is a broadcast or the addressed device itself"),
    Field("modbus.function_code", "long", "function code, without the 0x80 of exceptions"),
    Field("modbus.function", "keyword", "name of the function: read_holding_registers, umas, undefined, ..."),
    Field("modbus.subfunction_code", "long", "sub-function of 8, MEI type of 43, UMAS sub-code of 90"),
    Field("modbus.subfunction", "keyword", "its name: force_listen_only_mode, read_device_identification, ..."),
    Field("modbus.exception_code", "long", "exception code, of exceptions only"),
    Field("modbus.exception", "keyword", "its name: illegal_function, illegal_data_address, ..."),
    Field("modbus.address", "long", "first coil or register, from 0, where the PDU itself carries it"),
    Field("modbus.quantity", "long", "number of coils or registers, where the PDU itself carries it"),
    Field("modbus.byte_count", "long", "byte count as the PDU claims it", unit="bytes"),
    Field("modbus.values", "long", "bits (0 and 1) or 16-bit registers, read or written, in order", many=True),
    Field("modbus.and_mask", "long", "AND mask of a mask write"),
    Field("modbus.or_mask", "long", "OR mask of a mask write"),
    Field("modbus.read.address", "long", "first register read by function 23"),
    Field("modbus.read.quantity", "long", "number of registers read by function 23"),
    Field("modbus.write.address", "long", "first register written by function 23"),
    Field("modbus.write.quantity", "long", "number of registers written by function 23"),
    Field("modbus.request.address", "long", "of a response: the address in its request"),
    Field("modbus.request.quantity", "long", "of a response: the quantity in its request"),
    Field("modbus.request.subfunction_code", "long", "of a response: the finer code in its request"),
    Field("modbus.request.subfunction", "keyword", "of a response: the name of that finer code"),
    Field("modbus.file.numbers", "long", "file numbers of functions 20 and 21", many=True),
    Field("modbus.file.records", "long", "record numbers in these files", many=True),
    Field("modbus.file.lengths", "long", "lengths of these records, in registers", many=True),
    Field("modbus.fifo.count", "long", "number of registers in the queue read by function 24"),
    Field("modbus.exception_status", "long", "the eight status outputs given by function 7, as one number"),
    Field("modbus.comm.status", "long", "status word of functions 11 and 12: 65535 while a program runs, else 0"),
    Field("modbus.comm.events", "long", "communication event counter"),
    Field("modbus.comm.messages", "long", "message counter of function 12"),
    Field("modbus.comm.log", "keyword", "communication events of function 12, newest first", many=True),
    Field("modbus.diagnostic_counter", "long", "counter given by functions 8/11 to 8/18"),
    Field("modbus.server_id.data", "keyword", "answer to function 17, in hexadecimal"),
    Field("modbus.server_id.text", "keyword", "the same as text, with escapes"),
    Field("modbus.server_id.running", "boolean", "its run indicator, where it stands in the usual place"),
    Field("modbus.device_id.code", "long", "which identification is asked for: 1 to 4"),
    Field("modbus.device_id.category", "keyword", "the same by name: basic, regular, extended, individual"),
    Field("modbus.device_id.from_object", "long", "object id from which the identification is asked for"),
    Field("modbus.device_id.conformity", "long", "conformity level that the device claims"),
    Field("modbus.device_id.more_follows", "boolean", "the identification goes on in a further response"),
    Field("modbus.device_id.next_object", "long", "object id at which it goes on"),
    Field("modbus.device_id.vendor_name", "keyword", "object 0, VendorName"),
    Field("modbus.device_id.product_code", "keyword", "object 1, ProductCode"),
    Field("modbus.device_id.major_minor_revision", "keyword", "object 2, MajorMinorRevision"),
    Field("modbus.device_id.vendor_url", "keyword", "object 3, VendorUrl"),
    Field("modbus.device_id.product_name", "keyword", "object 4, ProductName"),
    Field("modbus.device_id.model_name", "keyword", "object 5, ModelName"),
    Field("modbus.device_id.user_application_name", "keyword", "object 6, UserApplicationName"),
    Field("modbus.device_id.others", "keyword", "further objects, as id=text", many=True),
    Field("modbus.umas.session", "long", "session key of a UMAS message"),
    Field("modbus.umas.status", "long", "status of a UMAS answer: 254 is well, 253 an error"),
    Field("modbus.umas.error_code", "long", "error code of a UMAS answer"),
    Field("modbus.data", "keyword", "contents that are not decoded further, in hexadecimal"),
)
S7COMM: tuple[Field, ...] = ()
DNP3: tuple[Field, ...] = (
    Field("dnp3.link.source", "long", "link address of the station that sent the fragment"),
    Field("dnp3.link.destination", "long", "link address to which it was sent; 65533 to 65535 are broadcasts"),
    Field("dnp3.function_code", "long", "application function code"),
    Field("dnp3.function", "keyword", "its name in IEEE 1815, in small letters"),
    Field("dnp3.sequence", "long", "application sequence number, 0 to 15"),
    Field("dnp3.control.fir", "boolean", "first fragment of a message"),
    Field("dnp3.control.fin", "boolean", "last fragment of a message"),
    Field("dnp3.control.con", "boolean", "the receiver shall confirm the fragment"),
    Field("dnp3.control.uns", "boolean", "the fragment belongs to an unsolicited response"),
    Field("dnp3.iin", "long", "internal indications of a response, IIN1 << 8 | IIN2"),
    Field("dnp3.iin_bits", "keyword", "names of the internal indications that are set", many=True),
    Field("dnp3.objects", "keyword", "group and variation of each object header, such as g12v1", many=True),
    Field("dnp3.object_headers", "text", "each object header in words, with range and qualifier", many=True),
    Field("dnp3.point_count", "long", "points addressed by all object headers; all points of a type count as one"),
    Field("dnp3.indexes", "long", "indexes of the points listed", many=True),
    Field("dnp3.points", "text", "the first points, each with index, value, time and flags", many=True),
    Field("dnp3.undecoded", "long", "octets at the end that cannot be delimited", unit="bytes"),
    Field("dnp3.command", "keyword", "what is operated: trip point 7, close point 3, set point 1 to 20", many=True),
    Field("dnp3.command_status", "keyword", "status of each control in a response", many=True),
    Field("dnp3.setpoint", "double", "values of analog output commands", many=True),
    Field("dnp3.time", "date", "time written or read (groups 50 and 51)"),
    Field("dnp3.attributes", "text", "device attributes, each with its name", many=True),
    Field("dnp3.file.name", "keyword", "name of the file"),
    Field("dnp3.file.mode", "keyword", "how a file is opened: null, read, write or append"),
    Field("dnp3.file.size", "long", "size that the file is said to have", unit="bytes"),
    Field("dnp3.file.handle", "long", "handle of the open file"),
    Field("dnp3.file.block", "long", "number of the block transferred, from 0"),
    Field("dnp3.file.last_block", "boolean", "whether it is the last block"),
    Field("dnp3.file.status", "keyword", "how a file operation ended"),
    Field("dnp3.file.type", "keyword", "directory or simple file"),
    Field("dnp3.file.permissions", "keyword", "permissions of owner, group and world, such as rwxr-x---"),
    Field("dnp3.authentication.user", "long", "user number of secure authentication"),
    Field("dnp3.authentication.sequence", "long", "challenge, key change or status change sequence number"),
    Field("dnp3.authentication.error", "keyword", "why authentication failed"),
    Field("dnp3.authentication.key_status", "keyword", "state of the session keys"),
)

FIELDS: dict[str, Field] = {field.name: field for field in (*COMMON, *MODBUS, *S7COMM, *DNP3)}
