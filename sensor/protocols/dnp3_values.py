"""Contents of DNP3 objects in readable form: flags, times, control codes, files, attributes (IEEE 1815-2012, Annex A).

Everything here takes octets from the wire and never raises; strings come out with everything that is not printable
escaped. Codes that the standard leaves open are shown as numbers.
"""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime
from typing import Any

from sensor.protocols.dnp3_objects import ATTRIBUTE_NAMES, FLAG_KINDS, KIND_BITS, Field
from sensor.text import wire_text

MAX_OCTETS_SHOWN = 64  # of strings of octets; enough to recognise a header, keys and files are not for reading
MAX_TEXT_SHOWN = 1024  # octets; the longest file names are shorter
MAX_TIME_MS = 253_402_300_799_999  # the end of the year 9999

_COMMON_FLAGS = ("online", "restart", "comm_lost", "remote_forced", "local_forced")
FLAG_NAMES: dict[str, tuple[str, ...]] = {  # bit 0 first; "" is no flag but a state, or reserved
    "bi": (*_COMMON_FLAGS, "chatter_filter", "", ""),
    "dbi": (*_COMMON_FLAGS, "chatter_filter", "", ""),
    "bo": (*_COMMON_FLAGS, "", "", ""),
    "ctr": (*_COMMON_FLAGS, "rollover", "discontinuity", ""),
    "ai": (*_COMMON_FLAGS, "over_range", "reference_err", ""),
    "sec": (*_COMMON_FLAGS, "", "discontinuity", ""),
}
DOUBLE_BIT = ("intermediate", "off", "on", "indeterminate")

CONTROL_STATUS: dict[int, str] = {
    0: "success", 1: "timeout", 2: "no_select", 3: "format_error", 4: "not_supported", 5: "already_active",
    6: "hardware_error", 7: "local", 8: "too_many_objs", 9: "not_authorized", 10: "automation_inhibit",
    11: "processing_limited", 12: "out_of_range", 13: "downstream_local", 14: "already_complete", 15: "blocked",
    16: "cancelled", 17: "blocked_other_master", 18: "downstream_fail", 126: "non_participating", 127: "undefined",
}  # fmt: skip
INDICATIONS = (  # 4.2, by index: IIN1.0 to IIN1.7, IIN2.0 to IIN2.7
    "broadcast", "class_1_events", "class_2_events", "class_3_events", "need_time", "local_control", "device_trouble",
    "device_restart", "no_func_code_support", "object_unknown", "parameter_error", "event_buffer_overflow",
    "already_executing", "config_corrupt", "reserved_2", "reserved_1",
)  # fmt: skip
OPERATION_TYPES: dict[int, str] = {0: "nul", 1: "pulse_on", 2: "pulse_off", 3: "latch_on", 4: "latch_off"}
TRIP_CLOSE: dict[int, str] = {1: "close", 2: "trip", 3: "reserved trip-close code"}
FILE_MODES: dict[int, str] = {0: "null", 1: "read", 2: "write", 3: "append"}
FILE_TYPES: dict[int, str] = {0: "directory", 1: "simple file"}
FILE_STATUS: dict[int, str] = {
    0: "success", 1: "permission_denied", 2: "invalid_mode", 3: "file_not_found", 4: "file_locked",
    5: "too_many_open", 6: "invalid_handle", 7: "write_block_size", 8: "comm_lost", 9: "cannot_abort",
    16: "not_opened", 17: "handle_expired", 18: "buffer_overrun", 19: "fatal", 20: "block_seq", 255: "undefined",
}  # fmt: skip
MAC_ALGORITHMS: dict[int, str] = {
    1: "HMAC-SHA-1, 4 octets", 2: "HMAC-SHA-1, 10 octets", 3: "HMAC-SHA-256, 8 octets", 4: "HMAC-SHA-256, 16 octets",
    5: "HMAC-SHA-1, 8 octets", 6: "AES-GMAC, 12 octets",
}  # fmt: skip
KEY_STATUS: dict[int, str] = {1: "ok", 2: "not_init", 3: "comm_fail", 4: "auth_fail"}
AUTHENTICATION_ERRORS: dict[int, str] = {
    1: "authentication_failed", 2: "unexpected_response", 3: "no_response", 4: "aggressive_mode_not_supported",
    5: "mac_algorithm_not_supported", 6: "key_wrap_algorithm_not_supported", 7: "authorization_failed",
    8: "update_key_change_method_not_permitted", 9: "invalid_signature", 10: "invalid_certification_data",
    11: "unknown_user", 12: "max_session_key_status_requests_exceeded",
}  # fmt: skip
_NAMED: dict[str, dict[int, str]] = {
    "mode": FILE_MODES, "file_type": FILE_TYPES, "file_status": FILE_STATUS, "mac": MAC_ALGORITHMS,
    "key_status": KEY_STATUS, "auth_error": AUTHENTICATION_ERRORS,
}  # fmt: skip

ATTRIBUTE_LISTS = (254, 255)  # data types of a list of variations


def text(octets: bytes) -> str:
    """Octets as text that is safe to look at, cut where it is longer than any honest name."""
    shown = wire_text(octets[:MAX_TEXT_SHOWN])
    return shown + "…" if len(octets) > MAX_TEXT_SHOWN else shown


def octets_shown(octets: bytes) -> str:
    """Octets as hexadecimal digits, with their number where not all are shown."""
    if len(octets) <= MAX_OCTETS_SHOWN:
        return octets.hex()
    return f"{octets[:MAX_OCTETS_SHOWN].hex()}… ({len(octets)} octets)"


def time_shown(ms: int) -> str:
    """DNP3 time (ms since 1970 UTC) as RFC 3339; as a number beyond the year 9999, where that ends."""
    if not 0 <= ms <= MAX_TIME_MS:
        return f"{ms} ms since 1970"
    return f"{datetime.fromtimestamp(ms // 1000, tz=UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def permissions_shown(bits: int) -> str:
    """File permissions, owner, group and world, in the manner of `ls`."""
    return "".join(letter if bits >> (8 - i) & 1 else "-" for i, letter in enumerate("rwxrwxrwx"))


def operation(code: int) -> str:
    """What a control code (g12) makes the point do: close, trip, latch on, ..."""
    trip_close = code >> 6
    if trip_close:
        return TRIP_CLOSE[trip_close]
    kind = OPERATION_TYPES.get(code & 15, f"operation type {code & 15}")
    return "no operation" if kind == "nul" else kind.replace("_", " ")


def control_code(code: int) -> str:
    """All parts of a control code: operation type, trip-close code, queue and clear bits."""
    parts = [OPERATION_TYPES.get(code & 15, f"operation type {code & 15}")]
    parts += [TRIP_CLOSE[code >> 6]] if code >> 6 else []
    parts += ["queue"] if code & 0x10 else []
    parts += ["clear"] if code & 0x20 else []
    return " ".join(parts)


def indications(iin: int) -> list[str]:
    """Names of the internal indications that are set in IIN1 << 8 | IIN2."""
    by_index = iin >> 8 | (iin & 0xFF) << 8
    return [name for bit, name in enumerate(INDICATIONS) if by_index >> bit & 1]


def flags_shown(kind: str, octet: int) -> list[str]:
    """Names of the flags that are set."""
    return [name for bit, name in enumerate(FLAG_NAMES[kind]) if name and octet >> bit & 1]


def _number(kind: str, raw: bytes) -> int | float:
    """A little-endian number of a fixed kind; kinds beginning with i are signed, with f floating."""
    if kind in ("f32", "f64"):
        return float(struct.unpack("<f" if kind == "f32" else "<d", raw)[0])
    return int.from_bytes(raw, "little", signed=kind in ("i16", "i32"))


def contents(fields: tuple[Field, ...], raw: bytes) -> tuple[dict[str, Any], bool]:
    """Fields of one object in the order of the wire, and whether all of them were there.

    Numbers stay numbers (times in ms); `text` becomes str, `data` bytes, flags a list of names beside `value`, the
    state that the same octet carries.
    """
    values: dict[str, Any] = {}
    at = 0
    for field in fields:
        if field.kind in ("text", "data"):
            size = values[field.counted_by] if field.counted_by else len(raw) - at
            chunk = raw[at : at + size]
            values[field.name] = text(chunk) if field.kind == "text" else chunk
        else:
            size = KIND_BITS[field.kind] // 8
            chunk = raw[at : at + size]
            if len(chunk) == size:
                _fixed(field, chunk, values)
        at += size
        if len(chunk) < size:
            return values, False
    return values, True


def _fixed(field: Field, raw: bytes, values: dict[str, Any]) -> None:
    number = _number(field.kind, raw)
    octet = raw[0]
    if field.kind in FLAG_KINDS:
        values["flags"] = flags_shown(field.kind, octet)
        if field.kind == "dbi":
            values["value"] = DOUBLE_BIT[octet >> 6]
        elif field.kind in ("bi", "bo"):
            values["value"] = octet >> 7
    elif field.kind in ("ctl", "cmd"):
        values["status"] = CONTROL_STATUS.get(octet & 0x7F, f"status {octet & 0x7F}")
        if field.kind == "cmd":
            values["value"] = octet >> 7
    elif field.kind == "block":
        values["block"], values["last_block"] = int(number) & 0x7FFFFFFF, bool(raw[3] >> 7)
    elif field.kind == "text4":
        values[field.name] = text(raw)
    elif field.kind == "permissions":
        values[field.name] = permissions_shown(int(number))
    elif field.kind.startswith("bcd"):
        values[field.name] = raw[::-1].hex()
    elif field.kind in _NAMED:
        values[field.name] = _NAMED[field.kind].get(int(number), f"code {number}")
    else:
        values[field.name] = number


def sentence(values: dict[str, Any], common_time_ms: int | None = None) -> str:
    """The fields of one object as one phrase: the value first, then times, then the rest by name, flags in brackets.

    common_time_ms: the last common time of occurrence (g51) before it, which relative times add to.
    """
    parts: list[str] = []
    if "code" in values:
        parts += [operation(values["code"]), f"code {control_code(values['code'])}"]
    if "value" in values:
        value = values["value"]
        parts.append(octets_shown(value) if isinstance(value, bytes) else str(value))
    if "time" in values:
        parts.append("at " + time_shown(values["time"]))
    if "offset" in values:
        offset = values["offset"]
        known = common_time_ms is not None
        parts.append("at " + time_shown(common_time_ms + offset) if known else f"{offset} ms after the common time")
    for name, value in values.items():
        if name in ("code", "value", "time", "offset", "flags", "status") or value == "":
            continue
        if name.endswith("_ms"):
            parts.append(f"{name[:-3]} {value} ms")
        elif name == "password":  # events travel further than the wire that it crossed
            parts.append(f"password of {len(value)} octets, not shown")
        elif name == "created":
            parts.append(f"created {time_shown(value)}")
        else:
            parts.append(f"{name} {octets_shown(value) if isinstance(value, bytes) else value}")
    if "status" in values:
        parts.append(str(values["status"]))
    phrase = ", ".join(parts)
    return f"{phrase} [{' '.join(values['flags'])}]" if "flags" in values else phrase


def attribute(variation: int, attribute_set: int, raw: bytes) -> str:
    """One device attribute (g0): its name and its value, which says its own data type and length."""
    name = ATTRIBUTE_NAMES.get(variation, f"attribute {variation}") if attribute_set == 0 else ""
    name = name or f"attribute {variation} of set {attribute_set}"
    if len(raw) < 2:  # cut by a size prefix, which attributes should not have
        return f"{name}: {octets_shown(raw)}"
    kind, value = raw[0], raw[2:]
    if kind in (1, 8):
        return f"{name}: {text(value)}"
    if kind in (2, 3):
        return f"{name}: {int.from_bytes(value, 'little', signed=kind == 3)}"
    if kind == 4 and len(value) in (4, 8):
        return f"{name}: {_number('f32' if len(value) == 4 else 'f64', value)}"
    if kind == 7:
        return f"{name}: {time_shown(int.from_bytes(value, 'little'))}"
    if kind in ATTRIBUTE_LISTS:
        pairs = zip(value[::2], value[1::2], strict=False)
        return f"{name}: " + " ".join(f"{number}{' (writable)' if flags & 1 else ''}" for number, flags in pairs)
    return f"{name}: {octets_shown(value)}"


def finite(value: Any) -> float | None:
    """A number that JSON can carry, otherwise None."""
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
