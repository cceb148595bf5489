"""What an S7 CPU reports: diagnostic messages, alarms and subscriptions to them (user data group 4), and its clock."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sensor.protocols import s7comm_tables as t
from sensor.protocols.s7comm_errors import EVENT_CLASSES
from sensor.protocols.s7comm_items import DataItem, Octets, data_items, printable, return_name, value_text
from sensor.protocols.s7comm_szl import event_name


def clock(octets: bytes) -> str | None:
    """A DATE_AND_TIME of eight BCD octets (year to millisecond, then the weekday) as "2016-12-15T17:26:09.123".

    Years below 90 are of this century (STEP 7 counts from 1990 to 2089). None where it is no time. The time of a CPU
    has no zone.
    """
    if len(octets) != 8 or any(o >> 4 > 9 for o in octets) or any(o & 15 > 9 for o in octets[:7]):
        return None
    year, month, day, hour, minute, second, hundredths = (10 * (o >> 4) + (o & 15) for o in octets[:7])
    milliseconds = 10 * hundredths + (octets[7] >> 4)
    try:
        moment = datetime(year + (2000 if year < 90 else 1900), month, day, hour, minute, second, milliseconds * 1000)  # noqa: DTZ001
    except ValueError:
        return None
    return moment.isoformat(timespec="milliseconds")


def describe_diagnostic(octets: Octets, out: dict[str, Any]) -> None:
    """Twenty octets: event, priority class, OB, data id, two pieces of information, time."""
    event = octets.number(2)
    out["s7comm.diagnostic.event_id"] = event
    out["s7comm.diagnostic.event_name"] = event_name(event)
    out["s7comm.diagnostic.event_class"] = EVENT_CLASSES.get(event >> 12, "unknown")
    out["s7comm.diagnostic.entering"] = bool(event & 0x0100)
    out["s7comm.diagnostic.priority_class"] = octets.number()
    out["s7comm.diagnostic.ob"] = octets.number()
    out["s7comm.diagnostic.data_id"] = octets.number(2)
    out["s7comm.diagnostic.information"] = octets.take(6).hex()
    _time(octets, "s7comm.time", out)


def _time(octets: Octets, key: str, out: dict[str, Any]) -> None:
    if moment := clock(octets.take(8)):
        out[key] = moment


def describe_message_service(octets: Octets, kind: int, out: dict[str, Any]) -> None:
    """A subscription to messages: which events, under which name, which alarms; or its answer."""
    if kind == t.ASK:
        events = octets.number()
        out["s7comm.subscription.events"] = [name for bit, name in t.MESSAGE_EVENTS.items() if events & bit]
        octets.take(1)
        out["s7comm.subscription.name"] = printable(octets.take(8))
    else:
        out["s7comm.subscription.result"] = octets.number()
        octets.take(1)
    if octets.left >= 2:
        alarms = octets.number()
        out["s7comm.subscription.alarms_code"] = alarms
        out["s7comm.subscription.alarms"] = t.ALARM_SUBSCRIPTIONS.get(alarms, "unknown")
        count = octets.number()
        if kind == t.ASK and alarms in (6, 7):  # AR_SEND names what it subscribes to: 0x12, 8, syntax, 0, AR_ID
            ids = []
            for _ in range(count):
                if octets.left < 8:
                    octets.short = True
                    break
                octets.take(4)
                ids.append(f"0x{octets.number(4):08X}")
            out["s7comm.alarm.ids"] = ids


def describe_alarm(octets: Octets, code: int, kind: int, out: dict[str, Any]) -> None:
    """Alarm messages, acknowledgements, locks and queries: [time,] function, count, then an object each.

    An object is a variable specification with an event number, then what its syntax carries: signals, states of
    acknowledgement, associated values. Answers hold a return code for each object in its place.
    """
    if code == t.SCAN_INDICATION:
        octets.take(2)
        _time(octets, "s7comm.time", out)
        octets.take(2)
    elif code in (0x05, 0x06, 0x0C, 0x11, 0x12, 0x16):
        _time(octets, "s7comm.time", out)
    octets.take(1)
    count = octets.number()
    out["s7comm.item_count"] = count
    if kind == t.ANSWER:
        codes = list(octets.take(count))
        out["s7comm.return_codes"] = codes
        out["s7comm.return_names"] = [return_name(c) for c in codes]
        return
    objects: dict[str, list[Any]] = {"ids": [], "signals": [], "going": [], "coming": [], "values": []}
    for _ in range(count):
        if octets.left < 8:
            octets.short = True
            break
        _alarm_object(octets, objects, out)
    names = {"signals": "signals", "going": "acknowledged_going", "coming": "acknowledged_coming", "values": "values"}
    if objects["ids"]:
        out["s7comm.alarm.ids"] = objects["ids"]
    for key, name in names.items():
        if objects[key]:
            out[f"s7comm.alarm.{name}"] = objects[key]


def _alarm_object(octets: Octets, objects: dict[str, list[Any]], out: dict[str, Any]) -> None:
    octets.take(1)
    length = octets.number()
    syntax = octets.number()
    if syntax == t.ALARM_QUERY_SET:
        octets.take(1)
        query = octets.number()
        out["s7comm.alarm.query_code"] = query
        out["s7comm.alarm.query"] = t.ALARM_QUERY_TYPES.get(query, "unknown")
        octets.take(1)
        number = octets.number(4)
        if query == 1:
            out["s7comm.alarm.type"] = t.ALARM_TYPES.get(number, "unknown")
        elif query == 3:
            objects["ids"].append(f"0x{number:08X}")
        return
    if syntax not in (t.ALARM_LOCK, t.ALARM_INDICATION, t.ALARM_ACK, t.NOTIFY_INDICATION):
        octets.take(length - 1 if length else 0)
        return
    values = octets.number()
    objects["ids"].append(f"0x{octets.number(4):08X}")
    reports = syntax in (t.ALARM_INDICATION, t.NOTIFY_INDICATION)
    if reports:
        objects["signals"].append(_bits(octets.number()))
        octets.take(1)
    if syntax != t.ALARM_LOCK:
        objects["going"].append(_bits(octets.number()))
        objects["coming"].append(_bits(octets.number()))
    if syntax == t.NOTIFY_INDICATION:
        octets.take(4)  # events going, coming, last changed; reserved
    if reports and values:
        objects["values"] += _values(data_items(octets, values, answers=False))


def _bits(octet: int) -> str:
    """The signals that are set, as "1,3"; signal 1 is the lowest bit."""
    return ",".join(str(i + 1) for i in range(8) if octet >> i & 1)


def _values(items: list[DataItem]) -> list[str]:
    return [value_text(item, None) for item in items]


def describe_alarm_query_answer(octets: Octets, out: dict[str, Any]) -> None:
    """The alarms that are pending: return code, size, length (0xFFFF: until a zero), then a data set each."""
    octets.take(2)
    code = octets.number()
    out["s7comm.return_codes"] = [code]
    out["s7comm.return_names"] = [return_name(code)]
    octets.take(3)
    ids, types = [], set()
    while code == t.ITEM_OK and octets.left >= 12:
        length = octets.number()
        if length == 0:
            break
        data_set = Octets(octets.take(1 + length))
        data_set.take(2)
        types.add(t.ALARM_TYPES.get(data_set.number(), "unknown"))
        ids.append(f"0x{data_set.number(4):08X}")
    if ids:
        out["s7comm.alarm.ids"] = ids
        out["s7comm.alarm.type"] = ",".join(sorted(types))
