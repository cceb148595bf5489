"""What `fenghuo carve` does: captures in, blocks and files out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TextIO

from detectors.carving.artifact import Artifact
from detectors.carving.carver import Carving, Watcher
from detectors.carving.store import Store
from detectors.contract import Scene
from detectors.finding import Finding, Text, rfc3339
from detectors.pipeline import Options, Pipeline
from detectors.wording import safe
from sensor.capture.ahead import ahead
from sensor.capture.source import CaptureError, open_capture

KINDS = {
    "s7-block": Text("S7 程序块", "S7 block"),
    "umas-program": Text("施耐德程序", "Schneider program"),
    "dnp3-file": Text("DNP3 文件", "DNP3 file"),
    "modbus-file": Text("Modbus 文件记录", "Modbus file"),
    "ftp-file": Text("FTP 文件", "FTP file"),
    "tftp-file": Text("TFTP 文件", "TFTP file"),
    "http-body": Text("HTTP 内容", "HTTP body"),
}


def carve(
    paths: Sequence[str],
    folder: Path | None,
    *,
    form: str,
    lang: str,
    out: TextIO,
    complain: Callable[[object], None],
) -> int:
    """List what crossed the wire in captures, one line each, and keep it in `folder`; the exit code.

    form: "text" or "jsonl". OSError where the folder cannot be used.
    """
    store = Store(folder) if folder else None
    worst = found = 0
    for path in paths:
        try:
            capture = open_capture(path)
        except CaptureError as error:
            complain(error)
            worst = 2
            continue
        listed: list[Artifact] = []

        def take(artifact: Artifact, _: Scene, listed: list[Artifact] = listed) -> Iterable[Finding]:
            listed.append(artifact)
            return ()

        carving = Carving(store, [Watcher(take, lambda *_: ())])
        for finding in Pipeline(Options(), [carving]).run(ahead(capture)):
            if finding.rule_id in ("carving.limit", "detector.failed"):
                complain(finding.explanation.zh if lang == "zh" else finding.explanation.en)
                worst = max(worst, 1)
        for artifact in listed:
            found += 1
            named = {"capture": path} if len(paths) > 1 else {}
            if form == "jsonl":
                out.write(json.dumps(named | artifact.describe(), ensure_ascii=False, default=str) + "\n")
            else:
                out.write(line(artifact, lang, store) + "\n")
        for warning in capture.warnings:
            complain(warning)
    if form == "text" and not found:
        out.write(("没有程序块或文件\n") if lang == "zh" else "no blocks or files\n")
    return worst


def line(artifact: Artifact, lang: str, store: Store | None) -> str:
    """One artifact for people."""
    zh = lang == "zh"
    kind = KINDS[artifact.kind]
    size = f"{len(artifact.data)} {'字节' if zh else 'octets'}"
    state = ""
    if not artifact.complete:
        why = Text(f"缺 {artifact.missing} 字节", f"{artifact.missing} octets missing")
        if not artifact.missing:
            why = Text("未见结尾", "its end was not seen")
        state = f"，不完整（{why.zh}）" if zh else f", incomplete ({why.en})"
    where = store.path(artifact.sha256) if store else artifact.sha256
    when = rfc3339(artifact.first_ns)[:19].replace("T", " ")
    return (
        f"{when} UTC  {kind.zh if zh else kind.en}  {safe(artifact.name)}  "
        f"{artifact.source} -> {artifact.destination}  {size}{state}  {where}"
    )
