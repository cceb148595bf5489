"""Messages to PDUs: the second pass over a batch, one loop for each protocol, compiled when the protocol is first met.

Compiled code cannot call what it looks up in a list: so each protocol has its own loop, and READERS lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sensor.compiled import njit
from sensor.decode.borrow import borrow
from sensor.decode.pdu import Kind, Protocol, clear
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


@njit(cache=True, nogil=True, boundscheck=True)
def _place(frames, assembled, message):
    """(buffer, begin, end) of a message's bytes."""
    if message.at >= 0:
        return frames, message.at, message.at + message.octets
    return assembled, ~message.at, ~message.at + message.octets


@njit(cache=True, nogil=True, boundscheck=True)
def _modbus(frames, assembled, messages, count, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(count):
        m = messages[i]
        if m.protocol == MODBUS:
            clear(pdus[i])
            pdus[i].protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            modbus.read(buf, at, end, REQUEST if m.to_server else RESPONSE, seed, pdus[i])


@njit(cache=True, nogil=True, boundscheck=True)
def _modbus_rtu(frames, assembled, messages, count, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(count):
        m = messages[i]
        if m.protocol == MODBUS_RTU:
            clear(pdus[i])
            pdus[i].protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            modbus_rtu.read(buf, at, end, REQUEST if m.to_server else RESPONSE, seed, pdus[i])


@njit(cache=True, nogil=True, boundscheck=True)
def _s7comm(frames, assembled, messages, count, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(count):
        m = messages[i]
        if m.protocol == S7COMM:
            clear(pdus[i])
            pdus[i].protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            s7comm.read(buf, at, end, seed, pdus[i])


@njit(cache=True, nogil=True, boundscheck=True)
def _dnp3(frames, assembled, messages, count, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(count):
        m = messages[i]
        if m.protocol == DNP3:
            clear(pdus[i])
            pdus[i].protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            if m.link < 0:
                dnp3.read_link(buf, at, end, pdus[i])
            else:
                dnp3.read(buf, at, end, m.link >> 16, m.link & 0xFFFF, seed, pdus[i])


@njit(cache=True, nogil=True, boundscheck=True)
def _iec104(frames, assembled, messages, count, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(count):
        m = messages[i]
        if m.protocol == IEC104:
            clear(pdus[i])
            pdus[i].protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            iec104.read(buf, at, end, seed, pdus[i])


@njit(cache=True, nogil=True, boundscheck=True)
def _enip(frames, assembled, messages, count, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(count):
        m = messages[i]
        if m.protocol == ENIP:
            clear(pdus[i])
            pdus[i].protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            enip_kernel.read(buf, at, end, seed, pdus[i])


@njit(cache=True, nogil=True, boundscheck=True)
def _mms(frames, assembled, messages, count, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(count):
        m = messages[i]
        if m.protocol == MMS:
            clear(pdus[i])
            pdus[i].protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            mms_kernel.read(buf, at, end, seed, pdus[i])


@njit(cache=True, nogil=True, boundscheck=True)
def _goose(frames, assembled, messages, count, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(count):
        m = messages[i]
        if m.protocol == GOOSE:
            clear(pdus[i])
            pdus[i].protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            goose.read(buf, at, end, seed, pdus[i])


@njit(cache=True, nogil=True, boundscheck=True)
def _s7comm_plus(frames, assembled, messages, count, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(count):
        m = messages[i]
        if m.protocol == S7COMM_PLUS:
            clear(pdus[i])
            pdus[i].protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            s7comm_plus.read(buf, at, end, seed, pdus[i])


@njit(cache=True, nogil=True, boundscheck=True)
def _opcua(frames, assembled, messages, count, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(count):
        m = messages[i]
        if m.protocol == OPCUA:
            clear(pdus[i])
            pdus[i].protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            opcua_kernel.read(buf, at, end, seed, pdus[i])


@njit(cache=True, nogil=True, boundscheck=True)
def _bacnet(frames, assembled, messages, count, seed, pdus):
    frames, assembled, messages, pdus = borrow(frames), borrow(assembled), borrow(messages), borrow(pdus)
    for i in range(count):
        m = messages[i]
        if m.protocol == BACNET:
            clear(pdus[i])
            pdus[i].protocol = m.protocol
            buf, at, end = _place(frames, assembled, m)
            bacnet_kernel.read(buf, at, end, seed, pdus[i])


READERS: Mapping[int, Callable[..., Any]] = {
    MODBUS: _modbus, S7COMM: _s7comm, DNP3: _dnp3, IEC104: _iec104, ENIP: _enip, MMS: _mms, GOOSE: _goose,
    S7COMM_PLUS: _s7comm_plus, MODBUS_RTU: _modbus_rtu, OPCUA: _opcua, BACNET: _bacnet,
}  # fmt: skip
