"""Variables of S7comm at full depth: specifications as people write addresses, data items as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sensor.protocols import s7comm_tables as t
from sensor.text import wire_text


class Octets:
    """Reads octets from front to back. Past the end it gives what is there, then zeros, and `short` turns True."""

    __slots__ = ("_data", "at", "short")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0
        self.short = False

    @property
    def left(self) -> int:
        """How many octets remain."""
        return len(self._data) - self.at

    def take(self, count: int) -> bytes:
        """The next `count` octets, fewer at the end."""
        taken = self._data[self.at : self.at + count]
        self.at += len(taken)
        self.short |= len(taken) < count
        return taken

    def number(self, count: int = 1) -> int:
        """The next `count` octets as an unsigned big-endian number."""
        return int.from_bytes(self.take(count), "big")

    def rest(self) -> bytes:
        """All octets that remain."""
        return self.take(self.left)


def printable(octets: bytes) -> str:
    """A string of fixed length as text that is safe to look at, without the blanks or zeros that fill it up."""
    return wire_text(octets.rstrip(b"\0 "))


@dataclass(frozen=True, slots=True)
class Item:
    """One variable specification.

    address: as printed; syntax: its id; area: S7ANY area code or -1; dbs: numbers of the data blocks it reaches into.
    size: transport size of its elements, 0 where the syntax has none; count: of elements.
    parts: lengths of the areas that it joins in octets, empty where it is one area.
    """

    address: str
    syntax: int
    area: int = -1
    dbs: tuple[int, ...] = ()
    size: int = 0
    count: int = 0
    parts: tuple[int, ...] = ()


def area_address(area: int, db: int, bits: int, type_name: str, count: int) -> str:
    """An address as STEP 7 users read it: "DB1.DBX 0.0 BYTE 10", "M 4.1 BIT 1", "T 5 TIMER 1".

    bits: bit address, or the number of a timer or counter.
    """
    name = t.AREAS.get(area, f"AREA 0x{area:02X}")
    if area in t.COUNTED_AREAS:
        place = f"{name} {bits}"
    elif area in (t.DATA_BLOCK, t.INSTANCE_DB):
        place = f"{name}{db}.{name}X {bits >> 3}.{bits & 7}"
    else:
        place = f"{name} {bits >> 3}.{bits & 7}"
    return f"{place} {type_name} {count}" if type_name else f"{place} x{count}"


def specification(octets: Octets) -> Item:
    """Read one variable specification: 0x12, length, syntax id, and what the syntax says."""
    octets.number()
    body = Octets(octets.take(octets.number()))
    syntax = body.number()
    item = _syntax(syntax, body)
    octets.short |= body.short
    return item


def _syntax(syntax: int, body: Octets) -> Item:
    if syntax == t.S7ANY:
        return _s7any(body)
    if syntax == t.DB_READ:
        return _db_read(body)
    if syntax == t.SYMBOLIC_1200:
        return _symbolic(body)
    if t.NCK <= syntax <= t.NCK_INCH:
        area_unit, column, line = body.number(), body.number(2), body.number(2)
        module, count = body.number(), body.number()
        area = f"{t.NCK_AREAS[area_unit >> 5]}{area_unit & 0x1F}"
        return Item(f"NCK {area} MODULE 0x{module:02X} COLUMN {column} LINE {line} x{count}", syntax, count=count)
    if syntax == t.DRIVE_ES:
        body.take(5)  # meaning unknown
        number, index = body.number(2), body.number(2)
        return Item(f"DRIVE P{number}[{index}]", syntax)
    if syntax == t.R_ID:
        body.take(1)
        return Item(f"R_ID 0x{body.number(4):08X}", syntax)
    return Item(f"SYNTAX 0x{syntax:02X} {body.rest().hex()}".rstrip(), syntax)


def _s7any(body: Octets) -> Item:
    size, count, db, area, bits = body.number(), body.number(2), body.number(2), body.number(), body.number(3)
    if area == t.RECORD:  # the fields change their meaning: length, index, diagnostic address
        return Item(f"RECORD {bits} INDEX {db} LENGTH {count}", t.S7ANY, area, (), size, count)
    type_name = t.TRANSPORT_SIZES.get(size, f"TYPE_0x{size:02X}")
    has_db = area in (t.DATA_BLOCK, t.INSTANCE_DB)
    return Item(area_address(area, db, bits, type_name, count), t.S7ANY, area, (db,) if has_db else (), size, count)


def _db_read(body: Octets) -> Item:
    """Several areas of data blocks at once, S7-400 only: count, then length, DB number and start octet of each."""
    areas, dbs, lengths = [], [], []
    for _ in range(body.number()):
        if body.left < 5:
            body.short = True
            break
        length, db, start = body.number(), body.number(2), body.number(2)
        dbs.append(db)
        lengths.append(length)
        areas.append(area_address(t.DATA_BLOCK, db, start << 3, "BYTE", length))
    return Item(" + ".join(areas), t.DB_READ, t.DATA_BLOCK, tuple(dbs), t.BYTE, parts=tuple(lengths))


def _symbolic(body: Octets) -> Item:
    """S7-1200: 0xFF, root, area or DB number, checksum of the symbol, then parts of half an octet kind and 28 bits."""
    body.take(1)
    root, place, checksum = body.number(2), body.number(2), body.number(4)
    parts = []
    while body.left >= 4:
        part = body.number(4)
        parts.append(f"{t.SYMBOLIC_PARTS.get(part >> 28, f'PART{part >> 28}')} {part & 0x0FFFFFFF}")
    if root == t.SYMBOLIC_DB:
        area, name = t.DATA_BLOCK, f"DB{place}"
    else:
        area = t.SYMBOLIC_AREAS.get(place, -1) if root == 0 else -1
        name = t.AREAS[area] if area >= 0 else f"ROOT 0x{root:04X}/0x{place:04X}"
    return Item(
        " ".join([name, "SYMBOL", f"0x{checksum:08X}", *parts]),
        t.SYMBOLIC_1200,
        area,
        (place,) if area == t.DATA_BLOCK else (),
    )


def specifications(octets: Octets, count: int) -> list[Item]:
    """Read `count` specifications; odd ones, but not the last, are followed by a fill octet. Stops at the end."""
    items = []
    for i in range(count):
        if octets.left < 3:
            octets.short = True
            break
        start = octets.at
        items.append(specification(octets))
        if (octets.at - start) % 2 and i < count - 1:
            octets.take(1)
    return items


def status_item(octets: Octets) -> Item:
    """Read the six octets by which variable status, modify and force name a variable: area and type, factor or bit, DB,
    octet."""
    kind, factor, db, start = octets.number(), octets.number(), octets.number(2), octets.number(2)
    area, element = t.STATUS_AREAS.get(kind >> 4, -1), kind & 0x0F
    has_db = area == t.DATA_BLOCK
    if area in t.COUNTED_AREAS:
        address = area_address(area, 0, start, "", factor)
    elif element == 0:
        address = area_address(area, db, start << 3 | factor & 7, "BIT", 1)
    else:
        type_name = t.STATUS_TYPES.get(element) or f"TYPE_0x{element:X}"
        address = area_address(area, db, start << 3, type_name, factor)
    size = {0: t.BIT, 1: t.BYTE, 2: t.WORD, 3: t.DWORD}.get(element, 0)
    return Item(address, t.S7ANY, area, (db,) if has_db else (), size, 1 if element == 0 else factor)


def describe(items: list[Item], out: dict[str, Any]) -> None:
    """Write specifications into the fields that rules ask for."""
    out["s7comm.items"] = [item.address for item in items]
    syntaxes = sorted({item.syntax for item in items})
    out["s7comm.item_syntaxes"] = [t.SYNTAX_IDS.get(s, f"0x{s:02X}") for s in syntaxes]
    if areas := sorted({item.area for item in items if item.area >= 0}):
        out["s7comm.areas"] = [t.AREAS.get(area, f"0x{area:02X}") for area in areas]
    if dbs := sorted({db for item in items for db in item.dbs}):
        out["s7comm.db_numbers"] = dbs


@dataclass(frozen=True, slots=True)
class DataItem:
    """One data item: return code, transport size, its octets without the fill octet."""

    code: int
    size: int
    octets: bytes


def data_items(octets: Octets, count: int, *, answers: bool, fill_last: bool = False) -> list[DataItem]:
    """Read `count` data items. answers: octets follow only where the return code says success.

    fill_last: the last item has its fill octet like the others (programmer commands do that). Stops at the end.
    """
    items = []
    for i in range(count):
        if octets.left < 4:
            octets.short = True
            break
        code, size, length = octets.number(), octets.number(), octets.number(2)
        value = b""
        if not answers or code == t.ITEM_OK:
            value = octets.take((length + 7) >> 3 if size in t.BIT_COUNTED else length)
            if len(value) % 2 and (fill_last or i < count - 1) and octets.left:
                octets.take(1)
        items.append(DataItem(code, size, value))
    return items


def describe_data(found: list[DataItem], specified: list[Item], out: dict[str, Any]) -> None:
    """Write data items into fields; `specified` types their values where it is known, item by item."""
    out["s7comm.return_codes"] = [item.code for item in found]
    out["s7comm.return_names"] = [return_name(item.code) for item in found]
    out["s7comm.data_sizes"] = [t.DATA_SIZES.get(item.size, f"0x{item.size:02X}") for item in found]
    typed: list[Item | None] = [*specified] if len(specified) == len(found) else [None] * len(found)
    out["s7comm.values"] = [value_text(item, spec) for item, spec in zip(found, typed, strict=True)]


def return_name(code: int) -> str:
    """Name of an item's return code."""
    return t.RETURN_CODES.get(code, "unknown")


_NUMPY_TYPES = {t.INT: ">i2", t.DINT: ">i4", t.REAL: ">f4"}
_BY_DATA_SIZE = {5: t.INT, 6: t.DINT, 7: t.REAL}  # what the data's own transport size says, without a specification


def value_text(item: DataItem, specified: Item | None) -> str:
    """A value as text: bits as 0 or 1, integers and reals as decimal numbers, characters as such, all else as hex."""
    size = specified.size if specified else _BY_DATA_SIZE.get(item.size, 0)
    octets = item.octets
    if specified and specified.parts and len(octets) == sum(specified.parts) + len(specified.parts):
        return _parts_text(octets, specified.parts)
    if (size == t.BIT or item.size == t.DATA_BIT) and len(octets) == 1:
        return str(octets[0] & 1)
    if size == t.CHAR:
        return printable(octets)
    if size in _NUMPY_TYPES:
        dtype = np.dtype(_NUMPY_TYPES[size])
        if octets and len(octets) % dtype.itemsize == 0:
            return " ".join(str(number) for number in np.frombuffer(octets, dtype))
    return octets.hex()


def _parts_text(octets: bytes, lengths: tuple[int, ...]) -> str:
    """Values of joined areas in the order of their addresses: each a return code and its octets, without fill."""
    values = Octets(octets)
    texts = []
    for length in lengths:
        code, value = values.number(), values.take(length)
        texts.append(value.hex() if code == t.ITEM_OK else return_name(code))
    return " + ".join(texts)
