"""schema.graphql is what the service answers, and everything in it says what it means."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
)

from schema.root import schema
from tests.schema.found import id_of, suspicion
from tests.schema.record import reader, record, row, told
from users.models import User

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "graphql.md"
FILE = Path(__file__).resolve().parents[2] / "schema.graphql"


def described() -> Iterator[tuple[str, str | None]]:
    """Yield (name, description) of every type, field, argument, enum value and input field."""
    for name, kind in schema.core.type_map.items():
        if name.startswith("__"):
            continue
        yield name, kind.description
        if isinstance(kind, GraphQLEnumType):
            yield from ((f"{name}.{key}", value.description) for key, value in kind.values.items())
        elif isinstance(kind, GraphQLInputObjectType):
            yield from ((f"{name}.{key}", field.description) for key, field in kind.fields.items())
        elif isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            for key, field in kind.fields.items():
                yield f"{name}.{key}", field.description
                for argument, value in field.args.items():
                    yield f"{name}.{key}({argument}:)", value.description


def test_the_file_is_the_schema() -> None:
    assert FILE.read_text().strip() == schema.as_str().strip(), "run: make schema"


@pytest.mark.parametrize(("name", "description"), list(described()))
def test_everything_is_described(name: str, description: str | None) -> None:
    assert description, name
    assert description != name


def test_root_fields_are_nullable() -> None:
    query, mutation = schema.core.query_type, schema.core.mutation_type
    assert query is not None
    assert mutation is not None
    fields = query.fields | mutation.fields
    assert [name for name, field in fields.items() if isinstance(field.type, GraphQLNonNull)] == []


def test_mutations_take_one_input_and_return_errors_the_caller_can_mend() -> None:
    assert schema.core.mutation_type is not None
    for name, field in schema.core.mutation_type.fields.items():
        assert list(field.args) == ["input"], name
        assert isinstance(field.type, GraphQLObjectType), name
        assert str(field.type.fields["errors"].type) == "[UserError!]!", name


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query", re.findall(r"```graphql\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
)
def test_every_example_of_the_documentation_runs(query: str) -> None:
    [saved] = record(row())
    client = reader()
    User.objects.get().user_permissions.add(*Permission.objects.all())
    request = b64encode(f"RequestLog:{saved.pk}".encode()).decode()
    answer = told(client, query, id=request, suspicion=id_of(suspicion()))
    assert all(value is not None for value in answer.values())
