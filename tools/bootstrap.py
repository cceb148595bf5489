"""Sets up `.venv` on a machine that has Python and nothing else: `python3 tools/bootstrap.py [--dev]`.

Standard library only. Each step is stamped with a hash of what it was made from, so that a second call does nothing
and takes no time. Packages come from the index that pip is configured with, checked against the hashes in `locks/`.
"""

from __future__ import annotations

import argparse
import configparser
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import urldefrag, urljoin

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMPS = VENV / "stamps"
OLDEST, TOO_NEW = (3, 11), (3, 15)  # as requires-python in pyproject.toml


class SetupError(Exception):
    """Something that the person at the terminal has to change; the text says what."""


def say(text: str) -> None:
    """One plain line of progress."""
    print(f"setup: {text}", flush=True)


def run(*command: str | Path, env: dict[str, str] | None = None) -> None:
    """Run one command in the project root; a failure ends the set-up."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, env=env, check=False)
    if done.returncode:
        raise SetupError(f"this command failed with exit code {done.returncode}: {' '.join(map(str, command))}")


def digest(files: Iterable[Path]) -> str:
    """Hash of the names and contents of files, and of the interpreter, whose change makes everything anew."""
    state = hashlib.sha256(f"{sys.version_info[:2]}".encode())
    for file in sorted(files):
        state.update(str(file.relative_to(ROOT)).encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return state.hexdigest()


def step(name: str, text: str, files: Iterable[Path], work: Callable[[], None], gives: Iterable[Path] = ()) -> None:
    """Do `work` unless its stamp says that it was done with the same files, and what it `gives` is still there."""
    stamp, made_from = STAMPS / name, digest(files)
    if stamp.exists() and stamp.read_text() == made_from and all(path.exists() for path in gives):
        return
    say(f"{text} ...")
    began = time.monotonic()
    work()
    STAMPS.mkdir(exist_ok=True)
    stamp.write_text(made_from)
    say(f"{text}: done in {time.monotonic() - began:.0f} s")


def make_venv() -> None:
    """Create `.venv` with pip in it; on a bare Debian without `ensurepip`, pip's wheel comes from the index."""
    works = (
        PYTHON.exists()
        and not subprocess.run([PYTHON, "-c", "import pip"], capture_output=True, check=False).returncode
    )
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if works and (VENV / "lib" / f"python{version}").is_dir():
        return
    say(f"creating .venv with Python {version} ...")
    if VENV.exists():
        shutil.rmtree(VENV)
    try:
        import venv
    except ImportError:
        raise SetupError("this Python has no module venv; on Debian: apt-get install python3") from None
    venv.EnvBuilder(symlinks=True, with_pip=False).create(VENV)
    if subprocess.run([PYTHON, "-m", "ensurepip", "--default-pip"], capture_output=True, check=False).returncode:
        say("this Python comes without ensurepip: fetching pip from the package index")
        with tempfile.TemporaryDirectory() as folder:
            wheel = fetch_pip(Path(folder))
            run(PYTHON, wheel / "pip", "install", "--quiet", "--no-index", wheel)


def index_url() -> str:
    """The package index that pip would use: environment, then pip's configuration files, then the public one."""
    if url := os.environ.get("PIP_INDEX_URL"):
        return url
    home = Path.home()
    files = [Path("/etc/pip.conf"), home / ".pip" / "pip.conf", home / ".config" / "pip" / "pip.conf"]
    if own := os.environ.get("PIP_CONFIG_FILE"):
        files.append(Path(own))
    config = configparser.RawConfigParser()
    with contextlib.suppress(configparser.Error, UnicodeDecodeError):
        config.read(files)
    return config.get("global", "index-url", fallback="https://pypi.org/simple")


def fetch_pip(folder: Path) -> Path:
    """Download the pip wheel that `locks/setup.txt` names into `folder`, verified, and return its path."""
    lock = (ROOT / "locks" / "setup.txt").read_text()
    pinned = re.search(r"^pip==(\S+)((?: \\\n\s+--hash=sha256:[0-9a-f]{64})+)", lock, re.MULTILINE)
    if pinned is None:
        raise SetupError("locks/setup.txt does not pin pip with hashes")
    name = f"pip-{pinned[1]}-py3-none-any.whl"
    page_url = index_url().rstrip("/") + "/pip/"
    tls = ssl.create_default_context(cafile=os.environ.get("PIP_CERT") or None)
    try:
        with urllib.request.urlopen(page_url, timeout=60, context=tls) as page:
            links = re.findall(r'href="([^"]+)"', page.read().decode())
            base = page.url
        link = next((link for link in links if urldefrag(link).url.endswith("/" + name)), None)
        if link is None:
            raise SetupError(f"{page_url} does not offer {name}")
        with urllib.request.urlopen(urljoin(base, urldefrag(link).url), timeout=120, context=tls) as body:
            wheel = body.read()
    except OSError as error:
        raise SetupError(f"cannot fetch {name} from {page_url}: {error}") from None
    if hashlib.sha256(wheel).hexdigest() not in pinned[2]:
        raise SetupError(f"{name} from {page_url} is not the file that locks/setup.txt names")
    path = folder / name
    path.write_bytes(wheel)
    return path


def uv_environment() -> dict[str, str]:
    """What uv needs to use the index and the certificates that pip uses; it reads no configuration of pip's."""
    env = {"UV_LINK_MODE": "copy", **os.environ, "VIRTUAL_ENV": str(VENV)}
    env.setdefault("UV_DEFAULT_INDEX", index_url())
    if certificates := os.environ.get("PIP_CERT"):
        env.setdefault("SSL_CERT_FILE", certificates)
    return env


def install(lock: str) -> None:
    """Install every pinned package of `locks/<lock>.txt`: with uv, and where that fails with pip, which is slower."""
    requirements = ROOT / "locks" / f"{lock}.txt"
    quiet = () if sys.stderr.isatty() else ("--quiet",)
    try:
        run(VENV / "bin" / "uv", "pip", "install", *quiet, "--require-hashes", "-r", requirements, env=uv_environment())
    except (SetupError, OSError):
        say("uv could not install them; trying pip")
        pip("--require-hashes", "-r", str(requirements))


def pip(*arguments: str) -> None:
    """`pip install` inside the venv."""
    run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def install_project() -> None:
    """The project itself, editable; its dependencies are those of the lock."""
    pip("--no-deps", "--no-build-isolation", "--editable", ".")


def compile_translations() -> None:
    """Message catalogues from .po to .mo."""
    run(VENV / "bin" / "pybabel", "--quiet", "compile", "--directory", "console/translations")


def fetch_assets() -> None:
    """Front-end libraries of the locked package.json."""
    run(PYTHON, "tools/assets.py")


def fetch_elasticsearch() -> None:
    """The Elasticsearch node of the tests; where it cannot be fetched those tests are skipped, and say why."""
    if subprocess.run([PYTHON, "-m", "tools.elasticsearch_node", "fetch"], cwd=ROOT, check=False).returncode:
        say("going on without an Elasticsearch node: its tests are skipped")


def compile_kernels() -> None:
    """All that is compiled, into the cache, before somebody waits for it: the decoder, and what reads captures."""
    run(VENV / "bin" / "python", "-m", "detectors.worker.warm")
    with open(os.devnull, "w") as nothing:
        for capture in ("mixed/three_protocols.pcapng", "modbus/benign_polling.pcap"):
            command = [VENV / "bin" / "fenghuo", "decode", ROOT / "pcaps" / capture]
            done = subprocess.run(command, stdout=nothing, cwd=ROOT, check=False)
            if done.returncode:
                raise SetupError(f"`fenghuo decode pcaps/{capture}` failed with exit code {done.returncode}")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Only one set-up at a time in this folder."""
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up in this folder")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def set_up(dev: bool) -> None:
    """All steps, in order."""
    locks, assets = ROOT / "locks", ROOT / "console" / "frontend"
    make_venv()
    step(
        "tools",
        "installing the installers (uv, hatchling)",
        [locks / "setup.txt"],
        lambda: pip("--require-hashes", "-r", str(locks / "setup.txt")),
    )
    step("run", "installing what Fenghuo needs", [locks / "run.txt"], lambda: install("run"))
    if dev:
        step("dev", "installing what the tests need", [locks / "dev.txt"], lambda: install("dev"))
        node, archive = ROOT / "tools" / "elasticsearch_node.py", VENV / "elasticsearch-node.zip"
        step("elasticsearch", "fetching an Elasticsearch node for tests", [node], fetch_elasticsearch, [archive])
    step("project", "installing the command fenghuo", [ROOT / "pyproject.toml"], install_project)
    catalogues = [*(ROOT / "console" / "translations").rglob("*.po")]
    compiled = [catalogue.with_suffix(".mo") for catalogue in catalogues]
    step("translations", "compiling translations", catalogues, compile_translations, compiled)
    frontend = [*assets.glob("package*.json"), ROOT / "tools" / "assets.py"]
    vendor = ROOT / "console" / "static" / "vendor"
    step("assets", "fetching front-end libraries", frontend, fetch_assets, [vendor])
    sources = [path for package in ("sensor", "detectors") for path in (ROOT / package).rglob("*.py")]
    step("kernels", "compiling the decoder", sources, compile_kernels)


def main() -> int:
    """Exit codes: 0 ready, 2 something has to be changed first."""
    parser = argparse.ArgumentParser(description="Set up .venv in this folder.")
    parser.add_argument("--dev", action="store_true", help="also what tests, checks and captures need")
    dev = parser.parse_args().dev
    if not OLDEST <= sys.version_info[:2] < TOO_NEW:
        wanted = f"{OLDEST[0]}.{OLDEST[1]} or later, before {TOO_NEW[0]}.{TOO_NEW[1]}"
        print(f"setup: needs Python {wanted}; this is {sys.version.split()[0]} (make PYTHON=...)", file=sys.stderr)
        return 2
    began = time.monotonic()
    try:
        with alone():
            set_up(dev)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    say(f"ready in {time.monotonic() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
