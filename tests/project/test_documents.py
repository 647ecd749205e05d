"""The documents keep to what is there: links, targets, commands, requirement files."""

from __future__ import annotations

import os
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from django.core.management import get_commands
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "benchmarks").glob("*.md"),
]
REQUIREMENTS = sorted(ROOT.glob("requirements*.txt"))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_to_files_lead_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    files = [target for target in targets if not re.match(r"[a-z]+:", target)]

    assert [target for target in files if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_commands_that_are_named_exist(document: Path) -> None:
    text = document.read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"(?:^ {4}|`)make ([a-z]+)", text, re.MULTILINE)) <= targets
    assert set(re.findall(r"manage\.py ([a-z_]+)", text)) <= set(get_commands())


def test_make_without_a_target_lists_them_all() -> None:
    # `make test` runs this test: what it hands down to a make below it is none of our business.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    answer = subprocess.run(
        ["make"], cwd=ROOT, env=outside, capture_output=True, text=True, check=True
    )

    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert [line.split()[0] for line in answer.stdout.splitlines()] == phony.group(1).split()


@pytest.mark.parametrize("file", REQUIREMENTS, ids=named)
def test_requirement_files_pin_hashes_and_name_no_index(file: Path) -> None:
    text = file.read_text()
    pins = re.findall(r"^[a-z0-9.-]+(?:\[[a-z,]+\])?==\S+(.*)$", text, re.MULTILINE)

    assert pins
    assert all(pin.endswith("\\") for pin in pins)
    assert "://" not in text
    assert "--index" not in text
    assert len(re.findall(r"^django==", text, re.MULTILINE)) <= 1


def test_what_is_installed_is_what_is_pinned() -> None:
    """Newer Strawberry with older graphene resolves, and then cannot be imported."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = [Requirement(line.rstrip(" \\")) for line in lines if re.match(r"[a-z]", line)]

    wanted = {pin.name: pin for pin in pinned if pin.marker is None or pin.marker.evaluate()}
    wrong = [name for name, pin in wanted.items() if version(name) not in pin.specifier]
    assert wrong == []
