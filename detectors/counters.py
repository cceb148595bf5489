"""What the counters of a heartbeat mean, in both languages: the table behind the console's page and docs/sensor.md.

A name that begins with `*.` is of each interface ("eth1.frames"), one that ends with `.*` is a family ("events.dnp3").
A counter that is not here is shown under its name.
"""

from __future__ import annotations

from typing import NamedTuple

from detectors.finding import Text


class Meaning(NamedTuple):
    """group: where it stands on the page. trouble: anything but 0 wants a look."""

    group: str
    text: Text
    trouble: bool = False


GROUPS = {
    "traffic": Text("流量", "Traffic"),
    "loss": Text("丢失与上限", "Losses and limits"),
    "decoded": Text("解析", "Decoded"),
    "findings": Text("发现", "Findings"),
    "spool": Text("缓存与上传", "Spool and uplink"),
    "worker": Text("解析进程", "The process that decodes"),
    "config": Text("配置", "Configuration"),
    "sensor": Text("程序与时钟", "Program and clock"),
    "other": Text("其他", "Others"),
}


def _table() -> dict[str, Meaning]:
    rows: dict[str, Meaning] = {}

    def add(group: str, name: str, zh: str, en: str, *, trouble: bool = False) -> None:
        rows[name] = Meaning(group, Text(zh, en), trouble)

    add("traffic", "*.state", "接口状态", "state of the interface")
    add("traffic", "*.frames", "已检查的报文", "frames that were looked at")
    add("loss", "*.dropped", "接收缓冲区满而丢失的报文", "frames for which the buffer had no room", trouble=True)
    add("loss", "*.unread", "缓冲区中未能取出的报文", "frames in the buffer that could not be had", trouble=True)
    add(
        "loss",
        "*.lost_before",
        "此前被丢弃的报文",
        "frames dropped before they came to the buffer",
        trouble=True,
    )
    add("loss", "*.errors", "网卡报告的损坏报文", "damaged frames, by the interface", trouble=True)
    add("traffic", "*.sent", "本机在该接口发出的报文（应为 0）", "frames that this machine sent there (should be 0)")
    add("traffic", "frames", "解析器处理的报文", "frames that the decoder was given")
    add("traffic", "bytes", "其字节数", "their bytes")
    add("traffic", "ring.bytes", "原始报文占用磁盘字节数", "raw frames on disk, bytes")
    add("traffic", "ring.recorded", "已存盘的原始报文", "raw frames written")
    add("loss", "ring.skipped", "未能存盘的原始报文", "raw frames that were not written", trouble=True)
    add("traffic", "archive.files", "归档的文件数", "files of the archive")
    add("traffic", "archive.bytes", "归档占用磁盘字节数", "the archive on disk, bytes")
    add("traffic", "archive.compacted", "合并成日文件的小文件", "small files of the archive that became day files")
    add("traffic", "archive.removed", "因期限或空间而删除的归档文件", "files of the archive beyond its limits, removed")
    add("traffic", "archive.removed_events", "其中的事件数", "events that they held")
    add(
        "loss",
        "archive.upkeep_failed",
        "归档维护失败次数",
        "times that the archive could not be looked after",
        trouble=True,
    )
    add("loss", "gaps", "TCP 流中缺失的段落", "gaps in TCP streams")
    add("loss", "gap_bytes", "其字节数", "bytes missing in them")
    add("loss", "cut_frames", "被截短的报文", "frames that were cut short")
    for name, zh, en in (
        ("fragments_refused", "IP 分片过多", "IP fragments beyond the limit"),
        ("readings_refused", "分片的不同读法过多", "readings of fragments beyond the limit"),
        ("second_readings_refused", "重叠段的不同读法过多", "second readings of overlaps beyond the limit"),
        ("parks_refused", "等待前序段的数据过多", "segments that wait, beyond the limit"),
        ("holds_refused", "等待后续的消息过多", "beginnings that wait for the rest, beyond the limit"),
        ("assemblies_refused", "待拼装的消息过多", "messages to be assembled, beyond the limit"),
        ("conversations_refused", "会话表已满", "conversations beyond the limit"),
        ("behaviours_refused", "行为表已满", "behaviours beyond the limit"),
        ("waiting_retired", "等待应答的请求过多", "open requests beyond the limit"),
        ("assets_refused", "资产表已满", "devices beyond the limit"),
        ("behaviours_unreported", "行为汇总表已满", "behaviours in no report, beyond the limit"),
        ("slow_refused", "地址与名称类消息过多", "messages of slow protocols beyond the limit"),
        ("datagrams_retired", "待重组的数据报过多", "datagrams to be reassembled, beyond the limit"),
        ("overlaps_unchecked", "未能比对的重叠段", "overlaps that could not be compared"),
    ):
        add("loss", name, zh, en, trouble=name not in ("waiting_retired",))
    for name, zh, en in (
        ("not_ip", "非 IP 报文", "frames without IP"),
        ("ip_fragments", "IP 分片", "IP fragments"),
        ("datagrams_reassembled", "重组的数据报", "datagrams reassembled"),
        ("malformed", "格式错误的报文", "malformed frames"),
        ("segments", "TCP 段", "TCP segments"),
        ("retransmitted", "重传", "retransmitted segments"),
        ("out_of_order", "乱序段", "segments out of order"),
        ("overlaps", "内容冲突的重叠段", "overlaps that differ"),
        ("messages", "协议消息", "messages"),
        ("garbage", "无法识别的内容", "content that is no message"),
        ("unanswered", "无应答的请求", "requests without an answer"),
        ("renewed", "表将满而重新开始的次数", "times that full tables were begun anew"),
        ("events.*", "协议事件", "events of the protocol"),
    ):
        add("decoded", name, zh, en)
    add("findings", "findings.*", "该级别的发现记录", "records of findings of that level")
    add("findings", "findings_refused", "无法存入的发现", "findings that could not be kept", trouble=True)
    add("spool", "spool.depth", "等待发送的发现", "findings that wait")
    add("spool", "spool.bytes", "占用磁盘字节数", "bytes on disk")
    add("spool", "spool.shed", "因空间不足而舍弃的发现", "findings given up, for there was no room", trouble=True)
    add("spool", "spool.lost", "在磁盘上损坏的发现", "findings that were damaged on disk", trouble=True)
    add("spool", "uplink.sent", "已送达的发现", "findings that the console has taken over")
    add("spool", "uplink.sent_ahead", "其中优先发送的", "of them those that went ahead")
    add("spool", "uplink.rejected", "被控制台拒绝的发现", "findings that the console would not store", trouble=True)
    add("spool", "uplink.retries", "重试次数", "retries")
    add("spool", "reports.assets", "已上报的资产记录", "records of devices that the console has taken")
    add("spool", "reports.behaviours", "已上报的行为记录", "records of who does what to whom, likewise")
    add("spool", "reports.waiting", "等待上报的资产与行为", "records of both that wait")
    add("spool", "reports.refused", "被控制台拒绝的资产与行为", "records that it would not store", trouble=True)
    add("spool", "reports.dropped", "因过多而未上报的资产与行为", "records for which there was no room", trouble=True)
    for name, zh, en in (
        ("hang", "停滞", "hangs"), ("crash", "崩溃", "crashes"), ("memory", "内存超限", "too much memory"),
        ("exception", "异常", "exceptions"),
    ):  # fmt: skip
        add("worker", f"parser_faults.{name}", f"解析故障：{zh}", f"faults: {en}", trouble=True)
    add("worker", "worker.restarts", "重新启动的次数", "processes that were begun anew", trouble=True)
    add("worker", "worker.learned_anew", "自学内容重新学习的次数", "times that what was learned was lost", trouble=True)
    add("worker", "worker.frames_waiting", "等待解析的报文", "frames on their way to it")
    add("worker", "worker.cpu_s", "处理器秒数", "processor time, seconds")
    add("worker", "worker.held", "生效的限制", "what confines it")
    add("worker", "quarantine.frames", "被隔离的报文", "frames set aside", trouble=True)
    add("worker", "quarantine.batches", "被隔离的批次", "batches set aside", trouble=True)
    add("worker", "quarantine.bytes", "隔离目录字节数", "bytes of the folder")
    add("worker", "quarantine.unwritten", "未能写入隔离目录的批次", "batches that could not be written", trouble=True)
    add("worker", "quarantine.removed", "为腾出空间而删除的批次", "batches removed to make room")
    add("config", "config.version", "生效的版本", "version in force")
    add("config", "config.since", "生效时间（1970 年起秒数）", "since when, seconds since 1970")
    add("config", "config.key", "所信任的控制台密钥", "key of the console that is trusted")
    add("config", "config.refusals", "拒绝次数", "refusals", trouble=True)
    add("config", "config.refused", "最近被拒绝的版本", "version that was refused last")
    add("config", "config.reason", "拒绝的原因", "why")
    add("sensor", "sensor.version", "探针版本", "version of the sensor")
    add("sensor", "sensor.python", "Python 版本", "version of Python")
    add("sensor", "sensor.kernel", "内核版本", "version of the kernel")
    add("sensor", "sensor.started", "启动时间（1970 年起秒数）", "started, seconds since 1970")
    add("sensor", "sensor.uptime_s", "运行秒数", "seconds since then")
    add("sensor", "sensor.cpu_s", "主进程处理器秒数", "processor time of the main process, seconds")
    add("sensor", "sensor.memory_peak", "主进程内存峰值字节数", "largest memory of the main process, bytes")
    add("sensor", "sensor.time", "发出心跳时的本机时间", "its time when the heartbeat left")
    add("sensor", "clock.wall", "本机时间（1970 年起秒数）", "its time, seconds since 1970")
    add("sensor", "clock.jumps", "时钟被调整的次数", "times that its clock was set", trouble=True)
    add("sensor", "clock.last_jump_s", "最近一次调整的秒数", "by how many seconds, the last time")
    add("sensor", "clock.skew_s", "比控制台快的秒数", "seconds that it is ahead of the console")
    return rows


COUNTERS = _table()


def meaning_of(name: str) -> Meaning | None:
    """What a counter means; None where it is not known."""
    first, _, rest = name.partition(".")
    known = COUNTERS.get(name) or COUNTERS.get(f"{first}.*")
    return known or (COUNTERS.get(f"*.{name.rpartition('.')[2]}") if rest else None)
