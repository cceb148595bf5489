"""python-snap7, client and server (both pure Python)."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable
from datetime import datetime

from snap7.client import Client
from snap7.server import Server
from snap7.type import Area, Block, SrvArea

from pcaps.dialogue import Frame
from pcaps.messages import s7comm
from pcaps.plant import ENGINEERING, HMI, PRESS_PLC, Host
from pcaps.recordings.relay import LOOPBACK, Relay, to_frames


def _free_port() -> int:
    """A port that nobody listens on; the server cannot choose one by itself."""
    with socket.create_server((LOOPBACK, 0)) as probe:
        return int(probe.getsockname()[1])


def _record(name: str, host: Host, session: Callable[[Client], None]) -> list[Frame]:
    """Play `session` against a server with a few data blocks, and give the frames."""
    logging.disable(logging.CRITICAL)  # the stack logs what its own other end does not know
    server = Server(log=False)
    for number in (1, 10, 11):
        server.register_area(SrvArea.DB, number, bytearray(range(256)))
    server.register_area(SrvArea.MK, 0, bytearray(64))
    server.register_area(SrvArea.PE, 0, bytearray(b"\x5a" * 64))
    port = _free_port()
    server.start_to(LOOPBACK, port)
    try:
        with Relay(port) as relay:
            client = Client()
            client.connect(LOOPBACK, 0, 2, relay.port)
            try:
                session(client)
            finally:
                client.disconnect()
                time.sleep(0.3)
    finally:
        server.stop()
        logging.disable(logging.NOTSET)
    return to_frames(name, relay.passed, host, PRESS_PLC, s7comm.PORT)


def _data_block() -> bytearray:
    """A data block as the controller stores it: 36 octets of header with the length of the body at 34, the body."""
    body = bytes(range(60))
    header = b"pp\x01\x01\x05\x0a" + bytes(28) + len(body).to_bytes(2, "big")
    return bytearray(header + body)


def _read_and_write(client: Client) -> None:
    """Reading by area, several items at once, values written and read back, identification, clock."""
    for round_ in range(15):
        client.db_read(10, 0, 24)
        client.mb_read(0, 8)
        client.read_area(Area.PE, 0, 0, 4)
        if round_ % 5 == 2:
            client.db_write(10, 40, bytearray([round_, 0, 1, 2]))
        time.sleep(0.1)
    client.db_write(11, 0, bytearray(b"\x00\x01\x02\x03"))
    client.mb_write(4, 2, bytearray(b"\xa5\x5a"))
    client.get_cpu_info()
    client.get_cpu_state()
    client.get_order_code()
    client.list_blocks()
    client.get_plc_datetime()


def _program(client: Client) -> None:
    """Engineering work: list, upload, stop, download, delete, start, set the clock. What is refused stays refused."""
    client.list_blocks_of_type(Block.DB, 16)
    steps: tuple[Callable[[], object], ...] = (
        lambda: client.upload(10),
        client.plc_stop,
        lambda: client.download(_data_block(), 1),
        lambda: client.delete(Block.DB, 11),
        lambda: client.compress(1000),
        lambda: client.copy_ram_to_rom(1000),
        client.plc_hot_start,
        client.plc_cold_start,
        lambda: client.set_plc_datetime(datetime(2026, 3, 2, 8, 0, 0)),  # noqa: DTZ001 - a PLC's clock has no zone
    )
    for step in steps:
        with contextlib.suppress(Exception):  # the stack refuses some; the refusal is on the wire
            step()
        time.sleep(0.2)


def reads_and_writes() -> list[Frame]:
    """An operators' station reads and writes."""
    return _record("snap7 reads and writes", HMI, _read_and_write)


def program() -> list[Frame]:
    """The engineering station changes the program."""
    return _record("snap7 program", ENGINEERING, _program)
