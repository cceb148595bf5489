"""The set-up script: what it does again, what it takes from an index, what it refuses."""

from __future__ import annotations

import hashlib
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import bootstrap

ROOT = Path(__file__).resolve().parents[2]
WHEEL = b"PK\x03\x04 not a real wheel, but it has a hash"
WHEEL_NAME = "pip-99.1-py3-none-any.whl"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder of its own, with a lock that pins pip to WHEEL."""
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "STAMPS", tmp_path / "stamps")
    (tmp_path / "locks").mkdir()
    hashes = f"    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{hashlib.sha256(WHEEL).hexdigest()}"
    (tmp_path / "locks" / "setup.txt").write_text(
        f"packaging==1 \\\n    --hash=sha256:{'1' * 64}\npip==99.1 \\\n{hashes}\n"
    )
    return tmp_path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package index on loopback, whose folder the test fills; pip's configuration names it."""
    served = tmp_path / "index"
    (served / "pip").mkdir(parents=True)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(served))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}")
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    yield served
    server.shutdown()
    server.server_close()


def offer(index: Path, wheel: bytes, name: str = WHEEL_NAME) -> None:
    """Put a wheel into the index, in the manner of PEP 503."""
    (index / "files").mkdir()
    (index / "files" / name).write_bytes(wheel)
    (index / "pip" / "index.html").write_text(f'<a href="../files/{name}#sha256=whatever">{name}</a>')


def test_a_step_is_done_once_and_again_when_its_files_change(folder: Path) -> None:
    source, done = folder / "source", []
    source.write_text("one")
    for _ in range(3):
        bootstrap.step("name", "doing it", [source], lambda: done.append(source.read_text()))
    source.write_text("two")
    bootstrap.step("name", "doing it", [source], lambda: done.append(source.read_text()))
    assert done == ["one", "two"]


def test_a_step_whose_result_was_removed_is_done_again(folder: Path) -> None:
    source, result = folder / "source", folder / "result"
    source.write_text("one")
    for _ in range(2):
        bootstrap.step("name", "doing it", [source], result.touch, [result])
        assert result.exists()
        result.unlink()


def test_a_step_that_failed_leaves_no_stamp(folder: Path) -> None:
    def fail() -> None:
        raise bootstrap.SetupError("no")

    source, done = folder / "source", []
    source.write_text("one")
    with pytest.raises(bootstrap.SetupError):
        bootstrap.step("name", "doing it", [source], fail)
    bootstrap.step("name", "doing it", [source], lambda: done.append(1))
    assert done == [1]


def test_pip_comes_from_the_configured_index_when_its_hash_is_in_the_lock(folder: Path, index: Path) -> None:
    offer(index, WHEEL)
    path = bootstrap.fetch_pip(folder)
    assert path.name == WHEEL_NAME
    assert path.read_bytes() == WHEEL


def test_a_pip_with_another_hash_is_refused(folder: Path, index: Path) -> None:
    offer(index, WHEEL + b" with a gift")
    with pytest.raises(bootstrap.SetupError, match="is not the file that locks"):
        bootstrap.fetch_pip(folder)
    assert not (folder / WHEEL_NAME).exists()


def test_an_index_without_that_pip_is_one_clear_line(folder: Path, index: Path) -> None:
    offer(index, WHEEL, "pip-98.0-py3-none-any.whl")
    with pytest.raises(bootstrap.SetupError, match=r"does not offer pip-99\.1"):
        bootstrap.fetch_pip(folder)


def test_an_index_that_nobody_serves_is_one_clear_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9")
    with pytest.raises(bootstrap.SetupError, match="cannot fetch"):
        bootstrap.fetch_pip(folder)


def test_the_index_of_pips_configuration_file_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://mirror.example/simple\nprogress%bar = 1\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    assert bootstrap.index_url() == "https://mirror.example/simple"
    assert bootstrap.uv_environment()["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"


def test_an_unfit_python_is_told_so_and_nothing_is_made(tmp_path: Path) -> None:
    script = "import runpy, sys; sys.version_info = (3, 10, 2, 'final', 0); sys.argv = ['bootstrap']; "
    script += f"runpy.run_path({str(ROOT / 'tools' / 'bootstrap.py')!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("setup: needs Python 3.11 or later")
    assert done.stderr.count("\n") == 1


def test_the_real_locks_pin_the_installers_with_hashes() -> None:
    lock = (ROOT / "locks" / "setup.txt").read_text()
    for name in ("pip", "uv", "hatchling", "editables"):
        assert f"\n{name}==" in f"\n{lock}"
    for file in ("setup", "run", "dev"):
        pinned = [line for line in (ROOT / "locks" / f"{file}.txt").read_text().splitlines() if line[:1].strip()]
        assert pinned
        assert all(line.endswith("\\") for line in pinned), "a package without a hash"
        assert not [line for line in pinned if "://" in line], "a registry's address in a lock"


def test_make_alone_prints_what_can_be_made() -> None:
    done = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    told = {line.split()[1] for line in done.stdout.splitlines()}
    assert {"setup", "run", "test", "bench", "lint", "lock", "clean"} <= told
