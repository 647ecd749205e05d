"""No document that fits the schema breaks the service, whatever values stand in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import schemathesis
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.graphql import nodes

from tests.fuzz.inputs import fuzzed, near
from users.models import User

EXAMPLES = 150
SCHEMA = Path(__file__).parents[2] / "schema.graphql"
SCALARS = {
    "IPAddress": ("192.0.2.1", "2001:db8::1"),
    "IPNetwork": ("192.0.2.0/24", "192.0.2.1"),
    "DateTime": ("2026-11-22T10:00:00Z",),
    "Duration": ("PT1H", "7d"),
    "CountryCode": ("DE",),
}
for name, good in SCALARS.items():
    schemathesis.graphql.scalar(name, near(*good).map(nodes.String))
FITTING = schemathesis.graphql.from_path(SCHEMA)


@pytest.fixture
def administrator(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root", password=None))
    client.defaults["HTTP_ACCEPT"] = "application/graphql-response+json"
    return client


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["Query", "Mutation"])
@given(data=st.data())
@fuzzed(EXAMPLES)
def test_no_document_breaks_the_service(
    kind: str, data: st.DataObject, administrator: Client
) -> None:
    operation = data.draw(st.sampled_from(sorted(FITTING[kind])), label="field")
    case = data.draw(FITTING[kind][operation].as_strategy())
    answer = administrator.post(
        "/graphql/", json.dumps({"query": case.body}), content_type="application/json"
    )
    codes = [error["extensions"]["code"] for error in answer.json().get("errors", ())]
    assert answer.status_code < 500
    assert "INTERNAL_SERVER_ERROR" not in codes
