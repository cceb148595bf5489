"""Samples of rules: little dialogues that a rule must match, and near misses that it must not.

    samples = load_samples(rules_folder() / "samples")          # rule name -> its samples

A sample is written in words and hexadecimal (docs/rules.md, "Samples"). `sample_frames.py` makes frames of it,
`sample_run.py` sends these through the decoder and the detectors.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectors.content import Block, ContentError, load
from detectors.sigma.envelopes import ENVELOPES, Envelope, Said, ber

MAX_MESSAGES = 20_000  # of one sample: more is a capture
MAX_BODY = 1400  # octets of one message: each travels in one frame
STEP_NS = 5_000_000  # between two messages
HOSTS = 99  # clients and servers of one sample

_STEP = re.compile(r"(?P<way>>>|<<|>|<)\s*(?P<options>(?:[a-z]+=\S+(?:\s+|$))*)(?P<body>.*)", re.DOTALL)
_WAIT = re.compile(r"wait\s+(\d+(?:\.\d+)?)")
_COUNTER = re.compile(r"\{n(?:([+*])(\d+))?(?::(8|16|24|32)(le)?)?\}")
_PIECE = re.compile(r"\s+|'([^']*)'|\(|\)|([0-9a-fA-F]{2})")


@dataclass(frozen=True, slots=True)
class Step:
    """One message: who says it to whom, and its text with counters filled in."""

    by_client: bool
    asks: bool
    body: bytes
    rest: bytes
    client: int
    server: int
    options: Mapping[str, int]
    at_ns: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of a rule.

    title: in words. matches: whether the rule must match. steps: what is said; or capture: a file instead.
    """

    rule: str
    title: str
    matches: bool
    protocol: str
    steps: tuple[Step, ...] = ()
    capture: Path | None = None
    path: str = ""
    line: int = 0


def _octets(text: str) -> bytes:
    """Hexadecimal with 'text' and ( ... ), which puts the length before what it holds, as BER does."""
    levels: list[bytearray] = [bytearray()]
    at = 0
    while at < len(text):
        piece = _PIECE.match(text, at)
        if piece is None:
            raise ValueError(f"expected pairs of hexadecimal digits, 'text' or brackets at {text[at : at + 12]!r}")
        at = piece.end()
        if piece[0] == "(":
            levels.append(bytearray())
        elif piece[0] == ")":
            if len(levels) == 1:
                raise ValueError("a bracket is closed that was not opened")
            inner = levels.pop()
            levels[-1] += ber(b"", bytes(inner))
        elif piece[2]:
            levels[-1].append(int(piece[2], 16))
        elif piece[1] is not None:
            levels[-1] += piece[1].encode("latin-1", "strict")
    if len(levels) > 1:
        raise ValueError("a bracket is not closed")
    return bytes(levels[0])


def _counted(text: str, n: int, *, digits: bool) -> str:
    """The text with its counters filled in: as octets in hexadecimal, or (digits) as a decimal number."""

    def value(counter: re.Match[str]) -> str:
        how, by, bits, order = counter.groups()
        number = n + int(by) if how == "+" else n * int(by) if how == "*" else n
        if digits:
            return str(number)
        size = int(bits or 8) // 8
        return (number % (1 << 8 * size)).to_bytes(size, "little" if order else "big").hex()

    return _COUNTER.sub(value, text)


class _Reader:
    """Turns the lines of one sample into steps, with a clock."""

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.now_ns = 0
        self.steps: list[Step] = []

    def read(self, lines: object, n: int = 0) -> None:
        """Take lines; ValueError says what is wrong."""
        if not isinstance(lines, list) or not lines:
            raise ValueError("expected a list of lines")
        for line in lines:
            if isinstance(line, Mapping):
                self._repeat(line)
            elif isinstance(line, str):
                self._line(line.strip(), n)
            else:
                raise ValueError(f"expected a line of text or a repetition, got {line!r}")

    def _repeat(self, given: Mapping[str, Any]) -> None:
        times, every = given.get("repeat"), given.get("every", 0)
        if set(given) - {"repeat", "every", "say"} or not isinstance(times, int) or not isinstance(every, (int, float)):
            raise ValueError("a repetition has `repeat` (how often), `every` (seconds) and `say` (lines)")
        for n in range(times):
            begins = self.now_ns
            self.read(given.get("say"), n)
            self.now_ns = max(self.now_ns, begins + int(every * 10**9))

    def _line(self, line: str, n: int) -> None:
        if wait := _WAIT.fullmatch(line):
            self.now_ns += int(float(wait[1]) * 10**9)
            return
        step = _STEP.fullmatch(line)
        if step is None:
            raise ValueError(f"expected a line that begins with >, <, <<, >> or wait, got {line!r}")
        options: dict[str, int] = {}
        for option in step["options"].split():
            name, _, value = option.partition("=")
            if name not in {"from", "to", *self.envelope.options}:
                known = ", ".join(sorted({"from", "to", *self.envelope.options}))
                raise ValueError(f"unknown option {name!r}, expected one of: {known}")
            options[name] = int(_counted(value, n, digits=True), 0)
        client, server = options.pop("from", 1), options.pop("to", 1)
        if not (1 <= client <= HOSTS and 1 <= server <= HOSTS):
            raise ValueError(f"from and to count hosts from 1 to {HOSTS}")
        body, _, rest = _counted(step["body"], n, digits=False).partition("|")
        way = step["way"]
        said = Step(
            way[0] == ">", way in (">", "<<"), _octets(body), _octets(rest), client, server, options, self.now_ns
        )
        if len(said.body) + len(said.rest) > MAX_BODY:
            raise ValueError(f"a message has at most {MAX_BODY} octets")
        try:
            self.envelope.put(Said(said.body, said.rest, said.asks, said.by_client, options=options))
        except (struct.error, OverflowError, ValueError, IndexError) as error:
            raise ValueError(f"{line!r} cannot be put into a message: {error}") from None
        if len(self.steps) == MAX_MESSAGES:
            raise ValueError(f"a sample has at most {MAX_MESSAGES} messages")
        self.steps.append(said)
        self.now_ns += STEP_NS


def _sample(block: Block, title: str, rule: str, matches: bool, protocol: str) -> Sample:
    given, line = block[title], block.lines[title]
    if isinstance(given, str):
        return Sample(rule, title, matches, protocol, (), Path(block.path).parent / given, block.path, line)
    reader = _Reader(ENVELOPES[protocol])
    try:
        reader.read(given)
    except (ValueError, UnicodeEncodeError) as error:
        raise block.error(f"{rule}: {error}", title) from None
    return Sample(rule, title, matches, protocol, tuple(reader.steps), None, block.path, line)


def load_file(path: Path) -> dict[str, tuple[Sample, ...]]:
    """The samples in one file, by the name of their rule; ContentError says file and line."""
    content = load(path)
    content.only("protocol", "samples")
    protocol = content.text("protocol")
    if protocol not in ENVELOPES:
        raise content.error(f"unknown protocol {protocol!r}, expected one of: {', '.join(ENVELOPES)}", "protocol")
    samples: dict[str, tuple[Sample, ...]] = {}
    rules = content.block("samples")
    for rule in rules:
        block = rules.block(rule)
        block.only("match", "miss")
        samples[rule] = tuple(
            _sample(block.block(key), title, rule, key == "match", protocol)
            for key in ("match", "miss")
            if key in block
            for title in block.block(key)
        )
    return samples


def load_samples(folder: Path) -> dict[str, tuple[Sample, ...]]:
    """All samples of a folder, by the name of their rule; ContentError says file and line."""
    samples: dict[str, tuple[Sample, ...]] = {}
    for path in sorted(folder.glob("*.yaml")):
        for rule, found in load_file(path).items():
            if rule in samples:
                raise ContentError(path, found[0].line if found else 0, f"{rule} has samples in two files")
            samples[rule] = found
    return samples
