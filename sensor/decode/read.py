"""Messages to PDUs: the second pass over a batch, one loop for each protocol, compiled when the protocol is first met.

Compiled code cannot call what it looks up in a list: so each protocol has its own loop, and READERS lists them. Each
reads messages[begin:stop] into the first rows of `pdus`, and leaves those of other protocols alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sensor.compiled import INTEGER, UNSIGNED, Rows, address_of, for_the_compiler, njit
from sensor.decode.apart import caller
from sensor.decode.borrow import borrow
from sensor.decode.pdu import PDU, Kind, Protocol, clear
from sensor.decode.state import MESSAGE, OCTET
from sensor.protocols import (
    bacnet_kernel,
    dnp3,
    enip_kernel,
    goose,
    iec104,
    mms_kernel,
    modbus,
    modbus_rtu,
    opcua_kernel,
    s7comm,
    s7comm_plus,
)  # fmt: skip

MODBUS, S7COMM, DNP3 = int(Protocol.MODBUS), int(Protocol.S7COMM), int(Protocol.DNP3)
IEC104, ENIP, MMS = int(Protocol.IEC104), int(Protocol.ENIP), int(Protocol.MMS)
GOOSE, S7COMM_PLUS = int(Protocol.GOOSE), int(Protocol.S7COMM_PLUS)
MODBUS_RTU, OPCUA, BACNET = int(Protocol.MODBUS_RTU), int(Protocol.OPCUA), int(Protocol.BACNET)
REQUEST, RESPONSE = int(Kind.REQUEST), int(Kind.RESPONSE)
NOTHING = np.int64(0)  # what is called by address returns a number


@njit(cache=True, nogil=True, boundscheck=True, forceinline=True)
def _place(frames, assembled, message):
    """(buffer, begin, end) of a message's bytes."""
    if message.at >= 0:
        return frames, message.at, message.at + message.octets
    return assembled, ~message.at, ~message.at + message.octets


@njit(cache=True, nogil=True, boundscheck=True)
def _modbus(frames, assembled, messages, begin, stop, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(begin, stop):
        m = messages[i]
        if m.protocol == MODBUS:
            pdu = pdus[i - begin]
            clear(pdu)
            pdu.protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            modbus.read(buf, at, end, REQUEST if m.to_server else RESPONSE, seed, pdu)
    return NOTHING


@njit(cache=True, nogil=True, boundscheck=True)
def _modbus_rtu(frames, assembled, messages, begin, stop, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(begin, stop):
        m = messages[i]
        if m.protocol == MODBUS_RTU:
            pdu = pdus[i - begin]
            clear(pdu)
            pdu.protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            modbus_rtu.read(buf, at, end, REQUEST if m.to_server else RESPONSE, seed, pdu)
    return NOTHING


@njit(cache=True, nogil=True, boundscheck=True)
def _s7comm(frames, assembled, messages, begin, stop, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(begin, stop):
        m = messages[i]
        if m.protocol == S7COMM:
            pdu = pdus[i - begin]
            clear(pdu)
            pdu.protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            s7comm.read(buf, at, end, seed, pdu)
    return NOTHING


@njit(cache=True, nogil=True, boundscheck=True)
def _dnp3(frames, assembled, messages, begin, stop, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(begin, stop):
        m = messages[i]
        if m.protocol == DNP3:
            pdu = pdus[i - begin]
            clear(pdu)
            pdu.protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            if m.link < 0:
                dnp3.read_link(buf, at, end, pdu)
            else:
                dnp3.read(buf, at, end, m.link >> 16, m.link & 0xFFFF, seed, pdu)
    return NOTHING


@njit(cache=True, nogil=True, boundscheck=True)
def _iec104(frames, assembled, messages, begin, stop, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(begin, stop):
        m = messages[i]
        if m.protocol == IEC104:
            pdu = pdus[i - begin]
            clear(pdu)
            pdu.protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            iec104.read(buf, at, end, seed, pdu)
    return NOTHING


@njit(cache=True, nogil=True, boundscheck=True)
def _enip(frames, assembled, messages, begin, stop, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(begin, stop):
        m = messages[i]
        if m.protocol == ENIP:
            pdu = pdus[i - begin]
            clear(pdu)
            pdu.protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            enip_kernel.read(buf, at, end, seed, pdu)
    return NOTHING


@njit(cache=True, nogil=True, boundscheck=True)
def _mms(frames, assembled, messages, begin, stop, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(begin, stop):
        m = messages[i]
        if m.protocol == MMS:
            pdu = pdus[i - begin]
            clear(pdu)
            pdu.protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            mms_kernel.read(buf, at, end, seed, pdu)
    return NOTHING


@njit(cache=True, nogil=True, boundscheck=True)
def _goose(frames, assembled, messages, begin, stop, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(begin, stop):
        m = messages[i]
        if m.protocol == GOOSE:
            pdu = pdus[i - begin]
            clear(pdu)
            pdu.protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            goose.read(buf, at, end, seed, pdu)
    return NOTHING


@njit(cache=True, nogil=True, boundscheck=True)
def _s7comm_plus(frames, assembled, messages, begin, stop, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(begin, stop):
        m = messages[i]
        if m.protocol == S7COMM_PLUS:
            pdu = pdus[i - begin]
            clear(pdu)
            pdu.protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            s7comm_plus.read(buf, at, end, seed, pdu)
    return NOTHING


@njit(cache=True, nogil=True, boundscheck=True)
def _opcua(frames, assembled, messages, begin, stop, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(begin, stop):
        m = messages[i]
        if m.protocol == OPCUA:
            pdu = pdus[i - begin]
            clear(pdu)
            pdu.protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            opcua_kernel.read(buf, at, end, seed, pdu)
    return NOTHING


@njit(cache=True, nogil=True, boundscheck=True)
def _bacnet(frames, assembled, messages, begin, stop, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(begin, stop):
        m = messages[i]
        if m.protocol == BACNET:
            pdu = pdus[i - begin]
            clear(pdu)
            pdu.protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            bacnet_kernel.read(buf, at, end, seed, pdu)
    return NOTHING


READER = (Rows(OCTET), Rows(OCTET), Rows(MESSAGE), INTEGER, INTEGER, UNSIGNED, Rows(PDU))
READERS: Mapping[int, Callable[..., Any]] = {
    MODBUS: _modbus, S7COMM: _s7comm, DNP3: _dnp3, IEC104: _iec104, ENIP: _enip, MMS: _mms, GOOSE: _goose,
    S7COMM_PLUS: _s7comm_plus, MODBUS_RTU: _modbus_rtu, OPCUA: _opcua, BACNET: _bacnet,
}  # fmt: skip


def read(protocol, address, frames, assembled, messages, begin, stop, seed, pdus):
    """The reader of a protocol, which compiled code calls by its address: apart.py says why."""
    return READERS[int(protocol)](frames, assembled, messages, begin, stop, seed, pdus)


@for_the_compiler
def _by_address():
    from numba.extending import overload

    call = caller(INTEGER, READER)

    @overload(read, inline="always")
    def _compiled_form(protocol, address, frames, assembled, messages, begin, stop, seed, pdus):
        def compiled(protocol, address, frames, assembled, messages, begin, stop, seed, pdus):
            return call(address, frames, assembled, messages, begin, stop, seed, pdus)

        return compiled


def reader_address(protocol: int) -> int:
    """For `settled.readers` of a state."""
    return address_of(READERS[protocol], READER)
