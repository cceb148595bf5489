"""Roles of assets and verbs of operations in words for people. Nothing here needs the decoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from detectors.finding import Text

NAMES: Mapping[str, Text] = {
    "controller": Text("控制器", "controller"),
    "gateway": Text("网关或数据集中器", "gateway or concentrator"),
    "engineering": Text("工程师站", "engineering station"),
    "master": Text("上位机（主站）", "HMI or master"),
    "reader": Text("只读客户端（历史站等）", "reader, such as a historian"),
    "publisher": Text("发布者", "publisher"),
    "router": Text("路由器", "router"),
    "network": Text("网络设备", "network device"),
    "host": Text("其他主机", "other host"),
}
VERBS: Mapping[str, Text] = {
    "read": Text("读取", "read"),
    "write": Text("写入", "write"),
    "command": Text("控制", "command"),
    "identify": Text("查询身份", "identify"),
    "diagnose": Text("诊断", "diagnose"),
    "program-up": Text("上传程序", "program upload"),
    "program-down": Text("下载程序", "program download"),
    "start": Text("启动", "start"),
    "stop": Text("停止", "stop"),
    "restart": Text("重启", "restart"),
    "silence": Text("使其静默", "silence"),
    "time-set": Text("对时", "set clock"),
    "configure": Text("配置", "configure"),
    "file": Text("文件", "file"),
    "authenticate": Text("认证", "authenticate"),
    "session": Text("会话", "session"),
    "report": Text("上报", "report"),
    "unknown": Text("未知功能", "unknown"),
}


def words(verbs: Iterable[str]) -> Text:
    """Verbs of sensor/operations.py for people."""
    named = [VERBS.get(verb, Text(verb, verb)) for verb in sorted(verbs)]
    return Text("、".join(text.zh for text in named), ", ".join(text.en for text in named))
