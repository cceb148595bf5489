"""What people do with a baseline: read it line by line, decide, compare two of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from detectors.baseline.book import Baseline, ExchangeLine, HostLine, State, Way, dangerous
from detectors.baseline.store import station_text
from detectors.finding import Text, rfc3339
from detectors.wording import listed, safe

AnyLine = HostLine | ExchangeLine

STATES = {
    State.LEARNED: Text("待批准", "not approved"),
    State.APPROVED: Text("已批准", "approved"),
    State.REFUSED: Text("已拒绝", "refused"),
}
CHANGING = frozenset({"write", "control", "critical", "engineering"})  # classes of operations that change something


def doubts(baseline: Baseline) -> dict[str, Text]:
    """Lines that must not be approved in passing, with the reason: those need an approval that names them."""
    lines = baseline.exchanges.values()
    asked = {it.server for it in lines if it.way is Way.ASKS}
    regular = {it.client for it in lines if it.period_s}
    visitors = {it.client for it in lines if dangerous(it)} - regular
    visited = Text(
        "该主机没有规律的通信，学习期间却做过危险操作",
        "a host without any rhythm that did something dangerous while learning",
    )
    found = {name: visited for name, host in baseline.hosts.items() if host.address in visitors}
    for name, line in baseline.exchanges.items():
        if dangerous(line):
            found[name] = Text(
                "危险操作：学习期间见过，须逐行批准", "dangerous operation, seen while learning: needs its own approval"
            )
        elif line.client in visitors:
            found[name] = visited
        elif line.kind in CHANGING and line.client in asked:
            found[name] = Text(
                "下命令的主机自己也被轮询：现场设备通常不会这样",
                "who commands is itself polled: field devices seldom do",
            )
    return found


def said(line: AnyLine) -> Text:
    """A line as a sentence."""
    if isinstance(line, HostLine):
        macs = listed(line.macs)
        zh = "、".join(["发起请求"] * line.asks + ["被访问"] * line.asked) or "仅见地址"
        en = " and ".join(["asks"] * line.asks + ["is asked"] * line.asked) or "address only"
        return Text(
            f"主机 {safe(line.address)}：{zh}" + (f"，硬件地址 {macs}" if macs else ""),
            f"host {safe(line.address)}: {en}" + (f", hardware address {macs}" if macs else ""),
        )
    station = station_text(line.protocol, line.station)
    where = safe(line.server) + (f" [{station}]" if station else "")
    objects = listed(line.objects.words(), limit=6)
    verb = Text("向", "asks") if line.way is Way.ASKS else Text("收到来自", "is told by")
    zh = f"{safe(line.client)} {verb.zh} {where} {'请求' if line.way is Way.ASKS else '的'} {safe(line.name)}"
    en = f"{safe(line.client)} {verb.en} {where}: {safe(line.name)}"
    more_zh, more_en = [], []
    if objects:
        more_zh.append(f"对象 {objects}")
        more_en.append(f"objects {objects}")
    if line.values:
        low, high = line.values
        more_zh.append(f"写入值 {low} 到 {high}")
        more_en.append(f"values written {low} to {high}")
    if line.period_s:
        more_zh.append(f"每 {line.period_s:.3g} 秒一次（抖动 {line.jitter_s:.2g} 秒）")
        more_en.append(f"every {line.period_s:.3g} s (jitter {line.jitter_s:.2g} s)")
    return Text("；".join([zh, *more_zh]), "; ".join([en, *more_en]))


def report(baseline: Baseline, lang: str) -> Iterator[str]:
    """The baseline line by line, in words; at its end what is still to be decided."""
    zh = lang == "zh"
    odd = doubts(baseline)
    span = f"{rfc3339(baseline.first_ns)} – {rfc3339(baseline.last_ns)}"
    yield (f"学习自 {span}：{listed(baseline.sources)}" if zh else f"Learned {span} from {listed(baseline.sources)}")
    for name, line in baseline:
        text, state = said(line), STATES[line.state]
        doubt = odd.get(name)
        head = f"{name}  [{state.zh if zh else state.en}]  {text.zh if zh else text.en}"
        since, until = rfc3339(line.first_ns), rfc3339(line.last_ns)
        often = "once" if line.count == 1 else f"{line.count} times"
        times = f"{line.count} 次，{since} 至 {until}" if zh else f"{often}, {since} to {until}"
        yield head
        yield f"            {times}" + (f" · {listed(line.evidence)}" if line.evidence else "")
        if doubt and line.state is State.LEARNED:
            yield f"            ! {doubt.zh if zh else doubt.en}" + (
                f" ({line.operation})" if isinstance(line, ExchangeLine) and line.operation else ""
            )
        if line.state is not State.LEARNED:
            yield f"            {safe(line.by)}, {rfc3339(line.decided_ns)}: {safe(line.reason)}"
    yield from _summary(baseline, odd, zh=zh)


def _summary(baseline: Baseline, odd: dict[str, Text], *, zh: bool) -> Iterator[str]:
    counts = {state: sum(line.state is state for _, line in baseline) for state in State}
    waiting = [name for name, line in baseline if line.state is State.LEARNED and name in odd]
    if zh:
        yield (
            f"共 {len(baseline)} 行：已批准 {counts[State.APPROVED]}，待批准 {counts[State.LEARNED]}"
            f"（其中须逐行批准 {len(waiting)}），已拒绝 {counts[State.REFUSED]}。"
        )
        if baseline.left_out:
            yield f"另有 {baseline.left_out} 种往来超出上限，没有学习：请检查学习期间是否有扫描或洪泛。"
    else:
        yield (
            f"{len(baseline)} lines: {counts[State.APPROVED]} approved, {counts[State.LEARNED]} not approved"
            f" ({len(waiting)} of them need an approval of their own), {counts[State.REFUSED]} refused."
        )
        if baseline.left_out:
            yield f"{baseline.left_out} exchanges were beyond the limit and not learned: was there a scan or a flood?"


def decide(
    baseline: Baseline, names: Sequence[str], state: State, by: str, reason: str, now_ns: int, *, all_safe: bool = False
) -> list[str]:
    """Approve or refuse lines by id; all_safe: also every undecided line without doubts. The ids that were decided.

    KeyError names a line that is not there; then nothing is decided.
    """
    for name in names:
        if baseline.get(name) is None:
            raise KeyError(name)
    chosen = list(names)
    if all_safe:
        odd = doubts(baseline)
        chosen += [name for name, line in baseline if line.state is State.LEARNED and name not in odd]
    chosen = list(dict.fromkeys(chosen))
    for name in chosen:
        line = baseline.get(name)
        if line is not None:
            line.decide(state, by, reason, now_ns)
    return chosen


def difference(old: Baseline, new: Baseline, lang: str) -> Iterator[str]:
    """What `new` has more (+), less (-) and otherwise (~) than `old`; counts and times do not matter."""
    zh = lang == "zh"
    names = {name for name, _ in old} | {name for name, _ in new}
    for name in sorted(names, key=lambda it: (old.get(it) or new.get(it)).identity):  # type: ignore[union-attr]
        before, after = old.get(name), new.get(name)
        if before is None or after is None:
            line = after or before
            if line is not None:
                text = said(line)
                yield f"{'+' if before is None else '-'} {name}  {text.zh if zh else text.en}"
        elif changes := list(_changes(before, after)):
            text = said(after)
            yield f"~ {name}  {text.zh if zh else text.en}"
            yield from (f"      {change.zh if zh else change.en}" for change in changes)


def _changes(before: AnyLine, after: AnyLine) -> Iterator[Text]:
    if before.state is not after.state:
        old, new = STATES[before.state], STATES[after.state]
        yield Text(f"状态：{old.zh} → {new.zh}", f"state: {old.en} -> {new.en}")
    if isinstance(before, HostLine) and isinstance(after, HostLine) and before.macs != after.macs:
        yield _from_to(Text("硬件地址", "hardware address"), listed(before.macs), listed(after.macs))
    if isinstance(before, ExchangeLine) and isinstance(after, ExchangeLine):
        old_words, new_words = listed(before.objects.words(), limit=64), listed(after.objects.words(), limit=64)
        if old_words != new_words:
            yield _from_to(Text("对象", "objects"), old_words, new_words)
        if before.values != after.values:
            yield _from_to(Text("写入值", "values written"), str(before.values or "-"), str(after.values or "-"))
        slower, faster = max(before.period_s, after.period_s), min(before.period_s, after.period_s)
        if slower > RHYTHM_CHANGED * faster:
            yield _from_to(Text("周期", "period"), f"{before.period_s:.3g} s", f"{after.period_s:.3g} s")


RHYTHM_CHANGED = 1.5  # times as long: less is the same rhythm


def _from_to(what: Text, old: str, new: str) -> Text:
    return Text(f"{what.zh}：{old or '-'} → {new or '-'}", f"{what.en}: {old or '-'} -> {new or '-'}")
