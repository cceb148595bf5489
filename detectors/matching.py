"""Matching on the fields of a behaviour: all named fields must have one of the given values.

A value is an integer, true or false, or a text; a text that ends in `*` matches what begins with it. A field that is a
list (`dnp3.objects`) matches when one of its members does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sensor.decode.pdu import Protocol
from sensor.schema import FIELDS

MAX_VALUES = 1000  # of one field: more is a list that belongs in several rules

# Fields that are known from the columns alone.
FUNCTION_FIELDS = {
    Protocol.MODBUS: "modbus.function_code",
    Protocol.S7COMM: "s7comm.function",
    Protocol.DNP3: "dnp3.function_code",
    Protocol.IEC104: "iec104.type",
    Protocol.S7COMM_PLUS: "s7comm_plus.function",
    Protocol.ENIP: "enip.command",
}
SERVICE_FIELDS = {  # the same of the subfunction column
    Protocol.ENIP: "cip.service",
    Protocol.OPCUA: "opcua.service_id",
    Protocol.BACNET: "bacnet.service",
}

USERDATA_GROUP = "s7comm.userdata.group"  # high octet of the subfunction column where there is no function code
MMS_SERVICE = "mms.service_code"  # low octet of the subfunction column

# What protocol, codes and station of a behaviour say, so that no two behaviours with the same ones differ in it.
COLUMN_FIELDS = frozenset({
    *FUNCTION_FIELDS.values(), *SERVICE_FIELDS.values(), USERDATA_GROUP, "s7comm.userdata.subfunction",
    "modbus.subfunction_code", "modbus.unit_id", "dnp3.link.source", "dnp3.link.destination", "iec104.control",
    "iec104.cause_code", "iec104.select", "iec104.freeze", "iec104.file.operation", "iec104.common_address",
    MMS_SERVICE, "mms.purpose", "goose.simulation", "goose.needs_commissioning", "bacnet.apdu_type",
})  # fmt: skip

Value = int | str


@dataclass(frozen=True, slots=True)
class Match:
    """A conjunction over fields. exact: field -> values of which it must have one; prefixes: the same for texts."""

    exact: Mapping[str, frozenset[Value]]
    prefixes: Mapping[str, tuple[str, ...]]

    def holds(self, fields: Mapping[str, Any]) -> bool:
        """True when every named field is there and has one of the wanted values."""
        return all(self._one(name, fields.get(name)) for name in self.exact)

    def _one(self, name: str, got: Any) -> bool:
        if isinstance(got, (list, tuple)):
            return any(self._one(name, member) for member in got)
        if got is None or not isinstance(got, (int, str)):
            return False
        return got in self.exact[name] or (isinstance(got, str) and got.startswith(self.prefixes.get(name, ())))

    def possible(self, protocol: Protocol, function: int, subfunction: int) -> bool:
        """False when the columns alone show that `holds` would be False: most behaviours need no description."""
        functions = self.exact.get(FUNCTION_FIELDS.get(protocol, ""))
        if functions is not None and function not in functions:
            return False
        services = self.exact.get(SERVICE_FIELDS.get(protocol, ""))
        if services is not None and subfunction not in services:
            return False
        services = self.exact.get(MMS_SERVICE)
        if services is not None and (subfunction < 0 or subfunction & 0xFF not in services):
            return False
        groups = self.exact.get(USERDATA_GROUP)
        return groups is None or (function < 0 and subfunction >> 8 in groups)


def parse(wanted: Mapping[str, Any]) -> Match:
    """A mapping of field name to value or list of values as a Match; ValueError says what is wrong with it."""
    if not isinstance(wanted, Mapping) or not wanted:
        raise ValueError("a match must name at least one field")
    exact: dict[str, frozenset[Value]] = {}
    prefixes: dict[str, tuple[str, ...]] = {}
    for name, given in wanted.items():
        if name not in FIELDS:
            raise ValueError(f"unknown field {name!r}")
        values = given if isinstance(given, list) else [given]
        if not values or len(values) > MAX_VALUES:
            raise ValueError(f"{name}: expected 1 to {MAX_VALUES} values, got {len(values)}")
        number = FIELDS[name].type in ("long", "boolean")
        for value in values:
            if not isinstance(value, int if number else str):
                raise ValueError(f"{name}: expected {'a number' if number else 'a text'}, got {value!r}")
        exact[name] = frozenset(value for value in values if not (isinstance(value, str) and value.endswith("*")))
        begins = tuple(value[:-1] for value in values if isinstance(value, str) and value.endswith("*"))
        if "" in begins:
            raise ValueError(f"{name}: '*' alone matches everything")
        if begins:
            prefixes[name] = begins
    return Match(exact, prefixes)
