"""`make run`: a console and, beside it, a sensor on the sample captures, as two processes that speak HTTP.

Everything is done by the command `fenghuo`, as on a real site; the data stay in `var/` and are used again next time.
Ctrl-C ends both processes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
FENGHUO = ROOT / ".venv" / "bin" / "fenghuo"
HOST = "127.0.0.1"
ORGANISATION = "演示工厂 Demo plant"
SENSOR, SITE, SEGMENT = "demo-sensor", "演示 Demo", "样例 Samples"
SENSOR_KEY = "demo-sensor.key"
STARTS_WITHIN_S = 120.0
ENDS_WITHIN_S = 15.0


class RunError(Exception):
    """Something that the person at the terminal has to change; the text says what."""


def say(text: str) -> None:
    """One plain line."""
    print(text, flush=True)


def require_free(port: int) -> None:
    """RunError when somebody listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise RunError(
                f"port {port} is taken ({error.strerror}); is another one running? "
                f"Otherwise: make run ARGS='--port {port + 1}'"
            ) from None


def fenghuo(*arguments: str, env: dict[str, str]) -> str:
    """Run one command of Fenghuo to its end and give what it printed."""
    done = subprocess.run([FENGHUO, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        told = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
        raise RunError(f"fenghuo {' '.join(arguments[:2])}: {told}")
    return done.stdout


class Child:
    """One long-running command; its lines go to a log file, and to the terminal where that is wanted."""

    def __init__(self, name: str, arguments: list[str], env: dict[str, str], log: Path, *, aloud: bool = False) -> None:
        self.name, self.log = name, log
        # Its own session: Ctrl-C reaches this process alone, which then ends the children in order.
        self.process = subprocess.Popen(
            [FENGHUO, *arguments], cwd=ROOT, env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._aloud = aloud
        self._reader = threading.Thread(target=self._copy, daemon=True)
        self._reader.start()

    def _copy(self) -> None:
        assert self.process.stdout is not None
        with self.log.open("ab", buffering=0) as log:
            for line in self.process.stdout:
                log.write(line)
                if self._aloud:
                    say(f"  {self.name}: {line.decode(errors='replace').rstrip()}")

    def last_words(self) -> str:
        """The end of its log, for somebody who has to find out why it stopped."""
        self._reader.join(timeout=2)
        lines = self.log.read_text(errors="replace").splitlines()[-15:]
        return "\n".join(f"  {self.name}: {line}" for line in lines)

    def end(self) -> None:
        """SIGTERM, patience, SIGKILL."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                say(f"the {self.name} does not end by itself and is killed")
                self.process.kill()
                self.process.wait()


def wait_until_served(console: Child, url: str) -> None:
    """Until the console answers; RunError when it stops or stays silent."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback needs no proxy
    deadline = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline:
        if console.process.poll() is not None:
            raise RunError(f"the console stopped at once; its last words:\n{console.last_words()}")
        try:
            with direct.open(f"{url}/", timeout=5):
                return
        except urllib.error.HTTPError:
            return  # an answer is an answer
        except OSError:
            time.sleep(0.1)
    raise RunError(f"the console did not answer within {STARTS_WITHIN_S:.0f} s; see {console.log}")


def first_user(data: Path, env: dict[str, str]) -> list[str]:
    """Lines about the first user: with a password when the console is new, otherwise how to get a new one."""
    if (data / SENSOR_KEY).exists():  # the last thing that a first run makes
        return ["user      as before; a new password: .venv/bin/fenghuo console user --reset admin"]
    if (data / "console.db").exists():  # a first run that was interrupted: begin where it stopped
        made = json.loads(fenghuo("console", "user", "--reset", "admin", "--json", env=env))
    else:
        made = json.loads(fenghuo("console", "init", "--organisation", ORGANISATION, "--json", env=env))
    return [f"user      {made['login']}", f"password  {made['password']}   (made just now, shown this once)"]


def sensor_key(data: Path, env: dict[str, str]) -> str:
    """The sensor's key, made at the first run and kept in a file that its owner alone may read."""
    path = data / SENSOR_KEY
    if not path.exists():
        key = fenghuo("console", "sensor", SENSOR, "--site", SITE, "--segment", SEGMENT, env=env).strip()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(key + "\n")
    return path.read_text().strip()


def sample_captures() -> list[str]:
    """Every capture of pcaps/, as paths below the project folder."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "pcaps").glob("*/*.pcap*"))


def run(port: int, data: Path) -> None:
    """Start both, say where to look, stay until Ctrl-C or until one of them stops."""
    require_free(port)
    data.mkdir(parents=True, exist_ok=True)
    url = f"http://{HOST}:{port}"
    env = {**os.environ, "FENGHUO_DATA_DIR": str(data), "FENGHUO_HOST": HOST, "FENGHUO_PORT": str(port)}
    env["PYTHONUNBUFFERED"] = "1"
    account = first_user(data, env)
    children = []
    try:
        say(f"starting the console at {url} ...")
        console = Child("console", ["console", "run"], env, data / "console.log")
        children.append(console)
        key = sensor_key(data, env)  # meanwhile: the store takes both
        wait_until_served(console, url)
        say("starting a sensor on the sample captures ...")
        arguments = ["sensor", "run", "--console", url, "--spool", str(data / "demo-sensor")]
        for capture in sample_captures():
            arguments += ["--capture", capture]
        # The key goes by the environment: what stands on a command line, everybody on the machine can read.
        sensor = Child("sensor", arguments, {**env, "FENGHUO_SENSOR_KEY": key}, data / "sensor.log", aloud=True)
        children.append(sensor)
        say("\n".join(["", f"Fenghuo   {url}", *account, "          Ctrl-C ends it; the data stay in var/", ""]))
        watch(console, sensor)
    finally:
        with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C does not leave children behind
            for child in reversed(children):
                child.end()
        for child in children:
            if child.process.poll() is None:
                child.process.kill()


def watch(console: Child, sensor: Child) -> None:
    """Until one of them stops unasked; a sensor that is through with its captures may."""
    told = False
    while console.process.poll() is None:
        code = sensor.process.poll()
        if code is not None and not told:
            told = True
            if code:
                say(f"the sensor stopped with exit code {code}; its last words:\n{sensor.last_words()}")
        time.sleep(0.2)
    raise RunError(f"the console stopped by itself; its last words:\n{console.last_words()}")


def interrupted(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends everything as Ctrl-C does."""
    raise KeyboardInterrupt


def main() -> int:
    """Exit codes: 0 ended by Ctrl-C, 2 could not start or did not stay."""
    parser = argparse.ArgumentParser(description="Run a console and a sensor on the sample captures.")
    parser.add_argument("--port", type=int, default=8600, help="of the console, on this machine alone (default 8600)")
    parser.add_argument("--data", type=Path, default=ROOT / "var", help="folder of the data (default var)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupted)
    try:
        run(options.port, options.data.resolve())
    except RunError as error:
        print(f"run: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("\nended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
