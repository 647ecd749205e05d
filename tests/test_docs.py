"""What can be set, typed or reported is documented."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from django.core.management import get_commands
from graphql import build_schema, parse, validate

from tracking.conf import SETTINGS
from tracking.engine.limits import LIMITS, ClientClass, Limit

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")]
DOCS = "\n".join(page.read_text() for page in PAGES)
SCHEMA = build_schema((ROOT / "schema.graphql").read_text())
LIMITS_PAGE = (ROOT / "docs" / "limits.md").read_text()
SETTINGS_PAGE = (ROOT / "docs" / "settings.md").read_text()


@pytest.mark.parametrize(("check_id", "name"), [entry[:2] for entry in SETTINGS])
def test_every_setting_has_its_line(check_id: str, name: str) -> None:
    assert re.search(rf"^\| `{name}` \|.* {check_id} \|$", SETTINGS_PAGE, re.MULTILINE)


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_every_limit_has_its_line_with_its_rates(limit: Limit) -> None:
    rates = " | ".join(",".join(map(str, limit.rates[who])) for who in ClientClass)
    assert re.search(rf"^\| `{limit.name}` \|.* \| {rates} \|$", LIMITS_PAGE, re.MULTILINE)


def test_every_check_is_explained() -> None:
    source = (ROOT / "tracking" / "checks.py").read_text()
    ids = re.findall(r'"(tracking\.[EW]\d+)"', source)
    assert ids
    assert [check_id for check_id in ids if f"| {check_id} |" not in SETTINGS_PAGE] == []


def test_every_command_is_documented() -> None:
    ours = [name for name, app in get_commands().items() if app in {"tracking", "project"}]
    assert ours
    assert [
        name for name in ours if f"`{name}`" not in DOCS and f"manage.py {name}" not in DOCS
    ] == []


def test_links_between_the_pages_lead_somewhere() -> None:
    assert [
        link for page in PAGES for link in links(page) if not (page.parent / link).exists()
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_queries_fit_the_schema(page: Path) -> None:
    text = page.read_text()
    queries = re.findall(r"```graphql\n(.*?)```", text, re.DOTALL)
    queries += [json.loads(body)["query"] for body in re.findall(r"-d '({.*?})'", text)]
    for query in queries:
        assert validate(SCHEMA, parse(query)) == []


def links(page: Path) -> list[str]:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    return [target for target in targets if "://" not in target]
