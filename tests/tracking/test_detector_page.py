"""The detector of docs/write-a-detector.md, and its test, do what the page says."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tracking import detection
from tracking.detectors import DETECTORS

PAGE = (Path(__file__).parents[2] / "docs" / "write-a-detector.md").read_text()
DETECTOR, TEST = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

pytestmark = pytest.mark.django_db(transaction=True)


def load(name: str, code: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile(code, name, "exec"), module.__dict__)
    return module


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "tracking.detectors.harvesting"
    module = load(name, DETECTOR)
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(detection, "DETECTORS", (*DETECTORS, module.HARVESTING))


@pytest.mark.parametrize("name", re.findall(r"^def (test_\w+)\(\) -> None:", TEST, re.MULTILINE))
def test_what_the_page_tests_is_so(name: str) -> None:
    getattr(load("test_harvesting", TEST), name)()


@pytest.mark.parametrize("facts", [{"status": 404}, {"user_pk": "7", "username": "ana"}])
def test_what_the_page_tests_with_facts_is_so(facts: dict[str, object]) -> None:
    test = load("test_harvesting", TEST)
    test.test_missing_pages_and_users_who_are_signed_in_do_not_count(facts)


def test_it_is_as_long_as_a_detector_is() -> None:
    assert 20 <= len(DETECTOR.splitlines()) <= 50
