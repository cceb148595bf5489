"""S7comm messages over COTP class 0 (ISO 8073) and TPKT (RFC 1006). The S7 layer is unpublished; layouts as measured
in public captures. All numbers are big-endian."""

from __future__ import annotations

import struct

PORT = 102
DB, INPUTS, MARKERS = 0x84, 0x81, 0x83  # memory areas
SUCCESS = 0xFF  # return code of an item


def tpkt(cotp: bytes) -> bytes:
    """TPKT version 3 around a COTP TPDU."""
    return struct.pack(">BBH", 3, 0, len(cotp) + 4) + cotp


def connect_request(local_tsap: bytes = b"\x01\x00", remote_tsap: bytes = b"\x01\x02") -> bytes:
    """COTP CR. The remote TSAP holds connection type (01 programmer, 02 operator, 03 basic) and rack and slot."""
    parameters = b"\xc0\x01\x0a" + b"\xc1\x02" + local_tsap + b"\xc2\x02" + remote_tsap
    return tpkt(bytes([len(parameters) + 6]) + b"\xe0\x00\x00\x00\x01\x00" + parameters)


def connect_confirm(local_tsap: bytes = b"\x01\x00", remote_tsap: bytes = b"\x01\x02") -> bytes:
    """COTP CC."""
    parameters = b"\xc0\x01\x0a" + b"\xc1\x02" + local_tsap + b"\xc2\x02" + remote_tsap
    return tpkt(bytes([len(parameters) + 6]) + b"\xd0\x00\x01\x00\x02\x00" + parameters)


def _data(s7: bytes) -> bytes:
    """COTP DT, end of TSDU, around an S7 PDU."""
    return tpkt(b"\x02\xf0\x80" + s7)


def job(reference: int, parameter: bytes, data: bytes = b"") -> bytes:
    """ROSCTR 1."""
    return _data(struct.pack(">BBHHHH", 0x32, 1, 0, reference, len(parameter), len(data)) + parameter + data)


def ack_data(reference: int, parameter: bytes, data: bytes = b"", error: int = 0) -> bytes:
    """ROSCTR 3; error is class << 8 | code."""
    return _data(struct.pack(">BBHHHHH", 0x32, 3, 0, reference, len(parameter), len(data), error) + parameter + data)


def setup_communication(pdu_length: int = 480) -> bytes:
    """Parameter of function 0xF0: one job at a time in each direction."""
    return struct.pack(">BBHHH", 0xF0, 0, 1, 1, pdu_length)


def _item(area: int, db: int, byte: int, length: int) -> bytes:
    return struct.pack(">BBBBHHB", 0x12, 10, 0x10, 2, length, db, area) + (byte * 8).to_bytes(3, "big")


def read_var(*items: tuple[int, int, int, int]) -> bytes:
    """Parameter of function 4; items are (area, DB number, first byte, bytes)."""
    return bytes([4, len(items)]) + b"".join(_item(*item) for item in items)


def read_var_data(*values: bytes) -> bytes:
    """Data of the answer to function 4; odd lengths are filled up, except in the last item."""
    items = [struct.pack(">BBH", SUCCESS, 4, 8 * len(value)) + value + bytes(len(value) % 2) for value in values]
    return b"".join(items)[: -1 if len(values[-1]) % 2 else None]


def write_var(area: int, db: int, byte: int, value: bytes) -> tuple[bytes, bytes]:
    """Parameter and data of function 5, one item."""
    return bytes([5, 1]) + _item(area, db, byte, len(value)), struct.pack(">BBH", 0, 4, 8 * len(value)) + value


PROGRAM = b"\x09P_PROGRAM"
PLC_STOP = b"\x29" + bytes(5) + PROGRAM
WARM_START = b"\x28" + bytes(6) + b"\xfd\x00\x00" + PROGRAM
COLD_START = b"\x28" + bytes(6) + b"\xfd\x00\x02C " + PROGRAM


def pi_blocks(service: bytes, *blocks: bytes) -> bytes:
    """Parameter of function 0x28 for a service on blocks (`_INSE`, `_DELE`); blocks such as b"0A00001P"."""
    arguments = bytes([len(blocks), 0]) + b"".join(blocks)
    return (
        b"\x28" + bytes(6) + b"\xfd" + struct.pack(">H", len(arguments)) + arguments + bytes([len(service)]) + service
    )


def request_download(block: bytes, load_memory: int, code_length: int) -> bytes:
    """Parameter of function 0x1A. block: b"_0A00001P"; lengths in bytes, sent as six decimal digits."""
    lengths = b"1%06d%06d" % (load_memory, code_length)
    return b"\x1a\x00\x01\x00" + bytes(4) + bytes([len(block)]) + block + bytes([len(lengths)]) + lengths


def download_block(block: bytes) -> bytes:
    """Parameter of function 0x1B: the controller asks for the next part."""
    return b"\x1b" + bytes(7) + bytes([len(block)]) + block


def download_part(part: bytes, more: bool) -> tuple[bytes, bytes]:
    """Parameter and data of the answer to 0x1B."""
    return bytes([0x1B, more]), struct.pack(">HH", len(part), 0x00FB) + part


def download_ended(block: bytes) -> bytes:
    """Parameter of function 0x1C: the controller has all parts."""
    return b"\x1c" + bytes(7) + bytes([len(block)]) + block


def start_upload(block: bytes) -> bytes:
    """Parameter of function 0x1D."""
    return b"\x1d" + bytes(7) + bytes([len(block)]) + block


def upload_started(upload_id: int, length: int) -> bytes:
    """Parameter of the answer to 0x1D: length in bytes as seven decimal digits."""
    return b"\x1d\x00\x01\x00" + struct.pack(">I", upload_id) + b"\x07%07d" % length


def upload(upload_id: int) -> bytes:
    """Parameter of function 0x1E."""
    return b"\x1e\x00\x00\x00" + struct.pack(">I", upload_id)


def upload_part(part: bytes, more: bool) -> tuple[bytes, bytes]:
    """Parameter and data of the answer to 0x1E."""
    return bytes([0x1E, more]), struct.pack(">HH", len(part), 0x00FB) + part


def end_upload(upload_id: int) -> bytes:
    """Parameter of function 0x1F."""
    return b"\x1f\x00\x00\x00" + struct.pack(">I", upload_id)


def userdata_request(reference: int, group: int, subfunction: int, data: bytes | None = None) -> bytes:
    """ROSCTR 7, request. data None: the empty data section with return code 0x0A."""
    parameter = bytes([0, 1, 0x12, 4, 0x11, 0x40 | group, subfunction, 0])
    return _userdata(reference, parameter, b"\x0a\x00\x00\x00" if data is None else _octets(data))


def userdata_response(
    reference: int, group: int, subfunction: int, data: bytes | None = None, *, sequence: int = 1, error: int = 0
) -> bytes:
    """ROSCTR 7, response; error as in 0xD602, wrong password."""
    parameter = bytes([0, 1, 0x12, 8, 0x12, 0x80 | group, subfunction, sequence, 0, 0]) + struct.pack(">H", error)
    return _userdata(reference, parameter, b"\x0a\x00\x00\x00" if data is None else _octets(data))


def mode_transition(mode: int) -> bytes:
    """ROSCTR 7, indication of group 0: the controller tells its new state. 0 stop, 1 warm restart, 2 run."""
    return _userdata(0, bytes([1, 0, 0x10, 0x10, 0, 0, mode, 0]), b"")


def _octets(data: bytes) -> bytes:
    return struct.pack(">BBH", SUCCESS, 9, len(data)) + data


def _userdata(reference: int, parameter: bytes, data: bytes) -> bytes:
    return _data(struct.pack(">BBHHHH", 0x32, 7, 0, reference, len(parameter), len(data)) + parameter + data)


def encode_password(password: str) -> bytes:
    """Eight characters as group 5 carries them: each xor 0x55, from the third on also xor the one two before."""
    coded = bytearray()
    for index, character in enumerate(password.ljust(8).encode("ascii")):
        coded.append(character ^ 0x55 ^ (coded[index - 2] if index >= 2 else 0))
    return bytes(coded)
