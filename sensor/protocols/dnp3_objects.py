"""The DNP3 object library as data (IEEE 1815-2012, Annex A; secure authentication: clause 7).

Each object is written once, below: group, variation, name and the fields of one object in the order of the wire. Sizes
for the compiled walk (`BITS`) and the readable contents (`dnp3_values.py`) both derive from that text.

A field is `kind` or `name:kind`. Kinds of fixed size: u8 u16 u32 i16 i32 f32 f64 (little-endian numbers), t48 (ms since
1970 UTC), dt16 (ms after the common time of occurrence), bit and bit2 (packed, least significant bits first), bcd2 bcd4
bcd8 (packed decimal digits), ctl (control status in seven bits), cmd (control status, commanded state in bit 7), crob
(control code), and the flag octets bi dbi bo ctr ai sec. Kinds whose size the object says itself: text[name] and
data[name] have as many octets as the earlier field `name` counts; text and data go to the end of the object, which only
a size prefix tells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LIBRARY = """
1 binary input
  1 packed | bit
  2 with flags | bi
2 binary input event
  1 without time | bi
  2 with absolute time | bi t48
  3 with relative time | bi dt16
3 double-bit binary input
  1 packed | bit2
  2 with flags | dbi
4 double-bit binary input event
  1 without time | dbi
  2 with absolute time | dbi t48
  3 with relative time | dbi dt16
10 binary output
  1 packed | bit
  2 status with flags | bo
11 binary output event
  1 status without time | bo
  2 status with time | bo t48
12 binary output command
  1 control relay output block | code:crob count:u8 on_ms:u32 off_ms:u32 ctl
  2 pattern control block | code:crob count:u8 on_ms:u32 off_ms:u32 ctl
  3 pattern mask | bit
13 binary output command event
  1 without time | cmd
  2 with time | cmd t48
20 counter
  1 32-bit with flag | ctr u32
  2 16-bit with flag | ctr u16
  3 32-bit delta with flag | ctr u32
  4 16-bit delta with flag | ctr u16
  5 32-bit without flag | u32
  6 16-bit without flag | u16
  7 32-bit delta without flag | u32
  8 16-bit delta without flag | u16
21 frozen counter
  1 32-bit with flag | ctr u32
  2 16-bit with flag | ctr u16
  3 32-bit delta with flag | ctr u32
  4 16-bit delta with flag | ctr u16
  5 32-bit with flag and time | ctr u32 t48
  6 16-bit with flag and time | ctr u16 t48
  7 32-bit delta with flag and time | ctr u32 t48
  8 16-bit delta with flag and time | ctr u16 t48
  9 32-bit without flag | u32
  10 16-bit without flag | u16
  11 32-bit delta without flag | u32
  12 16-bit delta without flag | u16
22 counter event
  1 32-bit with flag | ctr u32
  2 16-bit with flag | ctr u16
  3 32-bit delta with flag | ctr u32
  4 16-bit delta with flag | ctr u16
  5 32-bit with flag and time | ctr u32 t48
  6 16-bit with flag and time | ctr u16 t48
  7 32-bit delta with flag and time | ctr u32 t48
  8 16-bit delta with flag and time | ctr u16 t48
23 frozen counter event
  1 32-bit with flag | ctr u32
  2 16-bit with flag | ctr u16
  3 32-bit delta with flag | ctr u32
  4 16-bit delta with flag | ctr u16
  5 32-bit with flag and time | ctr u32 t48
  6 16-bit with flag and time | ctr u16 t48
  7 32-bit delta with flag and time | ctr u32 t48
  8 16-bit delta with flag and time | ctr u16 t48
30 analog input
  1 32-bit with flag | ai i32
  2 16-bit with flag | ai i16
  3 32-bit without flag | i32
  4 16-bit without flag | i16
  5 single-precision with flag | ai f32
  6 double-precision with flag | ai f64
31 frozen analog input
  1 32-bit with flag | ai i32
  2 16-bit with flag | ai i16
  3 32-bit with time of freeze | ai i32 t48
  4 16-bit with time of freeze | ai i16 t48
  5 32-bit without flag | i32
  6 16-bit without flag | i16
  7 single-precision with flag | ai f32
  8 double-precision with flag | ai f64
32 analog input event
  1 32-bit without time | ai i32
  2 16-bit without time | ai i16
  3 32-bit with time | ai i32 t48
  4 16-bit with time | ai i16 t48
  5 single-precision without time | ai f32
  6 double-precision without time | ai f64
  7 single-precision with time | ai f32 t48
  8 double-precision with time | ai f64 t48
33 frozen analog input event
  1 32-bit without time | ai i32
  2 16-bit without time | ai i16
  3 32-bit with time | ai i32 t48
  4 16-bit with time | ai i16 t48
  5 single-precision without time | ai f32
  6 double-precision without time | ai f64
  7 single-precision with time | ai f32 t48
  8 double-precision with time | ai f64 t48
34 analog input reporting deadband
  1 16-bit | u16
  2 32-bit | u32
  3 single-precision | f32
40 analog output status
  1 32-bit with flag | ai i32
  2 16-bit with flag | ai i16
  3 single-precision with flag | ai f32
  4 double-precision with flag | ai f64
41 analog output
  1 32-bit | i32 ctl
  2 16-bit | i16 ctl
  3 single-precision | f32 ctl
  4 double-precision | f64 ctl
42 analog output event
  1 32-bit without time | ai i32
  2 16-bit without time | ai i16
  3 32-bit with time | ai i32 t48
  4 16-bit with time | ai i16 t48
  5 single-precision without time | ai f32
  6 double-precision without time | ai f64
  7 single-precision with time | ai f32 t48
  8 double-precision with time | ai f64 t48
43 analog output command event
  1 32-bit without time | ctl i32
  2 16-bit without time | ctl i16
  3 32-bit with time | ctl i32 t48
  4 16-bit with time | ctl i16 t48
  5 single-precision without time | ctl f32
  6 double-precision without time | ctl f64
  7 single-precision with time | ctl f32 t48
  8 double-precision with time | ctl f64 t48
50 time and date
  1 absolute time | t48
  2 absolute time and interval | t48 interval_ms:u32
  3 absolute time at last recorded time | t48
  4 indexed absolute time and long interval | t48 interval:u32 units:u8
51 time and date common time of occurrence
  1 synchronised | t48
  2 unsynchronised | t48
52 time delay
  1 coarse | delay_s:u16
  2 fine | delay_ms:u16
60 class objects
  1 class 0 data |
  2 class 1 data |
  3 class 2 data |
  4 class 3 data |
70 file control
  1 file identifier | data
  2 authentication | user_offset:u16 user_size:u16 password_offset:u16 password_size:u16 key:u32 user:text[user_size] \
password:data[password_size]
  3 file command | name_offset:u16 name_size:u16 created:t48 permissions:permissions key:u32 size:u32 mode:mode \
max_block:u16 request:u16 name:text[name_size]
  4 file command status | handle:handle size:u32 max_block:u16 request:u16 status:file_status message:text
  5 file transport | handle:handle block:block data:data
  6 file transport status | handle:handle block:block status:file_status message:text
  7 file descriptor | name_offset:u16 name_size:u16 type:file_type size:u32 created:t48 permissions:permissions \
request:u16 name:text[name_size]
  8 file specification string | name:text
80 internal indications
  1 packed | bit
81 device storage
  1 buffer fill status | fill:u8 of_group:u8 of_variation:u8
82 device profile
  1 functions and indexes | data
83 private registration
  1 object | vendor:text4 object:u16 length:u16 data:data[length]
  2 object descriptor | vendor:text4 object:u16 length:u16 data:data[length]
85 data set prototype
  1 with UUID | data
86 data set descriptor
  1 contents | data
  2 characteristics | characteristics:u8
  3 point index attributes | data
87 data set
  1 present value | data
88 data set event
  1 snapshot | data
90 application
  1 identifier | name:text
91 status of requested operation
  1 activate configuration | data
101 binary-coded decimal integer
  1 small | bcd2
  2 medium | bcd4
  3 large | bcd8
102 unsigned integer
  1 8-bit | u8
110 octet string
111 octet string event
112 virtual terminal output block
113 virtual terminal event data
120 authentication
  1 challenge | sequence:u32 user:u16 mac:mac reason:u8 challenge:data
  2 reply | sequence:u32 user:u16 value:data
  3 aggressive mode request | sequence:u32 user:u16
  4 session key status request | user:u16
  5 session key status | sequence:u32 user:u16 key_wrap:u8 key_status:key_status mac:mac challenge_size:u16 \
challenge:data[challenge_size] value:data
  6 session key change | sequence:u32 user:u16 wrapped_keys:data
  7 error | sequence:u32 user:u16 association:u16 error:auth_error t48 message:text
  8 user certificate | method:u8 type:u8 certificate:data
  9 message authentication code | value:data
  10 user status change | method:u8 operation:u8 sequence:u32 role:u16 expiry_days:u16 name_size:u16 key_size:u16 \
certification_size:u16 name:text[name_size] key:data[key_size] certification:data[certification_size]
  11 update key change request | method:u8 name_size:u16 challenge_size:u16 name:text[name_size] \
challenge:data[challenge_size]
  12 update key change reply | sequence:u32 user:u16 challenge_size:u16 challenge:data[challenge_size]
  13 update key change | sequence:u32 user:u16 key_size:u16 wrapped_key:data[key_size]
  14 update key change signature | value:data
  15 update key change confirmation | value:data
121 security statistic
  1 32-bit with flag | sec association:u16 u32
122 security statistic event
  1 32-bit with flag | sec association:u16 u32
  2 32-bit with flag and time | sec association:u16 u32 t48
"""

# Bits of one field of each kind that has a fixed size.
KIND_BITS: dict[str, int] = {
    "bit": 1, "bit2": 2, "u8": 8, "u16": 16, "u32": 32, "i16": 16, "i32": 32, "f32": 32, "f64": 64, "t48": 48,
    "dt16": 16, "bcd2": 16, "bcd4": 32, "bcd8": 64, "ctl": 8, "cmd": 8, "crob": 8, "text4": 32, "bi": 8, "dbi": 8,
    "bo": 8, "ctr": 8, "ai": 8, "sec": 8, "permissions": 16, "mode": 16, "handle": 32, "block": 32, "file_status": 8,
    "file_type": 16, "mac": 8, "key_status": 8, "auth_error": 8,
}  # fmt: skip
FLAG_KINDS = frozenset({"bi", "dbi", "bo", "ctr", "ai", "sec"})
DEFAULT_NAMES = {"t48": "time", "dt16": "offset", "ctl": "status", "cmd": "status"} | dict.fromkeys(FLAG_KINDS, "flags")

ATTRIBUTES = 0  # group: its objects say their own type and length
VARIATION_IS_LENGTH = (110, 111, 112, 113)  # groups: the variation is the length of the string in octets

# What `BITS` holds where an object has no fixed size.
UNKNOWN = -1  # the library has no such object: its size is unknown
SIZE_PREFIXED = -2  # only a size prefix tells the size
MAX_VARIATION = 15  # of groups other than device attributes and strings


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object. counted_by: the field that gives its length in octets, "" when that is the rest."""

    name: str
    kind: str
    counted_by: str = ""


@dataclass(frozen=True, slots=True)
class Object:
    """One variation: its name within the group, and the fields of one object."""

    name: str
    fields: tuple[Field, ...]

    @property
    def bits(self) -> int:
        """Size of one object in bits, SIZE_PREFIXED when it varies."""
        sizes = [KIND_BITS.get(field.kind, SIZE_PREFIXED) for field in self.fields]
        return SIZE_PREFIXED if SIZE_PREFIXED in sizes else sum(sizes)


def _field(text: str) -> Field:
    name, kind, counted_by = re.fullmatch(r"(?:(\w+):)?(\w+)(?:\[(\w+)\])?", text).groups(default="")  # type: ignore[union-attr]
    return Field(name or DEFAULT_NAMES.get(kind, "value"), kind, counted_by)


def _library() -> tuple[dict[int, str], dict[tuple[int, int], Object]]:
    groups: dict[int, str] = {ATTRIBUTES: "device attribute"}
    objects: dict[tuple[int, int], Object] = {}
    group = 0
    for line in LIBRARY.strip().splitlines():
        number, rest = line.split(maxsplit=1)
        if line.startswith(" "):
            name, fields = rest.split("|")
            objects[group, int(number)] = Object(name.strip(), tuple(map(_field, fields.split())))
        else:
            group = int(number)
            groups[group] = rest
    return groups, objects


GROUPS, OBJECTS = _library()


def _bits() -> npt.NDArray[np.int16]:
    table = np.full((256, MAX_VARIATION + 1), UNKNOWN, np.int16)
    for (group, variation), described in OBJECTS.items():
        table[group, variation] = described.bits
    return table


BITS = _bits()  # (256, 16): bits of one object by group and variation, or UNKNOWN or SIZE_PREFIXED

ATTRIBUTE_NAMES: dict[int, str] = {  # variations of group 0, set 0
    196: "configuration id",
    197: "configuration version",
    198: "configuration build date",
    199: "configuration last change date",
    200: "configuration signature",
    201: "configuration signature algorithm",
    202: "master resource id (mRID)",
    203: "device location altitude",
    204: "device location longitude",
    205: "device location latitude",
    206: "user-assigned secondary operator name",
    207: "user-assigned primary operator name",
    208: "user-assigned system name",
    209: "secure authentication version",
    210: "number of security statistics per association",
    211: "identification of support for user-specific attributes",
    212: "number of master-defined data set prototypes",
    213: "number of outstation-defined data set prototypes",
    214: "number of master-defined data sets",
    215: "number of outstation-defined data sets",
    216: "maximum number of binary outputs per request",
    217: "local timing accuracy",
    218: "duration of timing accuracy",
    219: "support for analog output events",
    220: "maximum analog output index",
    221: "number of analog outputs",
    222: "support for binary output events",
    223: "maximum binary output index",
    224: "number of binary outputs",
    225: "support for frozen counter events",
    226: "support for frozen counters",
    227: "support for counter events",
    228: "maximum counter index",
    229: "number of counters",
    230: "support for frozen analog inputs",
    231: "support for analog input events",
    232: "maximum analog input index",
    233: "number of analog inputs",
    234: "support for double-bit binary input events",
    235: "maximum double-bit binary input index",
    236: "number of double-bit binary inputs",
    237: "support for binary input events",
    238: "maximum binary input index",
    239: "number of binary inputs",
    240: "maximum transmit fragment size",
    241: "maximum receive fragment size",
    242: "device manufacturer's software version",
    243: "device manufacturer's hardware version",
    244: "user-assigned owner name",
    245: "user-assigned location name",
    246: "user-assigned id code or number",
    247: "user-assigned device name",
    248: "device serial number",
    249: "DNP3 subset and conformance",
    250: "device manufacturer's product name and model",
    252: "device manufacturer's name",
    254: "all attributes",
    255: "list of attribute variations",
}


def name_of(group: int, variation: int) -> str:
    """The standard's name of an object, "unknown object" where the library has none."""
    if group == ATTRIBUTES and variation:
        return ATTRIBUTE_NAMES.get(variation, f"device attribute {variation}")
    if group not in GROUPS:
        return "unknown object"
    if group in VARIATION_IS_LENGTH:
        return GROUPS[group]
    if variation == 0:
        return f"{GROUPS[group]}, any variation"
    described = OBJECTS.get((group, variation))
    return f"{GROUPS[group]}, {described.name}" if described else f"{GROUPS[group]}, unknown variation"
