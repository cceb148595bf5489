"""Behaviours as a kind of documents: who asks is the source, who is asked the destination."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from console.store.models import Behaviour
from console.store.search.assets import at_sensor, of_sensors, sensors_of
from console.store.search.fields import SearchField
from console.store.search.states import PLACES, State, end_of, kind_of

COUNTS = (
    SearchField("behaviour.count", "long", "how often it was asked for", "请求的次数", kept="row"),
    SearchField("behaviour.answered", "long", "how often it was answered", "已应答的次数", kept="row"),
    SearchField("behaviour.refused", "long", "how often it was refused", "被拒绝的次数", kept="row"),
    SearchField("behaviour.unanswered", "long", "how often nobody answered", "未应答的次数", kept="row"),
    SearchField(
        "behaviour.variants", "long", "different ones: addresses, quantities", "不同地址与数量的种数", kept="row"
    ),
)
FIELDS = (
    SearchField("@timestamp", "date", "when it was first seen", "首次出现的时间", kept="row"),
    SearchField("behaviour.last_seen", "date", "when it was last seen", "最近出现的时间", kept="row"),
    SearchField("source.ip", "ip", "address of who asks, or a network: 10.0.0.0/8", "请求方地址，或网段：10.0.0.0/8"),
    SearchField("source.mac", "keyword", "hardware address of who asks", "请求方的硬件地址"),
    SearchField("destination.ip", "ip", "address of who is asked, or a network", "被请求方地址，或网段"),
    SearchField("destination.mac", "keyword", "hardware address of who is asked", "被请求方的硬件地址"),
    SearchField("destination.port", "long", "port of who is asked", "被请求方端口", kept="row"),
    SearchField("network.protocol", "keyword", "modbus, s7comm, dnp3, ...", "协议：modbus、s7comm、dnp3 等"),
    SearchField("event.action", "keyword", "read, write, stop, program-down, ...", "操作：read、write、stop 等"),
    SearchField("behaviour.operation", "keyword", "name of the function in its standard", "标准中的功能名称"),
    SearchField(
        "station", "long", "device behind the address: unit, outstation", "地址后的设备：单元、子站", kept="row"
    ),
    SearchField("behaviour.segment", "keyword", "network within the segment: vlan 7", "网段内的网络：vlan 7"),
    *COUNTS,
    *PLACES,
)
ALIASES = {
    "ip": ("source.ip", "destination.ip"), "mac": ("source.mac", "destination.mac"), "source": ("source.ip",),
    "destination": ("destination.ip",), "port": ("destination.port",), "protocol": ("network.protocol",),
    "action": ("event.action",), "operation": ("behaviour.operation",), "count": ("behaviour.count",),
    "first_seen": ("@timestamp",), "last_seen": ("behaviour.last_seen",),
}  # fmt: skip


def _values(row: Any) -> Mapping[str, Any]:
    return {
        **end_of("source", row.client), **end_of("destination", row.server), "@timestamp": row.first_seen,
        "behaviour.last_seen": row.last_seen, "destination.port": row.port, "network.protocol": row.protocol,
        "event.action": row.action, "behaviour.operation": row.operation, "station": row.station,
        "behaviour.segment": row.segment,
        **{field.name: getattr(row, field.name.rpartition(".")[2]) for field in COUNTS},
    }  # fmt: skip


BEHAVIOUR = State(
    "behaviour",
    Behaviour,
    lambda: of_sensors(Behaviour),
    FIELDS,
    ALIASES,
    {
        "@timestamp": Behaviour.first_seen, "behaviour.last_seen": Behaviour.last_seen,
        "destination.port": Behaviour.port, "station": Behaviour.station,
        **{field.name: getattr(Behaviour, field.name.rpartition(".")[2]) for field in COUNTS},
    },
    _values,
    lambda row: f"{row.sensor_id}/{row.key}",
    at_sensor,
    Behaviour.sensor_id,
    sensors_of,
    Behaviour.received_at,
    "behaviour.last_seen",
)  # fmt: skip
BEHAVIOURS = kind_of(BEHAVIOUR)
