"""S7comm: cyclic reading, engineering work, and what it looks like when somebody else does it."""

from __future__ import annotations

import struct

from scapy.layers.inet import TCP

from pcaps.dialogue import Lab, TcpDialogue
from pcaps.messages import s7comm as s7
from pcaps.plant import ENGINEERING, HMI, MIXER_PLC, PRESS_PLC, ROGUE, Host

PROGRAMMER, OPERATOR = b"\x01\x02", b"\x02\x02"  # remote TSAP: connection type, rack 0 slot 2
WRONG_PASSWORD = 0xD602
STOP, RUN = 0, 2  # modes of the controller's own push
GUESSES = ("siemens", "simatic", "12345678", "00000000", "admin", "step7", "s7300", "basisk", "plc", "press", "secret")
PASSWORD = "p-3107"


class Talk:
    """An S7 client on one connection: connected, parameters negotiated, references counted."""

    def __init__(self, lab: Lab, client: Host, server: Host, tsap: bytes = OPERATOR) -> None:
        self.link: TcpDialogue = lab.tcp(client, server, s7.PORT)
        self.reference = 0
        self.link.exchange(s7.connect_request(remote_tsap=tsap), s7.connect_confirm(remote_tsap=tsap))
        self.job(s7.setup_communication(480), s7.setup_communication(240))

    def next(self) -> int:
        """A new PDU reference."""
        self.reference += 1
        return self.reference

    def job(
        self, parameter: bytes, answer: bytes, *, data: bytes = b"", answer_data: bytes = b"", error: int = 0
    ) -> None:
        """One job and its acknowledgement."""
        reference = self.next()
        self.link.exchange(s7.job(reference, parameter, data), s7.ack_data(reference, answer, answer_data, error))

    def read(self, *items: tuple[int, int, int, int]) -> None:
        """Function 4, answered with made-up values of the right length."""
        values = [self.link.lab.random.randbytes(length) for *_, length in items]
        self.job(s7.read_var(*items), bytes([4, len(items)]), answer_data=s7.read_var_data(*values))

    def write(self, area: int, db: int, byte: int, value: bytes) -> None:
        """Function 5, granted."""
        parameter, data = s7.write_var(area, db, byte, value)
        self.job(parameter, b"\x05\x01", data=data, answer_data=bytes([s7.SUCCESS]))

    def userdata(self, group: int, subfunction: int, data: bytes | None, answer: bytes | None, error: int = 0) -> None:
        """One user-data request and its response."""
        reference = self.next()
        self.link.exchange(
            s7.userdata_request(reference, group, subfunction, data),
            s7.userdata_response(reference, group, subfunction, answer, error=error),
        )

    def download(self, block: bytes, parts: list[bytes], split: bool = False) -> None:
        """A block goes in: we announce it, the controller asks for each part, then says that it has all.

        split: each part travels in two segments, cut inside the S7 header.
        """
        size = sum(map(len, parts))
        self.job(s7.request_download(block, size + 36, size), b"\x1a")
        for index, part in enumerate(parts):
            reference = self.next()
            self.link.server(s7.job(reference, s7.download_block(block)))
            parameter, data = s7.download_part(part, more=index < len(parts) - 1)
            self.link.client(s7.ack_data(reference, parameter, data), cuts=(11,) if split else ())
        reference = self.next()
        self.link.server(s7.job(reference, s7.download_ended(block)))
        self.link.client(s7.ack_data(reference, b"\x1c"))

    def upload(self, block: bytes, parts: list[bytes]) -> None:
        """A block comes out."""
        self.job(s7.start_upload(block), s7.upload_started(7, sum(map(len, parts))))
        for index, part in enumerate(parts):
            parameter, data = s7.upload_part(part, more=index < len(parts) - 1)
            self.job(s7.upload(7), parameter, answer_data=data)
        self.job(s7.end_upload(7), b"\x1f")


def poll_press(talk: Talk) -> None:
    """What the operators' station reads from the press each second."""
    talk.read((s7.DB, 10, 0, 24), (s7.MARKERS, 0, 20, 4))
    talk.read((s7.INPUTS, 0, 0, 8))


def benign_polling(lab: Lab) -> None:
    """The operators' station reads blocks, markers and inputs of two controllers, and sets a value now and then."""
    press, mixer = Talk(lab, HMI, PRESS_PLC), Talk(lab, HMI, MIXER_PLC)
    for second in range(150):
        poll_press(press)
        if second % 3 == 0:
            mixer.read((s7.DB, 200, 16, 32))
        if second % 25 == 4:
            press.write(s7.DB, 10, 40, (850 + second).to_bytes(2, "big"))
        lab.wait(1.0, jitter=0.02)
    press.link.close()
    mixer.link.close()


def stop(lab: Lab) -> None:
    """Somebody connects as a programming device and stops the press; the controller itself tells the stop."""
    hmi = Talk(lab, HMI, PRESS_PLC)
    for _ in range(20):
        poll_press(hmi)
        lab.wait(1.0, jitter=0.02)
    rogue = Talk(lab, ROGUE, PRESS_PLC, PROGRAMMER)
    lab.wait(0.5)
    rogue.job(s7.PLC_STOP, b"\x29")
    hmi.link.server(s7.mode_transition(STOP))
    for _ in range(5):
        poll_press(hmi)
        lab.wait(1.0, jitter=0.02)
    rogue.link.close()
    hmi.link.close()


def block_download(lab: Lab) -> None:
    """OB 1, the program's main loop, is replaced: stop, download in three parts, insert, start."""
    station = Talk(lab, ENGINEERING, MIXER_PLC, PROGRAMMER)
    station.userdata(3, 3, b"08" + b"00001" + b"A", None, error=0xD209)  # block info: not there yet
    lab.wait(1)
    station.job(s7.PLC_STOP, b"\x29")
    station.link.server(s7.mode_transition(STOP))
    lab.wait(1)
    code = b"pp\x01\x01\x02\x08" + lab.random.randbytes(500)
    station.download(b"_0800001P", [code[:220], code[220:440], code[440:]], split=True)
    station.job(s7.pi_blocks(b"_INSE", b"0800001P"), b"\x28")
    lab.wait(1)
    station.job(s7.WARM_START, b"\x28")
    station.link.server(s7.mode_transition(RUN))
    station.link.close()


def blocks_deleted_and_cold_start(lab: Lab) -> None:
    """PI services: two blocks are deleted, then a cold start throws the process image away."""
    rogue = Talk(lab, ROGUE, MIXER_PLC, PROGRAMMER)
    rogue.userdata(3, 1, None, bytes.fromhex("30380001304200023041000a"))
    lab.wait(1)
    for block in (b"0A00010B", b"0C00100B"):
        rogue.job(s7.pi_blocks(b"_DELE", block), b"\x28")
        lab.wait(0.5)
    rogue.job(s7.COLD_START, b"\x28")
    rogue.link.close()


def program_stolen(lab: Lab) -> None:
    """The list of blocks, then OB 1 and DB 10 are read out of the controller."""
    rogue = Talk(lab, ROGUE, MIXER_PLC, PROGRAMMER)
    rogue.userdata(3, 1, None, bytes.fromhex("30380001304200023041000a"))
    for block in (b"_0800001A", b"_0A00010A"):
        code = lab.random.randbytes(380)
        rogue.upload(block, [code[:216], code[216:]])
        lab.wait(0.5)
    rogue.link.close()


def memory_reset(lab: Lab) -> None:
    """Stop, then memory reset (programmer commands, sub-function 0x0C): the program is gone."""
    rogue = Talk(lab, ROGUE, PRESS_PLC, PROGRAMMER)
    rogue.job(s7.PLC_STOP, b"\x29")
    lab.wait(1)
    rogue.userdata(1, 0x0C, bytes(4), None)  # sizes of parameters and data: none
    rogue.link.close()


def password_guessing(lab: Lab) -> None:
    """Twelve passwords are tried against the protection level; the last one is right."""
    rogue = Talk(lab, ROGUE, PRESS_PLC, PROGRAMMER)
    for word in (*GUESSES, PASSWORD):
        error = 0 if word == PASSWORD else WRONG_PASSWORD
        rogue.userdata(5, 1, s7.encode_password(word), None, error=error)
        lab.wait(0.8, jitter=0.3)
    rogue.link.close()


PROGRAM = bytes.fromhex("70700101010801") + bytes(93)  # what stands in for a block
CALL_BLOCKS = b"_0800001P"  # OB1, into the passive file system


def _exchange_data(lab: Lab, own: Talk, other: Talk, seconds: int) -> None:
    """The operators' station polls one controller, and that one reads and writes data of its neighbour."""
    for second in range(seconds):
        poll_press(own)
        other.read((s7.DB, 20, 0, 8))
        if second % 5 == 0:
            other.write(s7.DB, 21, 0, b"\x00\x01")
        lab.wait(1.0, jitter=0.02)


def controllers_exchange_data(lab: Lab) -> None:
    """Ordinary: a controller that is polled reads and writes data of another one, as function blocks PUT and GET do."""
    own, other = Talk(lab, HMI, PRESS_PLC), Talk(lab, PRESS_PLC, MIXER_PLC)
    _exchange_data(lab, own, other, 60)
    other.link.close()
    own.link.close()


def worm_in_controller(lab: Lab) -> None:
    """A polled controller calls its neighbours; the one that answers is stopped, gets a new OB1 and is started."""
    own, other = Talk(lab, HMI, PRESS_PLC), Talk(lab, PRESS_PLC, MIXER_PLC)
    _exchange_data(lab, own, other, 30)
    for address in range(40, 52):
        neighbour = Host(f"10.20.3.{address}", f"02:00:0a:14:03:{address:02x}", mirror=1)
        port = lab.random.randrange(49152, 65536)
        lab.emit(PRESS_PLC, neighbour, TCP(sport=port, dport=s7.PORT, flags="S", seq=1))
        lab.wait(1)
    attack = Talk(lab, PRESS_PLC, MIXER_PLC, PROGRAMMER)
    attack.job(s7.PLC_STOP, b"\x29")
    attack.download(CALL_BLOCKS, [PROGRAM])
    attack.job(s7.pi_blocks(b"_INSE", b"0800001P"), b"\x28")
    attack.job(s7.WARM_START, b"\x28")
    attack.link.close()
    poll_press(own)
    own.link.close()


def stuxnet(lab: Lab) -> None:
    """System data blocks are looked through, OB1 and OB35 replaced, and DB890 is read every five minutes after."""
    engineer = Talk(lab, ENGINEERING, MIXER_PLC, PROGRAMMER)
    engineer.userdata(3, 2, b"0B", bytes.fromhex("000012 0b0007 2200 0064 2200".replace(" ", "")))
    for number in (0, 7, 100):
        engineer.userdata(3, 3, b"0B%05dA" % number, bytes(78))
        lab.wait(0.2)
    for number in (1, 35):
        block = b"08%05dP" % number
        engineer.download(b"_" + block, [PROGRAM])
        engineer.job(s7.pi_blocks(b"_INSE", block), b"\x28")
        lab.wait(2)
    for _ in range(4):
        engineer.read((s7.DB, 890, 0, 10))
        lab.wait(300, jitter=0.02)
    engineer.link.close()


def slots_tried(lab: Lab) -> None:
    """Somebody asks the press for connections to one rack and slot after the other; the CPU stands in slot 2."""
    hmi = Talk(lab, HMI, PRESS_PLC)
    for _ in range(30):
        poll_press(hmi)
        lab.wait(1.0, jitter=0.02)
    for slot in range(16):
        tsap = bytes([1, slot])
        link = lab.tcp(ROGUE, PRESS_PLC, s7.PORT)
        link.client(s7.connect_request(remote_tsap=tsap))
        if tsap == PROGRAMMER:
            link.server(s7.connect_confirm(remote_tsap=tsap))
        link.reset("server")
        lab.wait(0.3, jitter=0.2)
    for _ in range(10):
        poll_press(hmi)
        lab.wait(1.0, jitter=0.02)
    hmi.link.close()


def stations_with_identities(lab: Lab) -> None:
    """Ordinary: a station reads identity and state of its controllers when it starts, and their state ever after."""
    talks = [Talk(lab, HMI, plc) for plc in (PRESS_PLC, MIXER_PLC)]
    for talk in talks:
        for list_id in (0x0011, 0x001C, 0x0131, 0x0424):
            talk.userdata(4, 1, struct.pack(">HH", list_id, 0), bytes(40))
    for second in range(60):
        for talk in talks:
            poll_press(talk)
            if second % 10 == 0:
                talk.userdata(4, 1, struct.pack(">HH", 0x0424, 0), bytes(28))
        lab.wait(1.0, jitter=0.02)
    for talk in talks:
        talk.link.close()
