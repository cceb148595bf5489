"""Programs and files that go into controllers: what engineers do, and what intruders do in their manner."""

from __future__ import annotations

from pcaps.dialogue import Lab
from pcaps.messages import modbus
from pcaps.messages import s7comm as s7
from pcaps.plant import ENGINEERING, HMI, PRESS_PLC, PUMP_PLC, ROGUE, VALVE_PLC
from pcaps.scenarios.modbus import Talk as ModbusTalk
from pcaps.scenarios.s7comm import PROGRAMMER, RUN, STOP
from pcaps.scenarios.s7comm import Talk as S7Talk

FTP, HTTP, TFTP = 21, 80, 69
DATA_PORT = 4021


def s7_block(kind: int, number: int, code: bytes) -> bytes:
    """A block with header and footer, as a programming device writes it."""
    length = 36 + len(code) + 36
    head = b"pp\x01\x01\x01" + bytes([kind]) + number.to_bytes(2, "big") + length.to_bytes(4, "big") + bytes(4)
    times = b"\x02\x91\x47\x60\x2b\xb5" + b"\x02\x91\x47\x60\x2b\xb5"
    return (
        head + times + bytes(6) + len(code).to_bytes(2, "big") + code + b"LI      PRESS   MAIN    \x12\x00" + bytes(10)
    )


def _parts(data: bytes, size: int = 200) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def program_replaced(lab: Lab) -> None:
    """OB 1 is read out, and comes back with a call of SFC 46 (STOP) at its beginning: stop, download, insert, start."""
    rogue = S7Talk(lab, ROGUE, PRESS_PLC, PROGRAMMER)
    code = lab.random.randbytes(400)
    rogue.upload(b"_0800001A", _parts(s7_block(8, 1, code)))
    lab.wait(40)
    rogue.job(s7.PLC_STOP, b"\x29")
    rogue.link.server(s7.mode_transition(STOP))
    lab.wait(1)
    rogue.download(b"_0800001P", _parts(s7_block(8, 1, b"\xfb\x74\x00\x2e" + code)))
    rogue.job(s7.pi_blocks(b"_INSE", b"0800001P"), b"\x28")
    lab.wait(1)
    rogue.job(s7.WARM_START, b"\x28")
    rogue.link.server(s7.mode_transition(RUN))
    rogue.link.close()


def umas_program_download(lab: Lab) -> None:
    """An engineer reserves a Schneider controller, stops it, writes the program block by block, starts it, lets go."""
    engineer = ModbusTalk(lab, ENGINEERING, VALVE_PLC, unit=0)
    session = 0x27
    granted = modbus.umas(session, 0xFE)

    def ask(code: int, data: bytes = b"", answer: bytes | None = None) -> None:
        engineer.ask(modbus.umas(session, code, data), answer or granted)
        lab.wait(0.1)

    ask(0x10, b"\x01\x00\x00\x00\x09ENG-DESK1", modbus.umas(0, 0xFE, bytes([session])))
    ask(0x41, b"\xff\x00")
    ask(0x30, b"\x00\x01")
    program = b"APX\x00" + lab.random.randbytes(900)
    for number, part in enumerate(_parts(program, 240), 1):
        ask(0x31, b"\x00\x01" + number.to_bytes(2, "little") + len(part).to_bytes(2, "little") + part)
    ask(0x32, b"\x00\x01")
    ask(0x40, b"\xff\x00")
    ask(0x11)
    engineer.link.close()


def tool_to_a_gateway(lab: Lab) -> None:
    """A laptop puts a Linux program on a gateway by FTP and an image by TFTP; an operator looks at its web page."""
    page = b"<html><body><h1>Gateway</h1>" + b"<p>Line 1: online</p>" * 20 + b"</body></html>"
    web = lab.tcp(HMI, PUMP_PLC, HTTP)
    web.client(b"GET /index.html HTTP/1.1\r\nHost: gateway\r\n\r\n")
    web.server(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page) + page)
    web.close()
    control = lab.tcp(ROGUE, PUMP_PLC, FTP)
    for asked, answered in (
        (b"USER loader\r\n", b"331 Password required\r\n"),
        (b"PASS 12345678\r\n", b"230 Logged in\r\n"),
        (b"PASV\r\n", b"227 Entering Passive Mode (10,20,2,11,%d,%d)\r\n" % divmod(DATA_PORT, 256)),
        (b"STOR /tmp/.update\r\n", b"150 Opening data connection\r\n"),
    ):
        control.exchange(asked, answered)
    carrier = lab.tcp(ROGUE, PUMP_PLC, DATA_PORT)
    carrier.client(b"\x7fELF\x01\x02\x01" + bytes(9) + lab.random.randbytes(2500))
    carrier.close()
    control.server(b"226 Transfer complete\r\n")
    control.close()
    lab.udp(ROGUE, PUMP_PLC, b"\x00\x02firmware.img\x00octet\x00", ports=(50111, TFTP))
    lab.udp(PUMP_PLC, ROGUE, b"\x00\x04\x00\x00", ports=(50222, 50111))
    image = b"\x27\x05\x19\x56" + lab.random.randbytes(1100)
    for number, part in enumerate(_parts(image, 512), 1):
        lab.udp(ROGUE, PUMP_PLC, b"\x00\x03" + number.to_bytes(2, "big") + part, ports=(50111, 50222))
        lab.udp(PUMP_PLC, ROGUE, b"\x00\x04" + number.to_bytes(2, "big"), ports=(50222, 50111))
