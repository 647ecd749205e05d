"""The inventory of personal data names every column there is, and every table is erased somehow."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.apps import apps
from django.db.models import Model

from tracking.holdings import HOLDINGS

PAGE = (Path(__file__).parents[1] / "docs" / "privacy.md").read_text()
INVENTORY = PAGE.partition("## Inventory")[2]
MODELS = [
    model
    for app in ("tracking", "users")
    for model in apps.get_app_config(app).get_models()
    if not model._meta.proxy
]
ERASED_OTHERWISE = {"HourlyCount", "User", "Session", "RefreshToken"}


def lines(table: str) -> list[list[str]]:
    """Return the cells of a table's lines, the first cell left out."""
    found = re.findall(rf"^\| `{table}` \|(.*)\|$", INVENTORY, re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in found]


def columns(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_column_is_said_to_lead_to_a_person_or_not(model: type[Model]) -> None:
    personal, other = map(columns, lines(model.__name__)[0])
    fields = [field.attname for field in model._meta.concrete_fields]
    assert sorted(personal + other) == sorted(fields)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_what_leads_to_a_person_is_explained_and_erased(model: type[Model]) -> None:
    name = model.__name__
    personal = columns(lines(name)[0][0])
    assert bool(personal) == (len(lines(name)) == 2)
    if personal:
        assert all(lines(name)[1])
    handled = {holding.table for holding in HOLDINGS} | ERASED_OTHERWISE
    assert bool(personal) == (name in handled)
