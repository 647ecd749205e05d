"""What one document may ask for, and that refusing it is cheap."""

from __future__ import annotations

import json
import re
import time
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import Client, RequestFactory
from graphql import get_introspection_query, parse
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from schema import documents, view
from schema.cost import Limits, limits, weigh
from schema.errors import Refusal
from tests.schema.toy import toy

URL = "/graphql/"
GRAPHQL = "application/graphql-response+json"
SLOWEST = 0.25  # seconds of CPU


def ask(query: str, variables: object = None, accept: str = GRAPHQL) -> Any:
    name = "Q0" if "query Q0" in query else None
    body = {"query": query, "variables": variables, "operationName": name}
    sent = {"accept": accept}
    return Client().post(URL, json.dumps(body), content_type="application/json", headers=sent)


def refusal(response: Any) -> tuple[str, str]:
    (error,) = response.json()["errors"]
    return error["extensions"]["code"], error["message"]


def chain(levels: int, last: str) -> str:
    """Return fragments of which each spreads the next one twice."""
    return "".join(
        f"fragment F{n} on Query {{...F{n + 1} ...F{n + 1}}} " for n in range(levels)
    ) + (f"fragment F{levels} on Query {{{last}}}")


@pytest.mark.parametrize(
    ("query", "limit"),
    [
        ("{" + "__typename " * 998 + "}", "500 fields"),
        ("{" + "__typename " * 999 + "}", "1000 tokens"),
        ("\n" * 2_001 + "{__typename}", "2,000 lines"),
        (" ".join(f"query Q{n} {{__typename}}" for n in range(21)), "20 operations"),
        ("{" + "a {" * 10 + "a" + "}" * 11, "10 levels"),
        ("{" + "a {" * 210 + "a" + "}" * 211, "nested too deeply"),
        ("{" + "... {" * 101 + "__typename" + "}" * 102, "100 levels"),
        ("{" + " ".join(f"a{n}: __typename" for n in range(16)) + "}", "15 aliases"),
        ("{" + " ".join(f"f{n}" for n in range(21)) + "}", "20 root fields"),
        ("mutation {" + "touch " * 6 + "}", "5 mutations"),
        ("mutation {...F ...F} fragment F on Mutation {a b c}", "5 mutations"),
        ("{__typename " + "@skip(if: $a) " * 51 + "}", "50 directives"),
        ("{a {" + "b " * 101 + "}}", "100 fields of one name"),
        ("{...F0}" + chain(20, "__typename"), "fields"),
        ("{rows(first: 100) {nodes {rows(first: 100) {name}}}}", "10,000 values"),
        ("{" + " ".join(f"__schema {{t{n}}}" for n in range(6)) + "}", "10,000 values"),
    ],
    ids=lambda value: value[:40],
)
def test_what_is_over_a_limit_is_refused_with_its_name(query: str, limit: str) -> None:
    response = ask(query)
    code, message = refusal(response)
    assert code == "QUERY_TOO_COSTLY", message
    assert limit in message
    assert message.endswith(".")
    assert response.status_code == 400
    assert ask(query, accept="application/json").status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "\n" * 2_000 + "{__typename}",
        "{" + "a {" * 9 + "a" + "}" * 10,
        "{" + "... {" * 90 + "__typename" + "}" * 91,
        "{" + " ".join(f"a{n}: __typename" for n in range(15)) + "}",
        "{" + " ".join(f"f{n}" for n in range(20)) + "}",
        "mutation {" + "touch " * 5 + "}",
        "{__typename " + "@skip(if: $a) " * 50 + "}",
        "{a {" + "b " * 100 + "}}",
        "{rows(first: 98) {nodes {rows(first: 100) {name}}}}",
        " ".join(f"query Q{n} {{a: __typename b: __typename}}" for n in range(20)),
    ],
    ids=lambda value: value[:40],
)
def test_what_is_within_the_limits_is_not_refused_for_its_cost(query: str) -> None:
    for error in ask(query).json().get("errors", ()):
        assert error["extensions"]["code"] != "QUERY_TOO_COSTLY", error


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("a: x b: x c: x d: x", "one {...F} two {...F} three {...F} four {...F}"),
        (
            "one @a @a @a two @a @a @a @a",
            "u {...F} v {...F} w {...F} x {...F} y {...F} z {...F}" * 2,
        ),
        ("a {b {c {d {e {f}}}}}", "one {two {three {four {five {...F}}}}}"),
        ("b " * 60, "one {...F} two {...F}"),
        ("... {b b b b}", "one {...F} " * 30),
    ],
)
def test_fragments_count_wherever_they_are_spread(inside: str, outside: str) -> None:
    code, _ = refusal(ask(f"{{{outside}}} fragment F on Query {{{inside}}}"))
    assert code == "QUERY_TOO_COSTLY"


def test_limits_on_tokens_leave_room_for_the_documents_of_a_front_end() -> None:
    fields = "id at address method path status country city username userAgent verdict"
    inside = f"edges {{node {{{fields}}}}} nodes {{{fields}}}"
    query = f"query Q($f: Int) {{requestLogs(first: $f) {{{inside}}}}}"
    assert refusal(ask(query, {"f": 100}))[0] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("size", "variables", "too_costly"),
    [
        ("first: $n", {"n": 100}, True),
        ("first: $n", {"n": 2}, False),
        ("first: $n", {}, False),
        ("last: $m", {}, True),
        ("last: $m", {"m": 3}, False),
        ("first: $n", {"n": -(10**30)}, False),
        ("first: 99999999999999999999999999", {}, True),
        ("first: -5", {}, False),
        ("top: 100", {}, True),
    ],
)
def test_page_sizes_multiply_what_is_inside_them(
    size: str, variables: dict[str, int], too_costly: bool
) -> None:
    query = f"query Q($n: Int, $m: Int = 100) {{a(first: 100) {{b({size}) {{c}}}}}}"
    try:
        weigh(parse(query), variables, Limits())
        refused = False
    except Refusal as error:
        refused = error.extensions == {"code": "QUERY_TOO_COSTLY", "limit": 10_000}
    assert refused is too_costly


def test_a_page_size_in_a_variable_is_weighed_for_every_request(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(view, "schema", toy)
    monkeypatch.setattr(documents, "schema", toy)
    documents._read.cache_clear()
    settings.GRAPHQL_LIMITS = {"cost": 50}
    query = "query($n: Int) {rows(first: $n) {name}}"
    assert len(ask(query, {"n": 7}).json()["data"]["rows"]) == 7
    assert refusal(ask(query, {"n": 70}))[0] == "QUERY_TOO_COSTLY"
    assert len(ask(query, {"n": 9}).json()["data"]["rows"]) == 9
    documents._read.cache_clear()


def test_a_size_no_page_can_have_is_left_to_the_field() -> None:
    assert refusal(ask("{requestLogs(first: 1000000) {nodes {id}}}"))[0] != "QUERY_TOO_COSTLY"


@pytest.mark.parametrize(
    "query",
    [
        "{...A} fragment A on Query {...A}",
        "{...A} fragment A on Query {...B} fragment B on Query {__typename ...A}",
        "{__typename} fragment A on Query {a {...B}} fragment B on Query {... {...A}}",
        "{__typename} fragment A on Query {__typename} fragment A on Query {__typename}",
        "{...A} fragment B on Query {__typename}",
    ],
)
def test_fragments_without_a_weight_are_invalid(query: str) -> None:
    for error in ask(query).json()["errors"]:
        assert error["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


@pytest.mark.parametrize("input_value_deprecation", [True, False])
def test_the_introspection_of_tools_passes_in_development(
    settings: Settings, input_value_deprecation: bool
) -> None:
    settings.DEBUG = True
    query = get_introspection_query(
        specified_by_url=True,
        directive_is_repeatable=True,
        schema_description=True,
        input_value_deprecation=input_value_deprecation,
    )
    response = ask(query)
    assert response.status_code == 200, response.content
    assert response.json()["data"]["__schema"]["types"]


@pytest.mark.parametrize(
    "inside",
    [
        "types {" + "ofType {" * 20 + "name" + "}" * 21,
        "types {fields {type {fields {type {fields {type {name}}}}}}}",
    ],
)
def test_introspection_is_bounded_too(settings: Settings, inside: str) -> None:
    settings.DEBUG = True
    assert ask(f"{{__schema {{{inside}}}}}").status_code == 400


@pytest.mark.parametrize(
    ("given_limits", "sentence"),
    [
        ({"dept": 3}, "'dept' is not one of"),
        ({"depth": 0}, "depth is not a whole number above 0"),
        ({"depth": "3"}, "depth is not a whole number above 0"),
        ({"depth": True}, "depth is not a whole number above 0"),
    ],
)
def test_a_wrong_limit_is_named(settings: Settings, given_limits: Any, sentence: str) -> None:
    settings.GRAPHQL_LIMITS = given_limits
    with pytest.raises(ImproperlyConfigured, match=sentence):
        limits()


def test_each_limit_is_a_setting(settings: Settings) -> None:
    assert ask("{__typename}").status_code == 200
    settings.GRAPHQL_LIMITS = {"root_fields": 1}
    assert ask("{__typename}").status_code == 200
    assert "1 root fields" in refusal(ask("{__typename __typename}"))[1]
    settings.GRAPHQL_LIMITS = {"tokens": 3}
    assert ask("{__typename}").status_code == 200
    assert "3 tokens" in refusal(ask("{__typename __typename}"))[1]


HOSTILE = {
    "one field 990 times": "{" + "b " * 990 + "}",
    "pairs of pairs": "{" + ("a {" + "b " * 8 + "} ") * 90 + "}",
    "doubling fragments": "{...F0}" + chain(20, "__typename"),
    "doubling nothing": "{...F0}" + chain(20, "...Unknown"),
    "a long cycle": "{...F0}"
    + "".join(
        f"fragment F{n} on Query {{...F{(n + 1) % 80} ...F{(n + 7) % 80}}}" for n in range(80)
    ),
    "many fragments": "{__schema {types {"
    + "".join(f"...F{n} " for n in range(95))
    + "}}}"
    + "".join(f"fragment F{n} on __Type {{name}} " for n in range(95)),
    "a chain of fragments": "{__schema {types {...F0}}}"
    + "".join(f"fragment F{n} on __Type {{name ...F{n + 1}}} " for n in range(99))
    + "fragment F99 on __Type {name}",
    "fields to merge": "{__schema {types {" + "ofType {ofType {ofType {name}}} " * 30 + "}}}",
    "arguments to merge": "{a {" + 'b(c: "' + "x" * 300 + '", d: [1, 2, 3]) ' * 60 + "}}",
    "many variables": "query(" + " ".join(f"$v{n}: Int" for n in range(240)) + ") {__typename}",
    "one variable often": "query(" + "$v: Int " * 240 + ") {__typename}",
    "many operations": " ".join(f"query Q{n} {{__typename}}" for n in range(190)),
    "deep lists": "{__typename(a: " + "[" * 480 + "]" * 480 + ")}",
    "deep objects": "{__typename(a: " + "{a: " * 190 + "1" + "}" * 190 + ")}",
    "a wide list": "{__typename(a: [" + "1 " * 900 + "])}",
    "deep types": "query($v: " + "[" * 450 + "Int" + "]" * 450 + ") {__typename}",
    "deep fragments": "{" + "... {" * 195 + "__typename" + "}" * 196,
    "many directives": "{__typename " + "@a " * 490 + "}",
    "many mistakes": "\n" * 1_900 + "{a {" + " ".join(f"b{n}" for n in range(400)) + "}}",
    "many conflicts": "{a {" + " ".join(f"x: b{n}" for n in range(15)) + "b " * 99 + "}}",
    "a long name": "{" + "x" * 60_000 + "}",
    "a long string": '{__type(name: "' + "x" * 60_000 + '") {name}}',
    "a long comment": "#" + "x" * 60_000 + "\n{__typename}",
    "commas": "," * 60_000 + "{__typename}",
}


def timed(query: str) -> tuple[float, HttpResponse]:
    """Return the CPU seconds that a document takes that was never seen before, and its answer."""
    documents._read.cache_clear()
    body = json.dumps({"query": query})
    request = RequestFactory().post(URL, body, content_type="application/json")
    started = time.thread_time()
    response: HttpResponse = view.graphql(request)
    return time.thread_time() - started, response


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_cost_little(settings: Settings, name: str, debug: bool) -> None:
    settings.DEBUG = debug
    # The least of three: now and then the garbage of all the tests before is collected meanwhile.
    spent, response = min((timed(HOSTILE[name]) for _ in range(3)), key=itemgetter(0))
    assert spent < SLOWEST
    assert response.status_code < 500
    assert len(response.content) < 70_000


def test_what_is_kept_is_bounded_by_number_and_by_length() -> None:
    documents._read.cache_clear()
    for number in range(3 * documents.CACHED_DOCUMENTS):
        ask(f"{{__typename}} # {number}")
    assert documents._read.cache_info().currsize == documents.CACHED_DOCUMENTS
    documents._read.cache_clear()
    ask("{__typename} #" + "x" * documents.CACHED_LENGTH)
    assert documents._read.cache_info().currsize == 0


def numbered(text: str, known: int) -> str:
    """Return the text with a plain field for each spread of a fragment from `known` on."""
    return re.sub(r"\.\.\.F(\d)", lambda each: each[0] if int(each[1]) < known else "z", text)


def written_out(text: str, bodies: list[str]) -> str:
    """Return the text with the body of its fragment for each spread."""
    return re.sub(r"\.\.\.F(\d)", lambda each: f"... {{{bodies[int(each[1])]}}}", text)


selections = st.recursive(
    st.sampled_from(["a", "b: c", "d @e", *(f"...F{n}" for n in range(6))]),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(
        lambda parts: f"g(first: {len(parts)}) {{{' '.join(parts)}}}"
    ),
    max_leaves=6,
)


@given(selections, st.lists(selections, max_size=6))
@hypothesis_settings(max_examples=300, deadline=None)
def test_fragments_weigh_what_they_would_weigh_written_out(main: str, bodies: list[str]) -> None:
    spread = f"{{{numbered(main, len(bodies))}}}"
    plain: list[str] = []
    for number, body in enumerate(bodies):  # each spreads earlier ones alone: no cycles
        inside = numbered(body, number)
        spread += f" fragment F{number} on Query {{{inside}}}"
        plain.append(written_out(inside, plain))
    alone = written_out(numbered(f"{{{main}}}", len(bodies)), plain)
    huge = Limits(**dict.fromkeys(Limits.__slots__, 10**9))
    weighed, expected = (weigh(parse(text), {}, huge) for text in (spread, alone))
    assert weighed.keys == expected.keys
    for each in ("depth", "aliases", "directives", "roots", "cost"):
        assert getattr(weighed, each) == getattr(expected, each), each


def test_every_limit_is_described_with_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "graphql-http.md").read_text()
    for name in Limits.__slots__:
        assert f"| `{name}` | {getattr(Limits(), name):,} |" in page


def test_each_fragment_is_weighed_once() -> None:
    document = parse("{...F0} " + chain(18, "__typename ...Unknown"))
    started = time.thread_time()
    weight = weigh(document, {}, Limits(**dict.fromkeys(Limits.__slots__, 10**9)))
    assert time.thread_time() - started < SLOWEST
    assert weight.keys == {"__typename": 2**18}
    spreads = 2**19 - 1 + 2**18  # the root's, both of each level's, and one beside each field
    assert weight.fields == 2**18 + spreads
