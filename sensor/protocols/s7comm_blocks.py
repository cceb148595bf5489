"""Blocks of an S7 program at full depth: their names, up- and download, PI services, the lists a CPU gives of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sensor.operations import Verb
from sensor.protocols import s7comm_tables as t
from sensor.protocols.s7comm_errors import ERRORS
from sensor.protocols.s7comm_items import Octets, printable
from sensor.protocols.s7comm_services import BLOCK_SERVICES, PI_SERVICES, SECRET

_S7_EPOCH = datetime(1984, 1, 1, tzinfo=UTC)  # block time stamps count milliseconds and days from here


def block_type(code: bytes) -> str:
    """A block type of two hexadecimal characters ("0A") as "DB"; unknown ones as they are."""
    try:
        return t.BLOCK_TYPES.get(int(code, 16), printable(code))
    except ValueError:
        return printable(code)


def describe_block(name: bytes, out: dict[str, Any]) -> str | None:
    """Type, number and file system of a block named by type (2), number (5) and file system (1): "0A00001P" is DB1.

    Gives the short name; None where the octets name no block.
    """
    if len(name) != 8 or not name[2:7].isdigit():
        return None
    kind, number, system = block_type(name[:2]), int(name[2:7]), printable(name[7:])
    out["s7comm.block"] = f"{kind}{number}"
    out["s7comm.block_type"] = kind
    out["s7comm.block_number"] = number
    out["s7comm.file_system"] = t.FILE_SYSTEMS.get(system, system)
    return f"{kind}{number}"


def describe_file(octets: Octets, out: dict[str, Any]) -> None:
    """The name that up- and download carry: "_0A00001P" of a block ("$0A00001P": its header only), or a file's."""
    name = octets.take(octets.number())
    if len(name) == 9 and name[:1] in b"_$" and describe_block(name[1:], out):
        out["s7comm.block_name"] = printable(name)
    else:
        out["s7comm.file"] = printable(name)


def describe_transfer_job(function: int, octets: Octets, out: dict[str, Any]) -> None:
    """Parameters of functions 0x1A to 0x1F in a job, after the function code."""
    _status(octets, out)
    error = octets.number(2)
    if function in (t.DOWNLOAD_ENDED, t.END_UPLOAD) and error:
        out["s7comm.error_number"] = error
        out["s7comm.error_name"] = ERRORS.get(error, "unknown")
    upload_id = octets.number(4)
    if function in (t.UPLOAD, t.END_UPLOAD):
        out["s7comm.upload_id"] = upload_id
        return
    describe_file(octets, out)
    if function == t.REQUEST_DOWNLOAD and octets.left:  # "1", load memory, MC7 code: six digits each
        sizes = octets.take(octets.number())
        for key, digits in (("load_memory_length", sizes[1:7]), ("mc7_length", sizes[7:13])):
            if digits.isdigit():
                out[f"s7comm.{key}"] = int(digits)


def describe_transfer_answer(function: int, parameters: Octets, data: Octets, out: dict[str, Any]) -> None:
    """Parameters (after the function code) and data of the acknowledgement of functions 0x1A to 0x1F."""
    if parameters.left:
        _status(parameters, out)
    if function == t.START_UPLOAD and parameters.left >= 6:
        parameters.take(2)
        out["s7comm.upload_id"] = parameters.number(4)
        if parameters.left:
            digits = parameters.take(parameters.number())
            if digits.isdigit():
                out["s7comm.block_length"] = int(digits)
    if function in (t.DOWNLOAD_BLOCK, t.UPLOAD) and data.left >= 4:  # length, 0x00FB, octets of the block
        out["s7comm.transferred_octets"] = data.number(2)
        data.take(2)


def _status(octets: Octets, out: dict[str, Any]) -> None:
    status = octets.number()
    out["s7comm.function_status"] = status
    out["s7comm.more_data"] = bool(status & 0x01)
    if status & 0x02:
        out["s7comm.function_failed"] = True


def describe_pi_service(octets: Octets, out: dict[str, Any]) -> Verb:
    """Parameters of function 0x28, after the function code: seven octets, parameter block, name. Gives what it does."""
    octets.take(7)
    block = octets.take(octets.number(2))
    name = printable(octets.take(octets.number()))
    out["s7comm.service"] = name
    service = PI_SERVICES.get(name)
    out["s7comm.service_name"] = service.meaning if service else "unknown"
    if service is None:
        return Verb.COMMAND
    if name in BLOCK_SERVICES:
        _blocks(Octets(block), out)
    elif service.arguments:
        out["s7comm.service_arguments"] = _arguments(Octets(block), service.arguments)
    elif block:
        out["s7comm.service_arguments"] = [printable(block)]
    if name == "P_PROGRAM" and block[:1] == b"C":  # a cold start forgets the process's state
        out["s7comm.service_name"] = "cold_start_program"
        return Verb.RESTART
    return service.verb


def _blocks(octets: Octets, out: dict[str, Any]) -> None:
    """The blocks that _INSE and _DELE act on: count, zero, eight characters each. `s7comm.block` is the first."""
    count, found = octets.number(), []
    octets.take(1)
    for _ in range(count):
        details: dict[str, Any] = {}
        name = describe_block(octets.take(8), details)
        if name is None:
            break
        found.append(name)
        if len(found) == 1:
            out |= details
    out["s7comm.blocks"] = found


def _arguments(octets: Octets, names: tuple[str, ...]) -> list[str]:
    """String arguments as "name=value": length, characters, and a fill octet where that makes an odd count.

    A password is never read out.
    """
    found = []
    for name in names:
        if not octets.left:
            break
        length = octets.number()
        value = octets.take(length)
        if length % 2 == 0:
            octets.take(1)
        found.append(f"{name}={'***' if name == SECRET else printable(value)}")
    return found


def describe_block_function(octets: Octets, code: int, kind: int, out: dict[str, Any]) -> None:
    """User data group 3: how many blocks, which blocks of a type, what a block's header says."""
    if code == t.LIST_BLOCKS and kind == t.ANSWER:
        counts = []
        while octets.left >= 4:
            name = block_type(octets.take(2))
            counts.append(f"{name}={octets.number(2)}")
        out["s7comm.block_counts"] = counts
    elif code == t.LIST_BLOCKS_OF_TYPE and kind == t.ASK and octets.left >= 2:
        out["s7comm.block_type"] = block_type(octets.take(2))
    elif code == t.LIST_BLOCKS_OF_TYPE and kind == t.ANSWER:
        numbers = []
        while octets.left >= 4:
            numbers.append(octets.number(2))
            octets.take(2)  # flags, language
        out["s7comm.block_numbers"] = numbers
    elif code == t.BLOCK_INFO and kind == t.ASK and octets.left >= 8:
        describe_block(octets.take(8), out)
    elif code == t.BLOCK_INFO and kind == t.ANSWER and octets.left >= 40:
        _block_info(octets, out)


def _block_info(octets: Octets, out: dict[str, Any]) -> None:
    octets.take(9)  # type, length of what follows, three words without known meaning
    flags, language, kind = octets.number(), octets.number(), octets.number()
    number = octets.number(2)
    out["s7comm.block_type"] = t.BLOCK_TYPES.get(kind, f"0x{kind:02X}")
    out["s7comm.block_number"] = number
    out["s7comm.block"] = f"{out['s7comm.block_type']}{number}"
    out["s7comm.block_info.linked"] = bool(flags & 0x01)
    out["s7comm.block_info.language"] = t.BLOCK_LANGUAGES.get(language, f"0x{language:02X}")
    out["s7comm.load_memory_length"] = octets.number(4)
    out["s7comm.block_info.know_how_protected"] = octets.number(4) == 3
    out["s7comm.block_info.code_time"] = _stamp(octets)
    out["s7comm.block_info.interface_time"] = _stamp(octets)
    octets.take(4)  # lengths of two sections
    out["s7comm.block_info.local_data_length"] = octets.number(2)
    out["s7comm.mc7_length"] = octets.number(2)
    for key in ("author", "family", "name"):
        if text := printable(octets.take(8)):
            out[f"s7comm.block_info.{key}"] = text
    version = octets.number()
    out["s7comm.block_info.version"] = f"{version >> 4}.{version & 15}"
    octets.take(1)
    out["s7comm.block_info.checksum"] = octets.number(2)


def _stamp(octets: Octets) -> str:
    milliseconds, days = octets.number(4), octets.number(2)
    return (_S7_EPOCH + timedelta(days=days, milliseconds=milliseconds)).strftime("%Y-%m-%dT%H:%M:%S")
