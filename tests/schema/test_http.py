"""GraphQL over HTTP: what is asked in which way, and what comes back."""

from __future__ import annotations

import asyncio
import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries, Settings

from schema import documents, view
from tests.schema.toy import SECRET, toy

URL = "/graphql/"
JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def post(body: object, accept: str = GRAPHQL, client: Client | None = None, **kw: Any) -> Any:
    content = body if isinstance(body, bytes | str) else json.dumps(body)
    kw.setdefault("content_type", JSON)
    return (client or Client()).post(URL, content, headers={"accept": accept}, **kw)


def ask(query: str, accept: str = GRAPHQL, client: Client | None = None, **rest: object) -> Any:
    return post({"query": query, **rest}, accept, client)


def error(response: Any) -> dict[str, Any]:
    """Return the one error of an answer of GraphQL's shape."""
    assert response["Content-Type"].split(";")[0] in {JSON, GRAPHQL}
    (found,) = response.json()["errors"]
    assert set(found) <= {"message", "locations", "path", "extensions"}
    return dict(found)


def code(response: Any) -> str:
    return str(error(response)["extensions"]["code"])


@pytest.fixture
def misbehaving(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Answer with the toy schema."""
    documents._read.cache_clear()
    monkeypatch.setattr(view, "schema", toy)
    monkeypatch.setattr(documents, "schema", toy)
    yield
    documents._read.cache_clear()


# What the answer is called


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (GRAPHQL, GRAPHQL),
        (f"{GRAPHQL}, {JSON}", GRAPHQL),
        (f"{JSON}, {GRAPHQL}", JSON),
        (f"{GRAPHQL}; charset=utf-8, {JSON}; charset=utf-8", GRAPHQL),
        (f"{GRAPHQL};q=0.5, {JSON}", JSON),
        (f"{JSON};q=0.5, */*;q=0.1", JSON),
        (f"{JSON};q=0, */*", GRAPHQL),
        (f"*/*;q=0.9, {GRAPHQL}", GRAPHQL),
        (GRAPHQL.upper(), GRAPHQL),
        (BROWSER, JSON),
        (f"{JSON};q=nonsense", JSON),
    ],
)
def test_the_answer_has_the_type_that_is_preferred(accept: str, answered: str) -> None:
    response = ask("{__typename}", accept)
    assert response.status_code == 200
    assert response["Content-Type"] == f"{answered}; charset=utf-8"
    assert response.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("accept", ["image/png", "text/html", f"{JSON};q=0", "," * 7000, "a/b/c;;"])
def test_a_type_that_is_not_answered_is_406(accept: str) -> None:
    response = ask("{__typename}", accept)
    assert response.status_code == 406
    assert "application/graphql-response+json" in error(response)["message"]


@pytest.mark.parametrize("query", ["{", "{nothing}", "query A {__typename} query B {__typename}"])
def test_an_invalid_document_is_400_and_200_for_old_clients(query: str) -> None:
    new, old = ask(query), ask(query, JSON)
    assert (new.status_code, old.status_code) == (400, 200)
    for response in (new, old):
        assert code(response) == "GRAPHQL_VALIDATION_FAILED"
        assert "data" not in response.json()


def test_no_answer_is_kept_by_a_cache() -> None:
    for response in (ask("{__typename}"), ask("{"), post("null"), Client().put(URL)):
        assert response["Cache-Control"] == "no-store"
        assert response["X-Content-Type-Options"] == "nosniff"


# How it is asked


def test_queries_run_by_get() -> None:
    response = Client().get(URL, {"query": "{__typename}", "variables": "{}", "extensions": ""})
    assert response.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize("kind", ["mutation", "subscription"])
@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
def test_nothing_but_queries_runs_by_get(kind: str, accept: str) -> None:
    query = f"query Q {{__typename}} {kind} M {{__typename}}"
    asked = {"query": query, "operationName": "M"}
    response = Client().get(URL, asked, headers={"accept": accept})
    assert response.status_code == 405
    assert response["Allow"] == "POST"
    assert code(response) == "BAD_USER_INPUT"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "BREW"])
def test_other_methods_are_405(method: str) -> None:
    response = Client().generic(method, URL, '{"query": "{__typename}"}', content_type=JSON)
    assert response.status_code == 405
    assert response["Allow"] == "GET, POST, OPTIONS"
    assert code(response) == "BAD_USER_INPUT"


def test_head_and_options_say_what_is_allowed() -> None:
    assert Client().head(URL)["Allow"] == "GET, POST, OPTIONS"
    assert Client().head(URL).status_code == 405
    assert Client().options(URL)["Allow"] == "GET, POST, OPTIONS"
    assert Client().options(URL).status_code == 204


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/graphql",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/jsonx",
        "text/plain, application/json",
    ],
)
def test_bodies_of_another_type_are_415(content_type: str) -> None:
    response = post({"query": "{__typename}"}, content_type=content_type)
    assert response.status_code == 415
    assert code(response) == "BAD_USER_INPUT"


@pytest.mark.parametrize("content_type", ["application/json;charset=UTF-8", "Application/JSON"])
def test_json_may_be_spelled_otherwise(content_type: str) -> None:
    assert post({"query": "{__typename}"}, content_type=content_type).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b" ",
        b"{",
        b"null",
        b"true",
        b"1",
        b'"{__typename}"',
        b"[]",
        b'[{"query": "{__typename}"}]',
        b"{}",
        b"\xff\xfe",
        b'{"query": "{__typename}\xe9"}',
        b'\xef\xbb\xbf{"query": "{__typename}"}',
        b'{"query": "{__typename}", "variables": {"a": NaN}}',
        b'{"query": "{__typename}", "variables": {"a": -Infinity}}',
        b'{"query": "{__typename}", "variables": {"a": "\\ud800"}}',
        b'{"query": "{__typename}", "variables": {"\\udfff": 1}}',
        b'{"query": "{__typename}", "operationName": "\\udc00"}',
        b'{"query": "# \\ud800\\n{__typename}"}',
        b'{"query": "{__typename}", "variables": {"a": ' + b"9" * 5000 + b"}}",
        b'{"query": "{__typename}", "variables": {"a": ' + b"[" * 30 + b"]" * 30 + b"}}",
        b'{"query": "{__typename}", "variables": ' + b'{"a":' * 900 + b"1" + b"}" * 901,
        b"[" * 60_000,
        b'{"a":' * 12_000,
        b'{"query": "{__typename}", "x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b'{"query": "{__typename}"}' + b" " * 65_536,
        b'{"query": "  "}',
        b"--x\r\nContent-Disposition: form-data; name=operations\r\n\r\n{}\r\n--x--",
    ],
    ids=lambda body: body[:50].decode("ascii", "backslashreplace"),
)
@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
def test_a_body_that_asks_nothing_is_400(body: bytes, accept: str) -> None:
    response = post(body, accept)
    assert response.status_code == 400
    assert code(response) == "BAD_USER_INPUT"
    assert len(error(response)["message"]) < 200


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        *[("query", value) for value in (0, False, ["a"], {"a": 1}, None)],
        *[("operationName", value) for value in (0, False, ["a"], {"a": 1})],
        *[("variables", value) for value in (0, False, ["a"], "a")],
        *[("extensions", value) for value in (0, False, ["a"], "a")],
    ],
)
def test_a_parameter_of_another_type_is_400_and_named(parameter: str, value: object) -> None:
    response = post({"query": "{__typename}", parameter: value})
    assert response.status_code == 400
    assert parameter in error(response)["message"]


@pytest.mark.parametrize("variables", ["1", "[]", "{", '"a"', "\x00", "[" * 5000])
def test_variables_in_the_url_are_checked_alike(variables: str) -> None:
    response = Client().get(URL, {"query": "{__typename}", "variables": variables})
    assert response.status_code == 400
    assert "variables" in error(response)["message"]


def test_a_long_url_is_refused() -> None:
    response = Client().get(URL, {"query": "{__typename}" + " " * 70_000})
    assert (response.status_code, code(response)) == (400, "BAD_USER_INPUT")


def test_more_parameters_than_django_reads_are_400() -> None:
    response = Client().get(URL + "?query={__typename}" + "&a=1" * 2_000)
    assert (response.status_code, code(response)) == (400, "BAD_USER_INPUT")


class Stream:
    """A body that keeps count of what was read of it."""

    def __init__(self, failing: bool = False) -> None:
        self.taken = 0
        self.failing = failing

    def read(self, size: int = -1) -> bytes:
        if self.failing:
            raise OSError("connection reset")
        self.taken += size
        return b" " * size


def streamed(stream: Stream, length: str) -> HttpResponse:
    request = RequestFactory().post(URL, b"x", content_type=JSON)
    request.META["CONTENT_LENGTH"] = length
    request._stream = stream
    return view.graphql(request)


def test_a_long_body_is_not_read() -> None:
    stream = Stream()
    assert streamed(stream, str(10**9)).status_code == 400
    assert stream.taken == 0


@pytest.mark.parametrize("length", ["", "0", "-1", "١٢", "1" * 40])
def test_a_body_without_a_true_length_is_read_up_to_the_limit(length: str) -> None:
    stream = Stream()
    assert streamed(stream, length).status_code == 400
    assert stream.taken <= 65_537


def test_a_body_that_breaks_off_is_400() -> None:
    assert streamed(Stream(failing=True), "10").status_code == 400


def test_the_limit_on_bodies_is_a_setting(settings: Settings) -> None:
    settings.GRAPHQL_LIMITS = {"body_bytes": 30}
    assert ask("{__typename}").status_code == 200
    assert "30 bytes" in error(ask("{__typename}" + " " * 30))["message"]


# Who asks


def user(**rest: object) -> Any:
    return get_user_model().objects.create_user(username="ada", password="x", **rest)


def signed_in(enforce_csrf_checks: bool = True) -> Client:
    client = Client(enforce_csrf_checks=enforce_csrf_checks)
    client.force_login(user(is_staff=True, is_superuser=True))
    return client


def test_a_request_without_a_cookie_needs_no_csrf_token() -> None:
    client = Client(enforce_csrf_checks=True)
    client.cookies["csrftoken"] = "a" * 32
    for origin in ({}, {"origin": "https://elsewhere.example"}):
        response = client.post(URL, '{"query":"{__typename}"}', content_type=JSON, headers=origin)
        assert response.json() == {"data": {"__typename": "Query"}}


@pytest.mark.django_db
def test_a_session_cookie_needs_the_csrf_token() -> None:
    client = signed_in()
    client.cookies["csrftoken"] = "a" * 32
    response = ask("{__typename}", client=client)
    assert response.status_code == 403
    assert code(response) == "FORBIDDEN"
    assert "X-CSRFToken" in error(response)["message"]
    for token, status in (("a" * 32, 200), ("b" * 32, 403), ("", 403), ("a" * 40, 403)):
        sent = {"x-csrftoken": token}
        again = client.post(URL, '{"query":"{__typename}"}', content_type=JSON, headers=sent)
        assert again.status_code == status


@pytest.mark.django_db
def test_a_session_of_another_site_is_refused_even_with_the_token() -> None:
    client = signed_in()
    client.cookies["csrftoken"] = "a" * 32
    sent = {"x-csrftoken": "a" * 32, "origin": "https://elsewhere.example"}
    response = client.post(URL, '{"query":"{__typename}"}', content_type=JSON, headers=sent)
    assert (response.status_code, code(response)) == (403, "FORBIDDEN")


@pytest.mark.django_db
def test_a_session_reads_by_get_without_a_token() -> None:
    response = signed_in().get(URL, {"query": '{__type(name:"Query"){name}}'})
    assert response.json() == {"data": {"__type": {"name": "Query"}}}


@pytest.mark.django_db
def test_an_authorization_header_makes_the_cookies_count_for_nothing() -> None:
    client = signed_in()
    query = '{"query":"{requestLogs(first:1){nodes{id}}}"}'
    sent = {"authorization": "Bearer anything"}
    response = client.post(URL, query, content_type=JSON, headers=sent)
    assert code(response) == "UNAUTHENTICATED"


@pytest.mark.django_db
def test_the_anonymous_cost_no_sql_and_no_session(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    with django_assert_num_queries(0):
        public, private = ask("{__typename}"), ask("{requestLogs(first:1){nodes{id}}}")
    assert public.json() == {"data": {"__typename": "Query"}}
    assert code(private) == "UNAUTHENTICATED"
    for response in (public, private):
        assert "Cookie" not in response.get("Vary", "")
        assert not response.cookies


@pytest.mark.django_db
def test_in_production_the_schema_is_for_the_signed_in(settings: Settings) -> None:
    direct = "{__schema{queryType{name}}}"
    hidden = "{...A} fragment A on Query {...{__schema{queryType{name}}}}"
    client = signed_in(enforce_csrf_checks=False)
    for query in (direct, hidden):
        assert code(ask(query)) == "UNAUTHENTICATED"
        assert ask(query, client=client).status_code == 200
        settings.GRAPHQL_OPEN_INTROSPECTION = True
        assert ask(query).status_code == 200
        del settings.GRAPHQL_OPEN_INTROSPECTION
    assert ask("{__typename}").json() == {"data": {"__typename": "Query"}}


# What goes wrong


def test_a_name_is_suggested_in_development_only(settings: Settings) -> None:
    assert (
        error(ask("{requestLog}"))["message"] == "Cannot query field 'requestLog' on type 'Query'."
    )
    settings.DEBUG = True
    assert "Did you mean 'requestLogs'" in error(ask("{requestLog}"))["message"]


@pytest.mark.parametrize(
    ("query", "name", "status"),
    [
        ("query A {__typename} query B {__typename}", "A", 200),
        ("query A {__typename}", None, 200),
        ("query A {__typename}", "", 200),
        ("query A {__typename}", "B", 400),
        ("query A {__typename} query B {__typename}", None, 400),
        ("query A {__typename} query A {__typename}", "A", 400),
        ("fragment F on Query {__typename}", None, 400),
        ("fragment F on Query {__typename}", "F", 400),
        ("type Query {__typename: Boolean}", None, 400),
    ],
)
def test_the_operation_must_be_clear(query: str, name: str | None, status: int) -> None:
    response = ask(query, operationName=name)
    assert response.status_code == status
    if status == 400:
        assert code(response) == "GRAPHQL_VALIDATION_FAILED"


@pytest.mark.usefixtures("misbehaving")
@pytest.mark.parametrize(
    "asked",
    [
        {"query": "query($l: Level!) {level(level: $l)}", "variables": {"l": "MIDDLE"}},
        {"query": "query($l: Level!) {level(level: $l)}", "variables": {"l": None}},
        {"query": "query($l: Level!) {level(level: $l)}"},
        {"query": "query($n: Int) {level(level: LOW, times: $n)}", "variables": {"n": 2**31}},
        {"query": "query($n: Int) {level(level: LOW, times: $n)}", "variables": {"n": "1"}},
    ],
)
def test_a_variable_that_does_not_fit_is_bad_input(asked: dict[str, Any]) -> None:
    new, old = post(asked), post(asked, JSON)
    assert (new.status_code, old.status_code) == (400, 200)
    assert code(new) == code(old) == "BAD_USER_INPUT"
    assert "data" not in new.json()


@pytest.mark.usefixtures("misbehaving")
def test_an_argument_that_turns_out_null_is_bad_input_beside_the_data() -> None:
    query = "query($n: Int = 1) {__typename level(level: LOW, times: $n)}"
    response = ask(query, variables={"n": None})
    assert response.status_code == 200
    assert response.json()["data"] == {"__typename": "Query", "level": None}
    assert code(response) == "BAD_USER_INPUT"


@pytest.mark.usefixtures("misbehaving")
def test_a_refusal_keeps_its_code_and_its_siblings() -> None:
    response = ask("{__typename refused}")
    assert response.status_code == 200
    assert response.json()["data"] == {"__typename": "Query", "refused": None}
    assert error(response)["extensions"] == {"code": "FORBIDDEN", "hint": 7}
    assert error(response)["path"] == ["refused"]


@pytest.mark.usefixtures("misbehaving")
@pytest.mark.parametrize("field", ["boom", "required", "number", "rows(first: 30) {name broken}"])
def test_what_nobody_expected_is_masked_and_logged_once(
    field: str, caplog: pytest.LogCaptureFixture
) -> None:
    marker = "theCallersOwnDocument"
    response = ask(f"query {marker} {{{field}}}")
    assert response.status_code == 200
    errors = response.json()["errors"]
    assert {each["extensions"]["code"] for each in errors} == {"INTERNAL_SERVER_ERROR"}
    (reference,) = {each["extensions"]["reference"] for each in errors}
    assert response["X-Request-ID"] == reference
    assert SECRET not in response.content.decode()
    assert "RuntimeError" not in response.content.decode()
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert record.exc_info
    assert reference in record.getMessage()
    assert f"{len(errors)} in all" in record.getMessage()
    assert marker not in caplog.text


@pytest.mark.usefixtures("misbehaving")
def test_a_field_that_may_not_be_null_takes_the_data_along() -> None:
    response = ask("{required}")
    assert response.status_code == 200
    assert response.json()["data"] is None


def test_a_fault_of_the_view_itself_has_graphqls_shape_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(view, "prepare", fail)
    response = ask("{__typename}")
    assert (response.status_code, code(response)) == (500, "INTERNAL_SERVER_ERROR")
    assert SECRET not in response.content.decode()
    assert SECRET in caplog.text


@pytest.mark.parametrize("query", ["{secretDocument", "{secretDocument}", "{" * 300])
def test_a_callers_mistake_is_not_logged_with_his_document(
    query: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ask(query)
    ask(query, JSON)
    assert not [record for record in caplog.records if record.exc_info]
    assert "secretDocument" not in caplog.text
    assert query not in caplog.text


# What is put on record


@pytest.mark.parametrize(
    ("asked", "recorded"),
    [
        ({"query": "{__typename again: __typename}"}, ("__typename",)),
        ({"query": "query Watch {me __typename}"}, ("Watch", "me", "__typename")),
        ({"query": "query A {__typename} query B {b}", "operationName": "B"}, ("B", "b")),
        ({"query": "{...F ... {c}} fragment F on Query {f ...F}"}, ("c", "f")),
        ({"query": "query(" + "$a: Int) {login(a: $a)}", "variables": {"a": "secret"}}, ("login",)),
        ({"query": "{" + "x" * 100 + "}"}, ("x" * 64,)),
        (
            {"query": "{" + " ".join(f"f{n}" for n in range(99)) + "}"},
            tuple(f"f{n}" for n in range(20)),
        ),
        ({"query": "{"}, ()),
        ({"query": "{__typename}", "operationName": "B"}, ()),
    ],
)
def test_the_visit_learns_what_was_asked(asked: dict[str, Any], recorded: tuple[str, ...]) -> None:
    request = RequestFactory().post(URL, json.dumps(asked), content_type=JSON)
    request.visit = SimpleNamespace(operations=(), request_id="r")  # type: ignore[attr-defined]
    view.graphql(request)
    assert request.visit.operations == recorded  # type: ignore[attr-defined]


# Other doors


def test_a_browser_gets_the_page_where_it_is_on(settings: Settings) -> None:
    settings.GRAPHIQL = True
    page = Client().get(URL, headers={"accept": BROWSER})
    assert page.status_code == 200
    assert page["Content-Type"].startswith("text/html")
    for accept in ("*/*", JSON):
        assert Client().get(URL, headers={"accept": accept}).status_code == 400
    asked = Client().get(URL, {"query": "{__typename}"}, headers={"accept": BROWSER})
    assert asked.json() == {"data": {"__typename": "Query"}}


def test_a_browser_gets_a_404_of_graphqls_shape_where_the_page_is_off(
    settings: Settings,
) -> None:
    settings.GRAPHIQL = False
    response = Client().get(URL, headers={"accept": BROWSER})
    assert (response.status_code, code(response)) == (404, "FORBIDDEN")


def test_an_asgi_server_answers_alike() -> None:
    async def talk() -> tuple[Any, Any]:
        client = AsyncClient()
        body = json.dumps({"query": "{__typename}"})
        return (
            await client.post(URL, body, content_type=JSON, headers={"accept": GRAPHQL}),
            await client.post(URL, b" " * 70_000, content_type=JSON),
        )

    good, long = asyncio.run(talk())
    assert good.json() == {"data": {"__typename": "Query"}}
    assert (long.status_code, code(long)) == (400, "BAD_USER_INPUT")


# Whatever comes


def survives(response: Any) -> None:
    assert response.status_code < 500
    body = response.json()
    assert set(body) <= {"data", "errors"}
    for each in body.get("errors", ()):
        assert each["extensions"]["code"] != "INTERNAL_SERVER_ERROR"


fuzzed = hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
SNIPPETS = (
    "{ } ( ) [ ] : ! $ @ # & | = ... query mutation subscription fragment F on Query ...F"
    " __typename __schema types name requestLogs nodes first: $a 9 -1.5e9 null true @skip(if:"
    ' "x" """x""" "\\ud800" \x00'
)
snippets = st.sampled_from([*SNIPPETS.split(" "), "\n", "fragment F on Query {"])


@given(st.binary(max_size=300))
@fuzzed
def test_no_bytes_break_it(body: bytes) -> None:
    survives(post(body))


@given(st.dictionaries(st.sampled_from(["query", "operationName", "variables", "x"]), values))
@fuzzed
def test_no_json_breaks_it(body: dict[str, object]) -> None:
    survives(post(body))


@given(st.lists(snippets, max_size=40).map(" ".join), values)
@fuzzed
def test_no_document_breaks_it(query: str, value: object) -> None:
    survives(ask(query, variables={"a": value}))


@given(
    st.sampled_from(
        [
            "query Q($a: Int = 5) {requestLogs(first: $a) {nodes {id path} pageInfo {endCursor}}}",
            "{__schema {types {name fields {name type {...T}}}}} fragment T on __Type {name kind}",
            '{a: __type(name: "Query") {name} ... @include(if: true) {__typename}}',
        ]
    ),
    st.data(),
)
@fuzzed
def test_no_change_to_a_good_document_breaks_it(query: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(query)))
    end = data.draw(st.integers(start, len(query)))
    survives(ask(query[:start] + data.draw(snippets | st.text(max_size=3)) + query[end:]))


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\x00"), max_size=200))
@fuzzed
def test_no_accept_header_breaks_it(accept: str) -> None:
    assert ask("{__typename}", accept).status_code in {200, 406}
