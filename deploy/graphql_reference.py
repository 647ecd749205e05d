"""The page of the documentation that lists the GraphQL schema, made from schema.graphql.

A hook of MkDocs: the page is never written beside the others, and so never out of date.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLUnionType,
    build_schema,
)
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGE = "reference-graphql.md"
SCHEMA = Path(__file__).resolve().parent.parent / "schema.graphql"
INTRODUCTION = """# GraphQL: all types and fields

Made from `schema.graphql`. How to ask, page and read errors stands in [GraphQL](graphql.md).
"""
KINDS: tuple[tuple[str, type[GraphQLNamedType]], ...] = (
    ("Types", GraphQLObjectType),
    ("Interfaces", GraphQLInterfaceType),
    ("Unions", GraphQLUnionType),
    ("Inputs", GraphQLInputObjectType),
    ("Enums", GraphQLEnumType),
    ("Scalars", GraphQLScalarType),
)
ROOTS = ("Query", "Mutation")

Member = GraphQLField | GraphQLInputField | GraphQLArgument


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page to those that MkDocs has found."""
    files.append(File.generated(config, PAGE, content=page(SCHEMA.read_text())))
    return files


def page(sdl: str) -> str:
    """Return the page for a schema: what can be asked first, then every type by its kind."""
    types = {
        name: kind for name, kind in build_schema(sdl).type_map.items() if not name.startswith("__")
    }
    parts = [INTRODUCTION, *(section(types.pop(root), "##") for root in ROOTS)]
    for title, kind in KINDS:
        members = [types[name] for name in sorted(types) if isinstance(types[name], kind)]
        described = [section(each, "###") for each in members if each.ast_node is not None]
        parts += [f"## {title}\n", *described] if described else []
    return "\n".join(parts)


def section(kind: GraphQLNamedType, heading: str) -> str:
    """Return the part of the page about one type."""
    return "\n".join([f"{heading} {kind.name}\n", f"{kind.description or ''}\n", *rows(kind), ""])


def rows(kind: GraphQLNamedType) -> Iterator[str]:
    if isinstance(kind, GraphQLEnumType):
        yield from table(("value", "meaning"), ((f"`{n}`", v) for n, v in kind.values.items()))
    elif isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
        yield from table(("field", "type", "meaning"), fields(kind.fields.items()))
    elif isinstance(kind, GraphQLUnionType):
        yield f"One of {', '.join(f'`{each.name}`' for each in kind.types)}.\n"


def fields(members: Iterable[tuple[str, Member]]) -> Iterator[tuple[str, str, object]]:
    """Yield the cells of each field, its arguments below it."""
    for name, member in members:
        yield f"`{name}`", f"`{member.type}`", member
        for argument, its in getattr(member, "args", {}).items():
            yield f"… `{argument}:`", f"`{its.type}`", its


def table(titles: tuple[str, ...], lines: Iterable[tuple[object, ...]]) -> Iterator[str]:
    """Yield a table; what stands last in each line has a description."""
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for *cells, described in lines:
        text = (getattr(described, "description", None) or "").replace("|", "\\|")
        yield f"| {' | '.join(map(str, cells))} | {' '.join(text.split())} |"
