"""The ledger: which devices there should be, how important each is, whose, and whether it is approved.

A CSV file with a head, UTF-8 (with or without a byte-order mark), columns in any order: `address` (an IP or hardware
address, or a network such as 10.1.0.0/24), and as wanted `segment` ("vlan 7"; empty: any), `name`, `importance` (low,
normal, high, critical; also 低, 一般, 高, 关键), `owner`, `approved` (yes or no; 是 or 否).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

from detectors.assets.asset import Asset
from detectors.assets.neighbours import unicast
from detectors.content import ContentError
from detectors.finding import MAC, Text

MAX_BYTES = 4 * 1024 * 1024
MAX_ENTRIES = 100_000
COLUMNS = ("address", "segment", "name", "importance", "owner", "approved")
YES = {"": True, "yes": True, "true": True, "1": True, "是": True, "no": False, "false": False, "0": False, "否": False}
_SEGMENT = re.compile(r"(?:vlan\s*)?(\d{1,4})")


class Importance(IntEnum):
    """How much depends on a device; NORMAL for all that the ledger does not name."""

    LOW = 1
    NORMAL = 2
    HIGH = 3
    CRITICAL = 4


WORDS = {"": Importance.NORMAL, "low": Importance.LOW, "normal": Importance.NORMAL, "medium": Importance.NORMAL,
         "high": Importance.HIGH, "critical": Importance.CRITICAL, "低": Importance.LOW, "一般": Importance.NORMAL,
         "中": Importance.NORMAL, "高": Importance.HIGH, "重要": Importance.HIGH,
         "关键": Importance.CRITICAL}  # fmt: skip


IMPORTANCES = {
    Importance.LOW: Text("重要性低", "of low importance"),
    Importance.NORMAL: Text("一般重要", "of normal importance"),
    Importance.HIGH: Text("重要", "important"),
    Importance.CRITICAL: Text("关键", "critical"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. address: as written, in its shortest form. segment: "" for any."""

    address: str
    segment: str
    name: str
    importance: Importance
    owner: str
    approved: bool

    @property
    def network(self) -> bool:
        """Whether it stands for a whole network, which is never silent."""
        return "/" in self.address


class Ledger:
    """Entries, found by address. An entry with the segment wins over one without, an address over a network."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries = tuple(entries)
        self._exact = {(entry.address, entry.segment): entry for entry in self.entries if not entry.network}
        self._at: dict[str, list[Entry]] = {}
        for entry in self.entries:
            self._at.setdefault(entry.address, []).append(entry)
        self._networks: list[tuple[IPv4Network | IPv6Network, Entry]] = sorted(
            ((ip_network(entry.address), entry) for entry in self.entries if entry.network),
            key=lambda pair: -pair[0].prefixlen,
        )

    def entry(self, address: str, segment: str = "") -> Entry | None:
        """What the ledger says about an address; None where it says nothing."""
        for where in dict.fromkeys((segment, "")):
            if (found := self._exact.get((address, where))) is not None:
                return found
        if self._networks and unicast(address):
            ip = ip_address(address)
            for network, entry in self._networks:
                if ip in network and entry.segment in ("", segment):
                    return entry
        return None

    def weightiest(self, address: str, segment: str = "") -> Entry | None:
        """What the ledger says about an address whose segment may not be known: the most important of its entries."""
        if segment:
            return self.entry(address, segment)
        here = [entry for entry in self._at.get(address, ()) if not entry.network]
        return max(here, key=lambda entry: entry.importance) if here else self.entry(address)

    def importance(self, address: str, segment: str = "") -> Importance:
        """How important a device is; NORMAL where nothing is said."""
        found = self.entry(address, segment)
        return Importance.NORMAL if found is None else found.importance


def load(path: Path) -> Ledger:
    """Read a ledger; ContentError says file, line and what is wrong."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ContentError(path, 0, f"cannot be read: {error.strerror or error}") from error
    if len(raw) > MAX_BYTES:
        raise ContentError(path, 0, f"is larger than {MAX_BYTES} bytes")
    try:
        rows = csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True)
        return _read(path, rows)
    except UnicodeDecodeError:
        raise ContentError(path, 0, "is not UTF-8 text: save it as CSV UTF-8") from None
    except csv.Error as error:
        raise ContentError(path, 0, f"is not CSV: {error}") from error


def _read(path: Path, rows: Iterable[list[str]]) -> Ledger:
    entries: dict[tuple[str, str], Entry] = {}
    head: list[str] | None = None
    for line, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        if head is None:
            head = [cell.lower() for cell in cells]
            if "address" not in head:
                raise ContentError(path, line, f"the first line must name the columns: {', '.join(COLUMNS)}")
            if unknown := [name for name in head if name not in COLUMNS]:
                raise ContentError(path, line, f"unknown column {unknown[0]!r}, expected: {', '.join(COLUMNS)}")
            continue
        if len(cells) > len(head):
            raise ContentError(path, line, f"has {len(cells)} cells, the head {len(head)}")
        entry = _entry(path, line, dict(zip(head, cells, strict=False)))
        if (entry.address, entry.segment) in entries:
            raise ContentError(path, line, f"{entry.address} stands twice")
        if len(entries) >= MAX_ENTRIES:
            raise ContentError(path, line, f"more than {MAX_ENTRIES} entries")
        entries[entry.address, entry.segment] = entry
    if head is None:
        raise ContentError(path, 0, "is empty")
    return Ledger(entries.values())


def _entry(path: Path, line: int, cells: dict[str, str]) -> Entry:
    importance, approved = cells.get("importance", "").lower(), cells.get("approved", "").lower()
    if importance not in WORDS:
        raise ContentError(path, line, f"importance {importance!r} must be low, normal, high or critical")
    if approved not in YES:
        raise ContentError(path, line, f"approved {approved!r} must be yes or no")
    return Entry(
        _address(path, line, cells.get("address", "")),
        _segment(cells.get("segment", "")),
        cells.get("name", ""),
        WORDS[importance],
        cells.get("owner", ""),
        YES[approved],
    )


def _address(path: Path, line: int, text: str) -> str:
    mac = text.lower().replace("-", ":")
    if MAC.fullmatch(mac):
        return mac
    try:
        return str(ip_network(text, strict=True)) if "/" in text else str(ip_address(text))
    except ValueError as error:
        raise ContentError(path, line, f"address {text!r}: {error}") from None


def _segment(text: str) -> str:
    """A segment as assets name it: a bare number is a VLAN."""
    found = _SEGMENT.fullmatch(text.lower())
    return f"vlan {int(found.group(1))}" if found else text.lower()


@dataclass(frozen=True, slots=True)
class Difference:
    """What the ledger says against what the wire shows. undeclared: seen, not in the ledger; unapproved: seen, in it,
    not approved; silent: in it and approved, not seen."""

    undeclared: tuple[Asset, ...]
    unapproved: tuple[Asset, ...]
    silent: tuple[Entry, ...]

    @property
    def any(self) -> bool:
        """Whether there is something to report."""
        return bool(self.undeclared or self.unapproved or self.silent)


def compare(ledger: Ledger, assets: Iterable[Asset]) -> Difference:
    """Compare. An asset may be declared under any of its addresses."""
    undeclared, unapproved, seen = [], [], set()
    for asset in assets:
        found = None
        for address in (asset.key.address, *asset.also, *asset.macs):
            entry = ledger.entry(address, asset.key.segment)
            if entry is not None:
                seen.add((entry.address, entry.segment))
                found = found or entry
        if found is None:
            undeclared.append(asset)
        elif not found.approved:
            unapproved.append(asset)
    silent = tuple(
        entry
        for entry in ledger.entries
        if entry.approved and not entry.network and (entry.address, entry.segment) not in seen
    )
    return Difference(tuple(undeclared), tuple(unapproved), silent)
