"""Rebuilds the scenario captures: `python -m pcaps.build [NAME ...]`. Recorded ones are made by `pcaps.recordings`."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from pathlib import Path

from pcaps.dialogue import Lab
from pcaps.files import pcap, pcapng
from pcaps.scenarios import dnp3, engineering, goose, iec104, modbus, network, s7comm, transport

HERE = Path(__file__).resolve().parent

SCENARIOS: dict[str, Callable[[Lab], None]] = {
    "modbus/benign_polling.pcap": modbus.benign_polling,
    "modbus/function_scan.pcap": modbus.function_scan,
    "modbus/point_scan.pcap": modbus.point_scan,
    "modbus/force_listen_only.pcap": modbus.force_listen_only,
    "modbus/rogue_writer.pcap": modbus.rogue_writer,
    "modbus/heating_registers_overwritten.pcap": modbus.heating_registers_overwritten,
    "modbus/umas_stop.pcap": modbus.umas_stop,
    "modbus/unanswered_commands.pcap": modbus.unanswered_commands,
    "modbus/gateway_with_absent_unit.pcap": modbus.gateway_with_absent_unit,
    "modbus/broadcast_write.pcap": modbus.broadcast_write,
    "s7comm/benign_polling.pcap": s7comm.benign_polling,
    "s7comm/stop.pcap": s7comm.stop,
    "s7comm/block_download.pcap": s7comm.block_download,
    "s7comm/blocks_deleted_and_cold_start.pcap": s7comm.blocks_deleted_and_cold_start,
    "s7comm/program_stolen.pcap": s7comm.program_stolen,
    "s7comm/memory_reset.pcap": s7comm.memory_reset,
    "s7comm/password_guessing.pcap": s7comm.password_guessing,
    "s7comm/program_replaced.pcap": engineering.program_replaced,
    "modbus/umas_program_download.pcap": engineering.umas_program_download,
    "mixed/tool_to_a_gateway.pcap": engineering.tool_to_a_gateway,
    "dnp3/benign_polling.pcap": dnp3.benign_polling,
    "dnp3/operator_switching.pcap": dnp3.operator_switching,
    "dnp3/cold_restart.pcap": dnp3.cold_restart,
    "dnp3/disable_unsolicited_broadcast.pcap": dnp3.disable_unsolicited_broadcast,
    "dnp3/rogue_master_operates.pcap": dnp3.rogue_master_operates,
    "dnp3/file_deleted.pcap": dnp3.file_deleted,
    "dnp3/over_udp.pcap": dnp3.over_udp,
    "dnp3/write_flood.pcap": dnp3.write_flood,
    "dnp3/requests_replayed.pcap": dnp3.requests_replayed,
    "dnp3/standby_master.pcap": dnp3.standby_master,
    "dnp3/master_starts_twice.pcap": dnp3.master_starts_twice,
    "dnp3/standby_takes_over.pcap": dnp3.standby_takes_over,
    "s7comm/controllers_exchange_data.pcap": s7comm.controllers_exchange_data,
    "s7comm/worm_in_controller.pcap": s7comm.worm_in_controller,
    "s7comm/stuxnet.pcap": s7comm.stuxnet,
    "s7comm/slots_tried.pcap": s7comm.slots_tried,
    "s7comm/stations_with_identities.pcap": s7comm.stations_with_identities,
    "iec104/industroyer.pcap": iec104.industroyer,
    "iec104/operator_switching.pcap": iec104.operator_switching,
    "iec104/messages_put_in.pcap": iec104.messages_put_in,
    "goose/state_changes.pcap": goose.state_changes,
    "goose/forged_trip.pcap": goose.forged_trip,
    "goose/replayed_trip.pcap": goose.replayed_trip,
    "goose/values_changed.pcap": goose.values_changed,
    "modbus/unit_sweep.pcap": network.unit_sweep,
    "modbus/meters_flooded.pcap": modbus.meters_flooded,
    "modbus/commands_replayed.pcap": modbus.commands_replayed,
    "mixed/slow_sweep.pcap": network.slow_sweep,
    "mixed/devices_not_there_yet.pcap": network.devices_not_there_yet,
    "mixed/arp_man_in_the_middle.pcap": network.arp_man_in_the_middle,
    "mixed/controller_replaced.pcap": network.controller_replaced,
    "mixed/pcom_from_the_internet.pcap": network.pcom_from_the_internet,
    "mixed/safety_controllers_searched.pcap": network.safety_controllers_searched,
    "mixed/segmentation.pcap": transport.segmentation,
    "mixed/segment_lost.pcap": transport.segment_lost,
    "mixed/one_direction.pcap": transport.one_direction,
    "mixed/vlan_and_ipv6.pcap": transport.vlan_and_ipv6,
    "mixed/midstream.pcap": transport.midstream,
    "mixed/garbage_on_industrial_ports.pcap": transport.garbage_on_industrial_ports,
    "mixed/three_protocols.pcapng": transport.three_protocols,
    "mixed/three_protocols_gzip.pcap.gz": transport.three_protocols,
}


def build(name: str) -> bytes:
    """The bytes of one capture. Both forms of one scenario hold the same frames: the seed is the scenario's name."""
    scenario = SCENARIOS[name]
    lab = Lab(f"{scenario.__module__}.{scenario.__name__}")
    scenario(lab)
    frames = lab.frames()
    if name.endswith(".pcapng"):
        return pcapng(frames)
    if name.endswith(".gz"):
        return gzip.compress(pcap(frames, big_endian=True, nanoseconds=True), mtime=0)
    return pcap(frames)


def main(names: list[str]) -> int:
    """Write the captures named, or all of them."""
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        print(f"no such scenario: {', '.join(unknown)}", file=sys.stderr)
        return 2
    for name in names or SCENARIOS:
        target = HERE / name
        target.write_bytes(build(name))
        print(f"{name}: {target.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
