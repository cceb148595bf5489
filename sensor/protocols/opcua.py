"""OPC UA binary over TCP (opc.tcp): connections, secure channels and the services in them.

Sources: OPC 10000-6, release 1.05 (encoding, chunks, secure conversation), OPC 10000-4 (services). `frame`, `probe` and
`read` are compiled and stand in opcua_kernel.py; `explain` gives the full depth. A PDU is one message chunk from its
message type on.

Not decoded: what a channel encrypts, and chunks that go on from an earlier one; of these the field opcua.readable says
that nothing of the body is known. Filters, history details and structures are given by their type alone. Passwords and
session tokens are not shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sensor.decode.pdu import PDU, Anomaly, Kind, clear
from sensor.operations import Verb
from sensor.protocols import opcua_tables as t
from sensor.protocols.opcua_kernel import HEADER_BYTES, body_at, frame, probe, read, service
from sensor.protocols.opcua_reader import EnoughError, Reader, UnreadableError
from sensor.records import as_octets

__all__ = ["explain", "frame", "probe", "read"]

Fields = dict[str, Any]

_CHUNKS = {"F": "final", "C": "intermediate", "A": "abort"}
_MESSAGES = {
    "HEL": ("hello", Verb.SESSION),
    "ACK": ("acknowledge", Verb.SESSION),
    "ERR": ("error", Verb.SESSION),
    "RHE": ("reverse_hello", Verb.SESSION),
    "OPN": ("open_secure_channel", Verb.SESSION),
    "MSG": ("message", Verb.UNKNOWN),  # its verb is that of the service in it
    "CLO": ("close_secure_channel", Verb.SESSION),
}

_CLEARED = np.zeros(1, dtype=PDU)
clear(_CLEARED[0])


def explain(pdu: bytes, kind: Kind, request: bytes | None = None) -> Fields:
    """Every field of one chunk, named as in sensor/schema.py. Never raises.

    kind: of no matter, the chunk says it where it can be read. request: the chunk that a response answers, if known.
    """
    fields: Fields = {}
    verb = Verb.UNKNOWN
    anomalies = _anomalies(pdu)
    if len(pdu) >= HEADER_BYTES + 4:
        word = pdu[:3].decode("ascii", "replace")
        fields["opcua.message_type"] = word
        fields["opcua.message"], verb = _MESSAGES.get(word, ("undefined", Verb.UNKNOWN))
        fields["opcua.chunk"] = _CHUNKS.get(chr(pdu[3]), "undefined")
        try:
            verb = _explain(fields, pdu, word, request, verb)
        except EnoughError:
            pass
        except UnreadableError:
            if fields["opcua.chunk"] == "final" and "length" not in anomalies:
                anomalies.append("length")
    fields["event.action"] = verb.value
    if anomalies:
        fields["anomalies"] = anomalies
    return {name: value for name, value in fields.items() if value is not None and value != [] and value != ""}


def _anomalies(pdu: bytes) -> list[str]:
    record = _CLEARED[0].copy()
    buffer = as_octets(pdu)
    read(buffer, 0, len(buffer), np.uint64(0), record)
    return [str(anomaly.name).lower() for anomaly in Anomaly(int(record["anomalies"]))]


def _explain(fields: Fields, pdu: bytes, word: str, request: bytes | None, verb: Verb) -> Verb:
    body = Reader(pdu, HEADER_BYTES)
    if word in ("HEL", "ACK"):
        fields["opcua.protocol_version"] = body.u32()
        fields["opcua.receive_buffer"], fields["opcua.send_buffer"] = body.u32(), body.u32()
        fields["opcua.max_message_size"], fields["opcua.max_chunks"] = body.u32(), body.u32()
        if word == "HEL":
            fields["opcua.endpoint_url"] = body.text()
        return verb
    if word == "RHE":
        fields["opcua.server_uri"], fields["opcua.endpoint_url"] = body.text(), body.text()
        return verb
    if word == "ERR":
        _status(fields, body.u32())
        fields["opcua.reason"] = body.text()
        return verb
    fields["opcua.channel_id"] = body.u32()
    if word == "OPN":
        fields["opcua.security_policy_uri"] = body.text()
        fields["opcua.security_policy"] = fields["opcua.security_policy_uri"].rpartition("#")[2]
        fields["opcua.has_certificate"] = bool(body.octets())
    else:
        fields["opcua.token_id"] = body.u32()
    if fields["opcua.chunk"] == "abort":
        return verb
    return _body(fields, pdu, request, verb)


def _opened(pdu: bytes) -> tuple[int, int, int, int] | None:
    """(service, where its header begins, sequence number, request id) of a chunk that can be read."""
    buffer = as_octets(pdu)
    if frame(buffer, 0, len(buffer)) <= 0 or len(pdu) < HEADER_BYTES + 4:
        return None
    at = int(body_at(buffer, 0, len(buffer)))
    if at < 0:
        return None
    code, begin = service(buffer, at + 8, len(buffer))
    if code < 0:
        return None
    numbers = Reader(pdu, at)
    return int(code), int(begin), numbers.u32(), numbers.u32()


def _body(fields: Fields, pdu: bytes, request: bytes | None, verb: Verb) -> Verb:
    """OPN, MSG or CLO behind the security header."""
    opened = _opened(pdu)
    fields["opcua.readable"] = opened is not None
    if opened is None:
        return verb
    code, begin, fields["opcua.sequence_number"], fields["opcua.request_id"] = opened
    fields["opcua.type_id"] = code
    body = Reader(pdu, begin)
    if code in t.BY_REQUEST:
        known = t.BY_REQUEST[code]
        fields["opcua.service"], fields["opcua.service_id"] = known.name, known.request
        body.node()
        body.take(16)
        fields["opcua.audit_entry"] = body.text()
        body.take(4)
        body.extension()
        if code in _REQUESTS:
            _REQUESTS[code](fields, body)
        changed = [name for name in fields.get("opcua.attributes", []) if name != t.ATTRIBUTES[t.VALUE]]
        return Verb.CONFIGURE if known.request == t.WRITE and changed else known.verb
    if code in t.BY_RESPONSE or code == t.SERVICE_FAULT:
        return _response(fields, body, code, request)
    fields["opcua.service"] = "undefined"
    return Verb.UNKNOWN


def _response(fields: Fields, body: Reader, code: int, request: bytes | None) -> Verb:
    verb = Verb.UNKNOWN
    if code == t.SERVICE_FAULT:
        fields["opcua.service"], fields["opcua.service_id"] = "service_fault", t.SERVICE_FAULT
        asked = _opened(request) if request is not None else None
        if asked is not None and asked[0] in t.BY_REQUEST:
            fields["opcua.request.service"] = t.BY_REQUEST[asked[0]].name
            verb = t.BY_REQUEST[asked[0]].verb
    else:
        known = t.BY_RESPONSE[code]
        fields["opcua.service"], fields["opcua.service_id"], verb = known.name, known.request, known.verb
    body.take(12)
    _status(fields, body.u32())
    body.diagnostics()
    body.list_of(body.text)
    body.extension()
    if code in _RESPONSES:
        _RESPONSES[code](fields, body)
    return verb


def _status(fields: Fields, code: int) -> None:
    fields["opcua.status"], fields["opcua.status_name"] = code, t.status_name(code)


def _results(fields: Fields, codes: list[int]) -> None:
    fields["opcua.results"] = [t.status_name(code) for code in codes]


def _value(value: Any) -> str:
    """A value in words; a list is shortened by the reader."""
    if isinstance(value, float):
        return repr(round(value, 6))
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value)


def _open_request(fields: Fields, body: Reader) -> None:
    body.u32()
    fields["opcua.renewal"] = body.u32() == 1
    mode = body.u32()
    fields["opcua.security_mode"] = mode
    fields["opcua.security_mode_name"] = t.SECURITY_MODES.get(mode, "undefined")
    body.octets()
    fields["opcua.lifetime"] = body.u32()


def _open_response(fields: Fields, body: Reader) -> None:
    body.u32()
    fields["opcua.channel_id"], fields["opcua.token_id"] = body.u32(), body.u32()
    body.take(8)
    fields["opcua.lifetime"] = body.u32()


def _application(fields: Fields, body: Reader, who: str) -> None:
    """ApplicationDescription. who: client or server."""
    fields[f"opcua.{who}.application_uri"] = body.text()
    fields[f"opcua.{who}.product_uri"] = body.text()
    fields[f"opcua.{who}.application_name"] = body.localized_text()
    fields[f"opcua.{who}.application_type"] = t.APPLICATION_TYPES.get(body.u32(), "undefined")
    body.text()
    body.text()
    body.list_of(body.text)


def _endpoint(fields: Fields, body: Reader) -> str:
    """EndpointDescription as `policy/mode`, with the user tokens that it takes."""
    fields.setdefault("opcua.endpoint_url", body.text())
    _application(fields, body, "server")
    body.octets()
    mode, policy = body.u32(), body.text()
    tokens = body.list_of(lambda: _token(body))
    fields["opcua.user_tokens"] = list(dict.fromkeys([*fields.get("opcua.user_tokens", []), *tokens]))
    body.text()
    body.octet()
    return f"{policy.rpartition('#')[2]}/{t.SECURITY_MODES.get(mode, 'undefined')}"


def _token(body: Reader) -> str:
    """UserTokenPolicy by its type."""
    body.text()
    kind = t.TOKEN_TYPES.get(body.u32(), "undefined")
    body.text()
    body.text()
    body.text()
    return kind


def _endpoints(fields: Fields, body: Reader) -> None:
    fields["opcua.endpoints"] = body.list_of(lambda: _endpoint(fields, body))


def _get_endpoints(fields: Fields, body: Reader) -> None:
    fields["opcua.endpoint_url"] = body.text()


def _create_session(fields: Fields, body: Reader) -> None:
    _application(fields, body, "client")
    fields["opcua.server_uri"], fields["opcua.endpoint_url"] = body.text(), body.text()
    fields["opcua.session_name"] = body.text()


def _created_session(fields: Fields, body: Reader) -> None:
    body.node()  # the session's id
    body.node()  # its token: who has it has the session
    body.take(8)
    body.octets()
    body.octets()
    _endpoints(fields, body)


def _activate_session(fields: Fields, body: Reader) -> None:
    body.text()
    body.octets()
    body.list_of(lambda: (body.octets(), body.octets()))
    body.list_of(body.text)
    kind, octets = body.extension()
    number = int(kind[2:]) if kind.startswith("i=") else 0
    fields["opcua.user_token"] = t.IDENTITY_TOKENS.get(number, "anonymous" if kind == "i=0" else "undefined")
    token = Reader(octets)
    if number == 324:
        token.text()
        fields["opcua.user"] = token.text()


def _counted(fields: Fields, body: Reader, member: Callable[[], Any]) -> list[Any]:
    """A list of what a request is about, with its true number."""
    count = int.from_bytes(body.data[body.at : body.at + 4], "little", signed=True)
    found = body.list_of(member)
    fields["opcua.node_count"] = max(count, 0)
    return found


def _read_value(body: Reader) -> tuple[str, str]:
    """ReadValueId: (node, attribute)."""
    node, attribute = body.node(), body.u32()
    body.text()
    body.qualified_name()
    return node, t.ATTRIBUTES.get(attribute, str(attribute))


def _told(fields: Fields, pairs: list[tuple[str, str]]) -> None:
    fields["opcua.nodes"] = [node for node, _ in pairs]
    fields["opcua.attributes"] = list(dict.fromkeys(attribute for _, attribute in pairs))


def _read_request(fields: Fields, body: Reader) -> None:
    body.take(12)
    _told(fields, _counted(fields, body, lambda: _read_value(body)))


def _read_response(fields: Fields, body: Reader) -> None:
    found = body.list_of(body.data_value)
    fields["opcua.values"] = [_value(value) for value, _ in found if value is not None]
    _results(fields, [status for _, status in found])


def _write_request(fields: Fields, body: Reader) -> None:
    def one() -> tuple[str, str, Any]:
        node, attribute = body.node(), body.u32()
        body.text()
        return node, t.ATTRIBUTES.get(attribute, str(attribute)), body.data_value()[0]

    found = _counted(fields, body, one)
    _told(fields, [(node, attribute) for node, attribute, _ in found])
    fields["opcua.values"] = [_value(value) for _, _, value in found if value is not None]


def _codes(fields: Fields, body: Reader) -> None:
    _results(fields, body.list_of(body.u32))


def _call_request(fields: Fields, body: Reader) -> None:
    def one() -> tuple[str, str, list[Any]]:
        return body.node(), body.node(), body.list_of(body.variant)

    found = _counted(fields, body, one)
    fields["opcua.nodes"] = [node for node, _, _ in found]
    fields["opcua.methods"] = [method for _, method, _ in found]
    fields["opcua.values"] = [_value(value) for _, _, values in found for value in values if value is not None]


def _call_response(fields: Fields, body: Reader) -> None:
    def one() -> int:
        status = body.u32()
        body.list_of(body.u32)
        body.list_of(body.diagnostics)
        body.list_of(body.variant)
        return status

    _results(fields, body.list_of(one))


def _browse_request(fields: Fields, body: Reader) -> None:
    def one() -> str:
        node = body.node()
        body.u32()
        body.node()
        body.take(9)
        return node

    body.node()
    body.take(16)
    fields["opcua.nodes"] = _counted(fields, body, one)


def _add_nodes_request(fields: Fields, body: Reader) -> None:
    def one() -> tuple[str, str]:
        parent = body.node()
        body.node()
        body.node()
        name = body.qualified_name()
        body.u32()
        body.extension()
        body.node()
        return parent, name

    found = _counted(fields, body, one)
    fields["opcua.nodes"] = [parent for parent, _ in found]
    fields["opcua.names"] = [name for _, name in found]


def _add_nodes_response(fields: Fields, body: Reader) -> None:
    _results(fields, [status for status, _ in body.list_of(lambda: (body.u32(), body.node()))])


def _delete_nodes(fields: Fields, body: Reader) -> None:
    fields["opcua.nodes"] = [node for node, _ in _counted(fields, body, lambda: (body.node(), body.octet()))]


def _monitor_request(fields: Fields, body: Reader) -> None:
    def one() -> tuple[str, str]:
        pair = _read_value(body)
        body.take(16)
        body.extension()
        body.take(5)
        return pair

    fields["opcua.subscription_id"] = body.u32()
    body.u32()
    _told(fields, _counted(fields, body, one))


def _subscription_request(fields: Fields, body: Reader) -> None:
    fields["opcua.publishing_interval"] = body.number("d")


def _subscription_response(fields: Fields, body: Reader) -> None:
    fields["opcua.subscription_id"] = body.u32()
    fields["opcua.publishing_interval"] = body.number("d")


_REQUESTS: dict[int, Callable[[Fields, Reader], None]] = {
    t.OPEN_SECURE_CHANNEL: _open_request,
    t.GET_ENDPOINTS: _get_endpoints,
    t.FIND_SERVERS: _get_endpoints,
    t.CREATE_SESSION: _create_session,
    t.ACTIVATE_SESSION: _activate_session,
    t.READ: _read_request,
    t.WRITE: _write_request,
    t.CALL: _call_request,
    t.BROWSE: _browse_request,
    t.ADD_NODES: _add_nodes_request,
    t.DELETE_NODES: _delete_nodes,
    t.CREATE_MONITORED_ITEMS: _monitor_request,
    t.CREATE_SUBSCRIPTION: _subscription_request,
}
_RESPONSES: dict[int, Callable[[Fields, Reader], None]] = {
    t.BY_REQUEST[t.OPEN_SECURE_CHANNEL].response: _open_response,
    t.BY_REQUEST[t.GET_ENDPOINTS].response: _endpoints,
    t.BY_REQUEST[t.CREATE_SESSION].response: _created_session,
    t.BY_REQUEST[t.READ].response: _read_response,
    t.BY_REQUEST[t.WRITE].response: _codes,
    t.BY_REQUEST[t.CALL].response: _call_response,
    t.BY_REQUEST[t.ADD_NODES].response: _add_nodes_response,
    t.BY_REQUEST[t.ADD_REFERENCES].response: _codes,
    t.BY_REQUEST[t.DELETE_NODES].response: _codes,
    t.BY_REQUEST[t.DELETE_REFERENCES].response: _codes,
    t.BY_REQUEST[t.CREATE_SUBSCRIPTION].response: _subscription_response,
}
