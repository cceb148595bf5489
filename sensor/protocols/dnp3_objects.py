"""The DNP3 object library as data (IEEE 1815-2012, Annex A; secure authentication: clause 7).

Each object is written once, in dnp3_library.py. Sizes for the compiled walk (`BITS`), the place of each object's value
(`VALUES`) and the readable contents (`dnp3_values.py`) all derive from that text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensor.protocols.dnp3_library import LIBRARY

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

# Kinds of values as compiled code reads them; NO_NUMBER where an object has none.
NO_NUMBER, UNSIGNED, SIGNED, FLOATING, STATE, STATE_PAIR = 0, 1, 2, 3, 4, 5
_VALUE_KINDS = {
    "u8": UNSIGNED, "u16": UNSIGNED, "u32": UNSIGNED, "i16": SIGNED, "i32": SIGNED, "f32": FLOATING, "f64": FLOATING,
    "bit": STATE, "bi": STATE, "bo": STATE, "bit2": STATE_PAIR, "dbi": STATE_PAIR,
}  # fmt: skip
_MEASUREMENTS = (*range(1, 5), 10, 11, *range(20, 24), *range(30, 35), 40, 41, 42, 101, 102)  # groups of plain points


def _values() -> npt.NDArray[np.int16]:
    table = np.zeros((256, MAX_VARIATION + 1, 3), np.int16)
    for (group, variation), described in OBJECTS.items():
        at = 0
        for field in described.fields:
            kind = _VALUE_KINDS.get(field.kind, NO_NUMBER)
            alone = (
                field.kind in ("bi", "bo", "dbi") and len(described.fields) > 1 and described.fields[1].name == "value"
            )
            if group in _MEASUREMENTS and kind and not alone and field.name in ("value", "flags"):
                table[group, variation] = kind, at // 8, max(KIND_BITS[field.kind] // 8, 1)
                break
            at += KIND_BITS.get(field.kind, 0)
    return table


VALUES = _values()  # (256, 16, 3): kind of the value of one object, its offset and its length in octets

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
