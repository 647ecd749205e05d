"""The command that brings the GraphiQL page's files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NO_REGISTRY = "http://127.0.0.1:9"  # the discard port: nothing listens


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of what the command reads, with nothing installed."""
    for name in ("package.json", "package-lock.json", "deploy/assets.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def assets(checkout: Path, python: str = sys.executable, **environment: str) -> tuple[int, str]:
    result = subprocess.run(
        [python, checkout / "deploy" / "assets.py"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return result.returncode, result.stderr


def install(checkout: Path) -> Path:
    """Put into the checkout what a run would, without npm."""
    code = f"import sys; sys.path.insert(0, {str(checkout / 'deploy')!r}); import assets"
    packages = "".join(
        "for source, _ in assets.FILES:\n"
        "    (assets.PACKAGES / source).parent.mkdir(parents=True, exist_ok=True)\n"
        "    (assets.PACKAGES / source).write_text('x=1;\\n//# sourceMappingURL=x.map\\n')\n"
    )
    subprocess.run([sys.executable, "-c", f"{code}\n{packages}assets.copy()"], check=True)
    return checkout / "schema" / "static" / "schema" / "vendor"


def test_without_its_packages_server_it_fails_with_one_sentence(checkout: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not on this machine")
    cache = str(checkout / "cache")
    code, said = assets(checkout, npm_config_registry=NO_REGISTRY, npm_config_cache=cache)
    assert code == 1
    assert said.count("\n") == 1
    assert said.startswith("error: npm could not fetch the packages (ECONNREFUSED).")
    assert "run python3 deploy/assets.py again" in said


def test_npm_believes_the_certificates_of_the_machine(checkout: Path) -> None:
    npm = checkout / "npm"
    npm.write_text(
        '#!/bin/sh\necho "certificates of the machine: $NODE_USE_SYSTEM_CA" >&2\nexit 1\n'
    )
    npm.chmod(0o755)
    assert "certificates of the machine: 1" in assets(checkout, PATH=str(checkout))[1]


def test_without_npm_and_without_an_environment_it_says_what_to_install(checkout: Path) -> None:
    bare = str(Path(sys.base_prefix) / "bin" / "python3")
    code, said = assets(checkout, bare, PATH=str(checkout))
    assert code == 1
    assert said.startswith("error: there is no npm on this machine and no .venv")


def test_it_does_nothing_when_all_files_are_there(checkout: Path) -> None:
    vendor = install(checkout)
    assert (vendor / "graphiql.min.js").read_text() == "x=1;\n"
    assert assets(checkout, npm_config_registry=NO_REGISTRY, PATH="") == (0, "")


@pytest.mark.parametrize("change", ["missing file", "other lock file", "cut short"])
def test_it_starts_over_when_something_is_not_as_it_should_be(checkout: Path, change: str) -> None:
    vendor = install(checkout)
    if change == "missing file":
        (vendor / "react.min.js").unlink()
    elif change == "other lock file":
        (checkout / "package-lock.json").write_text("{}")
    else:
        (vendor / "installed.txt").unlink()
    bare = str(Path(sys.base_prefix) / "bin" / "python3")
    assert assets(checkout, bare, PATH="")[0] == 1
