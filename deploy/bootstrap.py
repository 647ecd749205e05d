"""Make .venv and install requirement files into it, each only when it has changed.

    python3 deploy/bootstrap.py requirements.txt [requirements-dev.txt …]

Needs a bare Python 3.11 or newer: nothing is installed yet when this runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
PRINT_VERSION = "import sys; print(*sys.version_info[:2])"


def main(names: list[str]) -> None:
    with Path(__file__).open() as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)  # two `make` at once share one .venv
        if not usable():
            create()
        for name in names:
            install(ROOT / name)


def usable() -> bool:
    """Say whether .venv runs, new enough, and with the version that PYTHON asks for, if it does."""
    if not PYTHON.exists():
        return False
    answer = subprocess.run([PYTHON, "-c", PRINT_VERSION], capture_output=True, check=False)
    version = tuple(map(int, answer.stdout.split()))
    return version == sys.version_info[:2] if os.environ.get("PYTHON") else version >= (3, 11)


def create() -> None:
    print(f"Making {ENVIRONMENT} with Python {sys.version.split()[0]}", flush=True)
    try:
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        sys.exit(
            f"error: {ENVIRONMENT} could not be made ({error}); see that this folder can be written"
            " and that Python's venv module is complete (Debian, Ubuntu: apt install python3-venv)"
        )


def install(requirements: Path) -> None:
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    installed = ENVIRONMENT / f"{requirements.stem}.installed"
    if text(installed) == wanted:
        return
    print(f"Installing {requirements.name}", flush=True)
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    command = [*pip, "--require-hashes", "--requirement", requirements]
    if subprocess.run(command, check=False).returncode:
        sys.exit(
            f"error: pip could not install {requirements.name}, its own words are above; see that"
            " this machine reaches a package index, then try again"
        )
    installed.write_text(wanted)


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    os.chdir(ROOT)
    main(sys.argv[1:] or ["requirements.txt"])
