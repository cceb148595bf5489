"""FTP control connections (RFC 959, RFC 2428): which data connection will carry which file. Passwords are skipped."""

from __future__ import annotations

import re
from dataclasses import dataclass

from detectors.wording import safe

MAX_LINE = 4096
_PORT = re.compile(rb"\(?(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})\)?")
_EXTENDED = re.compile(rb"\((.)\1\1(\d{1,5})\1\)")
_EPRT = re.compile(rb"(.)(\d)\1([0-9a-fA-F.:]{2,45})\1(\d{1,5})\1")
_FILE_COMMANDS = {b"RETR": False, b"STOR": True, b"STOU": True, b"APPE": True}  # command -> into the server


@dataclass(slots=True)
class Expected:
    """A data connection to come: where it listens, and what it will carry."""

    host: str
    port: int
    client: str
    server: str
    name: str = ""
    to_server: bool = False


class Control:
    """One control connection between `client` and `server`; `expected` is the data connection agreed on last."""

    def __init__(self, client: str, server: str) -> None:
        self.client, self.server = client, server
        self._buffers = {True: bytearray(), False: bytearray()}
        self._current: Expected | None = None

    def add(self, data: bytes, *, from_client: bool) -> Expected | None:
        """Use octets in order; gives a data connection that was agreed on, once."""
        buffer = self._buffers[from_client]
        buffer += data
        made = None
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end]).rstrip(b"\r")
            del buffer[: end + 1]
            agreed = self._command(line) if from_client else self._reply(line)
            made = agreed or made
        if len(buffer) > MAX_LINE:
            del buffer[:]
        return made

    def _command(self, line: bytes) -> Expected | None:
        word, _, argument = line.partition(b" ")
        word = word.upper()
        if word == b"PORT" and (found := _PORT.search(argument)):
            numbers = [int(part) for part in found.groups()]
            return self._agree(".".join(map(str, numbers[:4])), numbers[4] * 256 + numbers[5])
        if word == b"EPRT" and (found := _EPRT.search(argument)):
            return self._agree(found.group(3).decode("ascii"), int(found.group(4)))
        if word in _FILE_COMMANDS and self._current is not None:
            self._current.name = safe(argument.decode("utf-8", "replace").strip() or "?", 120)
            self._current.to_server = _FILE_COMMANDS[word]
        return None

    def _reply(self, line: bytes) -> Expected | None:
        if line.startswith(b"227") and (found := _PORT.search(line[3:])):
            numbers = [int(part) for part in found.groups()]
            return self._agree(self.server, numbers[4] * 256 + numbers[5])
        if line.startswith(b"229") and (found := _EXTENDED.search(line)):
            return self._agree(self.server, int(found.group(2)))
        return None

    def _agree(self, host: str, port: int) -> Expected | None:
        if not 0 < port < 65536:
            return None
        self._current = Expected(host, port, self.client, self.server)
        return self._current
