"""What can be set, typed or reported is documented, and the documents name nothing else."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from graphql import GraphQLEnumType, GraphQLInterfaceType, build_schema, parse, validate

from schema.errors import Code
from tracking import refusal
from tracking.conf import SETTINGS
from tracking.engine.limits import LIMITS, ClientClass, Limit

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("*.md"))]
DOCS = "\n".join(page.read_text() for page in PAGES)
TEMPLATE = (ROOT / ".env_template").read_text()
SCHEMA = build_schema((ROOT / "schema.graphql").read_text())
# Variables of tools beside the service, and of the shell in examples.
FOREIGN_VARIABLES = {
    "DJANGO_SETTINGS_MODULE", "FUZZ", "GUNICORN_CMD_ARGS", "LISTEN_FDS", "MEASURE", "NAME",
    "PASSWORD", "POSTGRES_PASSWORD", "PROMETHEUS_MULTIPROC_DIR", "PYTHON", "PYTHONPATH", "QUICK",
    "SERVER_NAME", "TEST_STORE", "TOKEN",
}  # fmt: skip


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def rows(text: str, head: str) -> list[list[str]]:
    """Return the cells of each row of the tables whose first heading this is."""
    tables = re.findall(
        rf"^\| {re.escape(head)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE
    )
    lines = "".join(tables).splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def words(cells: list[str]) -> set[str]:
    """Return what stands between backticks in these cells."""
    return set(re.findall(r"`([^`]+)`", " ".join(cells)))


def sources(pattern: str) -> str:
    return "\n".join(path.read_text() for path in sorted(ROOT.glob(pattern)))


@pytest.mark.parametrize(("check_id", "name"), [entry[:2] for entry in SETTINGS])
def test_every_setting_has_its_line(check_id: str, name: str) -> None:
    line = rf"^\| `{name}` \|.* {re.escape(check_id)} \|$"
    assert re.search(line, page("settings.md"), re.MULTILINE)


def test_no_setting_is_named_that_there_is_not() -> None:
    known = {name for _, name, _ in SETTINGS}
    assert set(re.findall(r"\bTRACKING_[A-Z0-9_]+", DOCS)) - known == set()


def test_every_variable_is_explained_on_the_site() -> None:
    assert "deploy/environment_reference.py" in (ROOT / "mkdocs.yml").read_text()
    variables = re.findall(r"^#([A-Z_]+)=", TEMPLATE, re.MULTILINE)
    assert len(variables) > 50
    for block in re.split(r"\n(?=# )", TEMPLATE):
        assert block.startswith("# "), f"variables without a word about them: {block}"


def test_no_variable_is_named_that_there_is_not() -> None:
    known = set(re.findall(r"^#([A-Z_]+)=", TEMPLATE, re.MULTILINE)) | FOREIGN_VARIABLES
    pages = re.sub(r"```python\n.*?```", "", DOCS, flags=re.DOTALL)
    named = set(re.findall(r"(?:^ *|`|env |\$ | )([A-Z][A-Z0-9_]{3,})=", pages, re.MULTILINE))
    assert {name for name in named if not name.startswith("TRACKING_")} - known == set()


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_every_limit_has_its_line_with_its_rates(limit: Limit) -> None:
    rates = " | ".join(",".join(map(str, limit.rates[who])) for who in ClientClass)
    line = rf"^\| `{limit.name}` \|.* \| {rates} \|$"
    assert re.search(line, page("limits.md"), re.MULTILINE)


def test_no_limit_has_a_line_that_there_is_not() -> None:
    named = [cells[0] for cells in rows(page("limits.md"), "limit")]
    assert named == [f"`{limit.name}`" for limit in LIMITS]


def test_every_check_is_explained_and_no_other() -> None:
    told = sources("*/checks.py") + sources("tracking/conf.py")
    ids = set(re.findall(r'"((?:tracking|users|project)\.[EW]\d{3})"', told))
    assert len(ids) > 50
    explained = set(
        re.findall(r"\| ((?:tracking|users|project)\.[EW]\d{3}) \|", page("settings.md"))
    )
    assert explained == ids
    assert set(re.findall(r"\b(?:tracking|users|project)\.[EW]\d{3}\b", DOCS)) == ids


def ours() -> set[str]:
    return {name for name, app in get_commands().items() if app in {"tracking", "project", "users"}}


def test_every_command_has_its_line_and_no_other() -> None:
    assert sorted(cells[0].strip("`") for cells in command_lines()) == sorted(ours())


def command_lines() -> list[list[str]]:
    return rows(page("commands.md").partition("## Of others")[0], "command")


def test_options_of_commands_are_those_they_have() -> None:
    texts = re.sub(r"\\\n", " ", DOCS)
    named = re.findall(r"manage\.py ([a-z_]+)((?: [^\s`|]+)*)", texts)
    named += re.findall(r"^\s*(?:\$ )?manage ([a-z_]+)((?: [^\s`|]+)*)", texts, re.MULTILINE)
    named += [(cells[0].strip("`"), " ".join(words(cells[1:]))) for cells in command_lines()]
    unknown = [
        (name, option)
        for name, arguments in named
        if name in ours()
        for option in re.findall(r"(?<!\S)(--[a-z-]+)", arguments)
        if option not in options(name)
    ]
    assert unknown == []


def options(name: str) -> set[str]:
    command = load_command_class(get_commands()[name], name)
    parser = command.create_parser("manage.py", name)
    return {each for action in parser._actions for each in action.option_strings}


def test_every_code_of_an_error_has_its_line_and_no_other() -> None:
    named = [words(cells[:1]).pop() for cells in rows(page("errors.md"), "code")]
    blocked: object = refusal._BLOCKED_PROBLEM["code"]
    members = SCHEMA.type_map["ErrorCode"]
    assert isinstance(members, GraphQLEnumType)
    assert sorted(named) == sorted([*Code, str(blocked), *members.values])


def test_every_type_of_an_error_is_named_and_no_other() -> None:
    interface = SCHEMA.type_map["UserError"]
    assert isinstance(interface, GraphQLInterfaceType)
    types = {member.name for member in SCHEMA.get_possible_types(interface)}
    named = set().union(*(words(cells[1:2]) for cells in rows(page("errors.md"), "code")))
    assert {name for name in named if name.endswith("Error")} == types


def test_every_code_of_a_problem_is_named() -> None:
    raised = re.findall(r'AccountError\(\s*"([A-Z_]+)"', sources("users/*.py"))
    raised += re.findall(r'refused\(\s*"([A-Z_]+)"', sources("schema/exportdoor.py"))
    assert raised
    problems = set().union(*(words(cells[1:2]) for cells in rows(page("errors.md"), "status")))
    assert set(raised) - {"PROTECTED_TARGET"} <= problems  # that one is refused by GraphQL alone


def test_no_metric_is_documented_that_there_is_not() -> None:
    source = sources("project/metrics.py") + sources("project/vitals.py")
    for cells in rows(page("operating.md"), "metric"):
        name = cells[0].strip("`").removesuffix("_total")
        prefix, end = name.partition("last_run")[::2]
        assert name in source or (f"{prefix}last_run" in source and f"{{name}}{end}" in source)


def test_every_test_that_the_failure_policy_names_is_there() -> None:
    tests = sources("tests/**/*.py")
    lines = rows(page("failure-policy.md"), "what fails")
    assert lines
    for what, *_, shown_by in lines:
        assert words([shown_by]), what
        assert [name for name in words([shown_by]) if f"def {name}(" not in tests] == []


def test_the_site_has_every_page_once() -> None:
    made = {"reference-graphql.md", "reference-environment.md"}
    listed = re.findall(r": ([a-z-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted({path.name for path in ROOT.glob("docs/*.md")} | made)


def test_links_between_the_pages_lead_somewhere() -> None:
    assert [
        link for page in PAGES for link in links(page) if not (page.parent / link).exists()
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_queries_fit_the_schema(page: Path) -> None:
    text = page.read_text()
    queries = re.findall(r"```graphql\n(.*?)```", text, re.DOTALL)
    queries += re.findall(r"gql`(.*?)`", text, re.DOTALL)
    queries += [
        json.loads(body)["query"] for body in re.findall(r"(?:-d|--json) '({\"query.*?})'", text)
    ]
    for query in queries:
        assert validate(SCHEMA, parse(query)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_can_read_what_is_written_in_it(page: Path) -> None:
    for snippet in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        ast.parse(snippet)


def links(page: Path) -> list[str]:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    return [target for target in targets if "://" not in target]
