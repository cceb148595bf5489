"""Assets as a kind of documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, contains_eager, joinedload

from console.store.models import Asset, Behaviour, Segment, Sensor
from console.store.search.fields import SearchField
from console.store.search.query.sql import Place
from console.store.search.states import PLACES, State, end_of, kind_of

MAX_FACT = 500
FIELDS = (
    SearchField("@timestamp", "date", "when it was first seen", "首次出现的时间", kept="row"),
    SearchField("asset.last_seen", "date", "when it was last seen", "最近出现的时间", kept="row"),
    SearchField("asset.address", "keyword", "its address, as it is listed", "列出的地址"),
    SearchField("host.ip", "ip", "its IP address, or a network: 10.0.0.0/8", "IP 地址，或网段：10.0.0.0/8"),
    SearchField("host.mac", "keyword", "its hardware addresses", "硬件地址", many=True),
    SearchField("host.name", "keyword", "its name, that of the station or the host", "名称：设备名、站名或主机名"),
    SearchField("device.manufacturer", "keyword", "its maker", "厂商"),
    SearchField("device.model.name", "keyword", "its model or order number", "型号或订货号"),
    SearchField("asset.firmware", "keyword", "its firmware or software", "固件或软件版本"),
    SearchField("asset.role", "keyword", "controller, master, engineering, reader, gateway, network, router, publisher",
                "角色：controller 控制器、master 主站、engineering 工程师站等", many=True),
    SearchField("asset.fact", "keyword", "what it says of itself, as attribute=value", "自我标识：属性=值", many=True),
    SearchField("asset.segment", "keyword", "network within the segment: vlan 7", "网段内的网络：vlan 7"),
    SearchField("network.protocol", "keyword", "protocols that it speaks", "使用的协议", many=True),
    *PLACES,
)  # fmt: skip
ALIASES = {
    "ip": ("host.ip",), "mac": ("host.mac",), "address": ("asset.address",), "name": ("host.name",),
    "vendor": ("device.manufacturer",), "model": ("device.model.name",), "firmware": ("asset.firmware",),
    "role": ("asset.role",), "fact": ("asset.fact",), "protocol": ("network.protocol",), "first_seen": ("@timestamp",),
    "last_seen": ("asset.last_seen",),
}  # fmt: skip


def of_sensors(model: type[Asset | Behaviour]) -> Select[Any]:
    """Rows with their sensors and these with their places."""
    places = contains_eager(model.sensor).contains_eager(Sensor.segment).contains_eager(Segment.site)
    return select(model).join(model.sensor).join(Sensor.segment).join(Segment.site).options(places)


def at_sensor(row: Any) -> Place:
    """Where a row's sensor stands."""
    return Place(row.sensor_id, row.sensor.name, row.sensor.segment.site.name, row.sensor.segment.name)


def sensors_of(session: Session, organisation_id: int) -> tuple[Place, ...]:
    """All sensors of an organisation with where they stand."""
    query = select(Sensor).where(Sensor.organisation_id == organisation_id)
    found = session.scalars(query.options(joinedload(Sensor.segment).joinedload(Segment.site)))
    return tuple(Place(it.id, it.name, it.segment.site.name, it.segment.name) for it in found)


def _values(row: Any) -> Mapping[str, Any]:
    end = end_of("host", row.address)
    return {
        "@timestamp": row.first_seen, "asset.last_seen": row.last_seen, "asset.address": row.address,
        "host.ip": end.get("host.ip"), "host.mac": row.macs or list(filter(None, [end.get("host.mac")])),
        "host.name": row.name, "device.manufacturer": row.vendor, "device.model.name": row.model,
        "asset.firmware": row.firmware, "asset.role": row.roles,
        "asset.fact": [f"{it.get('attribute')}={it.get('value')}"[:MAX_FACT] for it in row.facts],
        "asset.segment": row.segment, "network.protocol": row.protocols,
    }  # fmt: skip


ASSET = State(
    "asset",
    Asset,
    lambda: of_sensors(Asset),
    FIELDS,
    ALIASES,
    {"@timestamp": Asset.first_seen, "asset.last_seen": Asset.last_seen},
    _values,
    lambda row: f"{row.sensor_id}/{row.segment}/{row.address}",
    at_sensor,
    Asset.sensor_id,
    sensors_of,
    Asset.received_at,
    "asset.last_seen",
)
ASSETS = kind_of(ASSET)
