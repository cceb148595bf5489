"""What a hunt found, for people and for programs: rows as they come, then the sums."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TextIO

from detectors.finding import Text, rfc3339
from detectors.hunting.search import Hit, Search
from detectors.wording import safe

_BESIDES = ("archive.", "source.", "destination.", "network.", "event.")
_SHOWN = ("event.action", "event.outcome", "artifact.kind", "artifact.name", "artifact.sha256")
MAX_SHOWN = 6  # fields of the protocol in one line of text
_HEAD = {
    "none": Text("没有找到。", "Nothing found."),
    "more": Text("未列出的还有 {0} 行（--limit 0 列出全部）", "{0} more rows are not listed (--limit 0 lists all)"),
    "read": Text("存档 {1} 个文件中读了 {0} 个。", "{0} of {1} files of the archive were read."),
    "shy": Text(
        "有 {0} 个事件属于洪泛中未展开的行为，只能按协议码查找。",
        "{0} events belong to behaviours of a flood of which only codes were kept.",
    ),
    "unsure": Text(
        "条件涉及单个事件的值；可能符合的行为共有 {0} 个事件，其中只保存了选出的。",
        "The condition asks for values of single events: behaviours with {0} events may match it, of which only chosen"
        " events were kept.",
    ),
    "total": Text("{0}：{1} 个事件，{2} 行，{3} 至 {4}", "{0}: {1} events in {2} rows, {3} to {4}"),
}


class Listing:
    """Writes what was found in one language. form: "text" or "jsonl"."""

    def __init__(self, out: TextIO, form: str, lang: str, origins: Mapping[str, Mapping[str, Any]]) -> None:
        """origins: what is known of each, by id: see Catalogue.origins."""
        self._out, self._form, self._lang, self._origins = out, form, lang, origins
        self._listed = 0

    def hit(self, hit: Hit) -> None:
        """One row."""
        self._listed += 1
        origin = self._origins.get(hit.line.get("archive.origin", ""), {})
        if self._form == "jsonl":
            line = {"hunt.name": hit.name, "hunt.title": hit.title, "hunt.rows": hit.kind, **hit.line}
            line |= {f"origin.{name}": value for name, value in origin.items()}
            self._write(json.dumps({k: v for k, v in line.items() if v != ""}, ensure_ascii=False, default=str))
            return
        self._write(f"{hit.name}  {_sentence(hit.line)}  {_lineage(hit.line, origin)}")

    def end(self, search: Search) -> None:
        """The sums, and what a reader must know to judge them."""
        if self._form == "jsonl":
            for name, total in sorted(search.totals.items()):
                sums = {"hunt.total": name, "rows": total.rows, "events": total.events, "files": total.files}
                times = {"first": rfc3339(total.first_ns), "last": rfc3339(total.last_ns)}
                self._write(json.dumps(sums | times, ensure_ascii=False))
            return
        for name, total in sorted(search.totals.items(), key=lambda it: -it[1].events):
            span = (rfc3339(total.first_ns), rfc3339(total.last_ns))
            self._write("= " + self._say("total", safe(name, 200), f"{total.events:,}", f"{total.rows:,}", *span))
        if not search.totals:
            self._write(self._say("none"))
        more = sum(it.rows for it in search.totals.values()) - self._listed
        for key, number in (("more", more), ("shy", search.shy), ("unsure", search.unsure)):
            if number:
                self._write(self._say(key, f"{number:,}"))
        self._write(self._say("read", search.opened, search.files))

    def _say(self, key: str, *values: object) -> str:
        text = _HEAD[key]
        return (text.zh if self._lang == "zh" else text.en).format(*values)

    def _write(self, line: str) -> None:
        self._out.write(line + "\n")


def _sentence(line: Mapping[str, Any]) -> str:
    """Who, whom, what, how often."""
    ends = []
    for side in ("source", "destination"):
        address = line.get(f"{side}.ip") or line.get(f"{side}.mac") or "?"
        port = line.get(f"{side}.port")
        ends.append(f"{safe(address)}:{port}" if port is not None else safe(address))
    own = [name for name in line if not name.startswith(_BESIDES) and "." in name]
    words = [safe(line[name], 80) for name in _SHOWN if name in line]
    words += [f"{name}={safe(line[name], 80)}" for name in own[:MAX_SHOWN] if name not in _SHOWN]
    times = f"×{line['archive.count']:,}" if "archive.count" in line else line.get("archive.kept_for", "")
    return (
        f"{line['@timestamp'][:19]}Z {times} {' -> '.join(ends)} {line.get('network.protocol', '?')} {' '.join(words)}"
    )


def _lineage(line: Mapping[str, Any], origin: Mapping[str, Any]) -> str:
    """The way back to frames."""
    path = safe(origin.get("path", "?"), 200)
    if "frame" not in line:
        return f"[{path}]"
    last = line.get("archive.frame_last", line["frame"])
    frames = f"frame {line['frame']}" if last == line["frame"] else f"frames {line['frame']}-{last}"
    ring = f", ring {safe(origin['ring'], 200)}" if origin.get("ring") else ""
    return f"[{path} {frames}{ring}]"
