"""The steps that engineering operations are made of, and which step a request is.

The codes are explained in the sensor's protocol files. A step is *core* when two different ones within a session make
an operation of several steps; the others (a look at the list of blocks, a password, a mode that the controller reports)
belong to an operation only where core steps make one. Restarts by DNP3, IEC 60870-5-104 and BACnet are commands of
operators as well, so that there they only join.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.finding import Severity, Text
from sensor.decode.pdu import Kind, Outcome, Protocol, family


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of step.

    core: see the module. techniques, severity: what it adds to the operation.
    rules: last part of the ids of the operation rules that it stands for: findings of these are
    part of the operation.
    """

    id: str
    name: Text
    core: bool
    techniques: tuple[str, ...]
    severity: Severity
    rules: frozenset[str]


def _step(step_id: str, zh: str, en: str, techniques: str, rules: str, **more: Any) -> Step:
    severity, core = more.get("severity", Severity.INFORMATIONAL), more.get("core", True)
    return Step(step_id, Text(zh, en), core, tuple(techniques.split()), severity, frozenset(rules.split()))


_LOOKS = {"core": False}
_GRAVE = {"severity": Severity.CRITICAL}
RESERVE = _step("reserve", "占用控制器", "reservation", "T0855", "umas-reservation")
RELEASE = _step("release", "释放占用", "release of the reservation", "", "umas-reservation umas-session", **_LOOKS)
PASSWORD = _step("password", "提交口令", "password", "T0859", "password", **_LOOKS)
LIST = _step("list", "查看程序块目录", "look at the list of blocks", "T0888", "list-blocks read-system-state", **_LOOKS)
VIEW = _step("view", "在线监视", "on-line view", "T0868", "online-view job-control", **_LOOKS)
BREAKPOINT = _step("breakpoint", "设断点", "breakpoint", "T0858", "breakpoint", **_LOOKS)
STOP = _step("stop", "停机", "stop", "T0858", "stop umas-stop", **_GRAVE)
START = _step("start", "启动", "start", "T0858", "start umas-start")
COLD_START = _step("cold-start", "冷启动", "cold start", "T0858 T0816", "cold-start")
RESTART = _step("restart", "重启", "restart", "T0816", "reset-device restart reset")
RESTART_JOINS = _step(
    "restart", "重启", "restart", "T0816", "restart cold-restart warm-restart reset-process", **_LOOKS
)
STOP_JOINS = _step("stop", "停止应用", "stop of the application", "T0858", "stop-application", **_LOOKS, **_GRAVE)
START_JOINS = _step(
    "start", "启动应用", "start of the application", "T0858", "start-application initialise-data", **_LOOKS
)
DELETE = _step("delete", "删除", "deletion", "T0889 T0809", "delete-block delete")
DOWNLOAD = _step("download", "下载", "download", "T0843", "download program-download nc-download umas-program-download")
ACTIVATE = _step("activate", "激活", "activation", "T0889 T0843", "insert-block")
UPLOAD = _step("upload", "读出", "upload", "T0845", "upload program-upload nc-upload umas-program-upload")
COMPRESS = _step("compress", "压缩存储器", "memory compression", "T0889", "compress-memory")
COPY_TO_ROM = _step("copy-to-rom", "RAM 复制到 ROM", "copy of RAM to ROM", "T0889", "copy-ram-to-rom")
MEMORY_RESET = _step("memory-reset", "清除存储器", "memory reset", "T0809 T0858", "memory-reset", **_GRAVE)
PROGRAM_SERVICE = _step("service", "程序服务", "program service", "T0855", "program-service", **_LOOKS)
FILE_OPEN = _step("file-open", "打开或关闭文件", "opening or closing of files", "", "file-transfer", **_LOOKS)
FILE_READ = _step("file-read", "读文件", "reading of files", "", "read-file-record read-file file-upload file-transfer")
FILE_WRITE = _step(
    "file-write",
    "写文件",
    "writing of files",
    "T0836",
    "write-file-record open-file-write write-file file-download obtain-file file-transfer",
)
FILE_DELETE = _step("file-delete", "删除文件", "deletion of files", "T0809", "delete-file")
SAVE = _step("save", "保存配置", "saving of the configuration", "T0836", "save-configuration")
ENABLE = _step("enable", "启用配置", "activation of the configuration", "T0836", "activate-configuration")
BACKUP = _step("backup", "备份", "backup", "T0845", "backup activate-changes")
RESTORE = _step("restore", "恢复", "restore", "T0843", "restore activate-changes")
MODE_STOP = _step("reports-stop", "控制器报告已停机", "the controller reported STOP", "T0858", "mode-stop", **_LOOKS)
MODE_RUN = _step("reports-run", "控制器报告运行", "the controller reported RUN", "T0858", "mode-change", **_LOOKS)

_S7_FUNCTIONS = {
    0x1A: DOWNLOAD, 0x1B: DOWNLOAD, 0x1C: DOWNLOAD, 0x1D: UPLOAD, 0x1E: UPLOAD, 0x1F: UPLOAD, 0x29: STOP,
}  # fmt: skip
_S7_SERVICES = {
    "activate_block": ACTIVATE, "delete_block": DELETE, "compress_memory": COMPRESS, "copy_ram_to_rom": COPY_TO_ROM,
    "start_program": START, "cold_start_program": COLD_START,
}  # fmt: skip
_PI_SERVICE, _MODE, _PROGRAMMER, _BLOCKS, _SECURITY, _NC = 0x28, 0, 1, 3, 5, 0x3F
_UMAS, _READ_FILE, _WRITE_FILE = 90, 20, 21
_UMAS_STEPS = {
    0x10: RESERVE, 0x11: RELEASE, 0x30: DOWNLOAD, 0x31: DOWNLOAD, 0x32: DOWNLOAD, 0x33: UPLOAD, 0x34: UPLOAD,
    0x35: UPLOAD, 0x40: START, 0x41: STOP,
}  # fmt: skip
_DNP3_STEPS = {
    13: RESTART_JOINS, 14: RESTART_JOINS, 15: START_JOINS, 16: START_JOINS, 17: START_JOINS, 18: STOP_JOINS,
    19: SAVE, 25: FILE_OPEN, 26: FILE_OPEN, 27: FILE_DELETE, 28: FILE_OPEN, 29: PASSWORD,
    30: FILE_OPEN, 31: ENABLE,
}  # fmt: skip
_DNP3_FILE_GROUP, _DNP3_READ, _DNP3_WRITE = 70, 1, 2
_CIP_SERVICES = (5, 6, 7, 8, 9, 10, 75, 79, 80, 81)  # the others carry no program, or are read by tag all the time
_CIP_STEPS = {
    "program-down": DOWNLOAD, "program-up": UPLOAD, "stop": STOP, "start": START, "restart": RESTART,
}  # fmt: skip
_MMS_STEPS = {
    **dict.fromkeys((26, 27, 28, 32, 34, 38), DOWNLOAD), **dict.fromkeys((29, 30, 31, 33, 35), UPLOAD),
    36: DELETE, 39: DELETE, 40: START, 42: START, 41: STOP, 44: STOP, 43: RESTART, 46: FILE_WRITE, 72: FILE_OPEN,
    73: FILE_READ, 74: FILE_OPEN, 75: FILE_DELETE, 76: FILE_DELETE,
}  # fmt: skip
_BACNET_STEPS = {6: FILE_READ, 7: FILE_WRITE}
_BACNET_REINITIALIZE = 20
_BACNET_VERBS = {"program-down": RESTORE, "program-up": BACKUP, "restart": RESTART_JOINS}
_IEC104_FILES = {120: FILE_OPEN, 121: FILE_OPEN, 122: FILE_READ, 123: FILE_OPEN, 124: FILE_OPEN, 125: FILE_WRITE,
                 105: RESTART_JOINS}  # fmt: skip


_MAYBE = np.zeros((16, 256), np.bool_)  # by protocol and low octet of the function code: polling is none of these
_MAYBE[Protocol.S7COMM, [*_S7_FUNCTIONS, _PI_SERVICE, 255]] = True
for _protocol in (Protocol.MODBUS, Protocol.MODBUS_RTU):
    _MAYBE[_protocol, [_UMAS, _READ_FILE, _WRITE_FILE]] = True
_MAYBE[Protocol.DNP3, [*_DNP3_STEPS, _DNP3_READ, _DNP3_WRITE]] = True
_MAYBE[Protocol.IEC104, list(_IEC104_FILES)] = True
_MAYBE[[Protocol.ENIP, Protocol.MMS, Protocol.BACNET]] = True


def maybe(protocol: npt.NDArray[np.uint8], function: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """A first look at rows of the behaviour table, which costs next to nothing."""
    found: npt.NDArray[np.bool_] = _MAYBE[protocol & 15, function & 255]
    return found


def possible(b: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    """Which rows of the behaviour table can be steps, by their columns alone: few, so that few are described."""
    protocol, function, sub = b["protocol"], b["function"], b["subfunction"]
    asks = (b["outcome"] == Outcome.ASKED) | (b["outcome"] == Outcome.UNSOLICITED)
    s7 = (function >= 0x1A) & (function <= 0x1F) | (function == _PI_SERVICE) | (function == 0x29)
    s7 |= (function < 0) & (sub >= 0) & np.isin(sub >> 8, (_MODE, _PROGRAMMER, _BLOCKS, _SECURITY, _NC))
    modbus = (function == _UMAS) & np.isin(sub, tuple(_UMAS_STEPS)) | (function == _READ_FILE)
    modbus |= function == _WRITE_FILE
    found: npt.NDArray[np.bool_] = (protocol == Protocol.S7COMM) & s7
    found |= ((protocol == Protocol.MODBUS) | (protocol == Protocol.MODBUS_RTU)) & modbus
    dnp3 = np.isin(function, tuple(_DNP3_STEPS)) | (b["object"] >> 8 == _DNP3_FILE_GROUP) & (function <= _DNP3_WRITE)
    found |= (protocol == Protocol.DNP3) & dnp3
    found |= (protocol == Protocol.IEC104) & np.isin(function, tuple(_IEC104_FILES))
    found |= (protocol == Protocol.ENIP) & np.isin(sub, _CIP_SERVICES)
    found |= (protocol == Protocol.MMS) & (sub >= 0) & np.isin(sub & 0xFF, tuple(_MMS_STEPS))
    found |= (protocol == Protocol.BACNET) & np.isin(sub, (*_BACNET_STEPS, _BACNET_REINITIALIZE))
    found &= asks & ((b["kind"] == Kind.REQUEST) | (b["kind"] == Kind.UNSOLICITED))
    return found


def step_of(b: Any, fields: Mapping[str, Any]) -> Step | None:
    """The step that a behaviour is, None where it is none. b: its row; fields: the same described."""
    function, sub, protocol = int(b.function), int(b.subfunction), family(int(b.protocol))
    if protocol == Protocol.S7COMM:
        return _s7comm(function, sub, fields)
    if protocol == Protocol.MODBUS:
        return {_READ_FILE: FILE_READ, _WRITE_FILE: FILE_WRITE}.get(function) or _UMAS_STEPS.get(sub)
    if protocol == Protocol.DNP3:
        if function == 25 and fields.get("dnp3.file.mode") in ("write", "append"):
            return FILE_WRITE
        return {_DNP3_READ: FILE_READ, _DNP3_WRITE: FILE_WRITE}.get(function) or _DNP3_STEPS.get(function)
    if protocol == Protocol.IEC104:
        return FILE_DELETE if fields.get("iec104.file.operation") == "delete_file" else _IEC104_FILES.get(function)
    verb = str(fields.get("event.action", ""))
    if protocol == Protocol.ENIP:
        return FILE_WRITE if fields.get("cip.class") == 0x37 and sub in (80, 81) else _CIP_STEPS.get(verb)
    if protocol == Protocol.MMS:
        return _MMS_STEPS.get(sub & 0xFF)
    if protocol == Protocol.BACNET and fields.get("bacnet.apdu_type") == 0:
        return _BACNET_STEPS.get(sub) or _BACNET_VERBS.get(verb)
    return None


def _s7comm(function: int, sub: int, fields: Mapping[str, Any]) -> Step | None:
    if function == _PI_SERVICE:
        return _S7_SERVICES.get(str(fields.get("s7comm.service_name")), PROGRAM_SERVICE)
    if function >= 0:
        return _S7_FUNCTIONS.get(function)
    group, code = sub >> 8, sub & 0xFF
    if group == _MODE:
        return {0: MODE_STOP, 2: MODE_RUN}.get(fields.get("s7comm.mode", -1))
    if group == _PROGRAMMER:
        if code in (0x08, 0x09):  # modify and force act on the process: findings of their own
            return None
        return {0x0C: MEMORY_RESET, 0x0A: BREAKPOINT}.get(code, VIEW)
    if group == _NC:
        return DOWNLOAD if 1 <= code <= 4 else UPLOAD if 6 <= code <= 9 else None
    return {_BLOCKS: LIST, _SECURITY: PASSWORD}.get(group)


def objects_of(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Blocks, files or domains that a request is about, as people name them."""
    several = fields.get("s7comm.blocks")
    if several:
        return tuple(map(str, several))
    for name in ("s7comm.block", "s7comm.file", "dnp3.file.name", "mms.file.names", "mms.objects", "iec104.file.name"):
        if value := fields.get(name):
            return tuple(map(str, value)) if isinstance(value, (list, tuple)) else (str(value),)
    return ()
