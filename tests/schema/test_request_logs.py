"""The list of recorded requests: who may read it, what a row says, filters and pages."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schema.keyset import cursor_writer
from tests.schema.record import NOON, ask, plan_of, reader, record, refused, row, statements, told
from tracking.models import RequestLog
from users.models import User

pytestmark = pytest.mark.django_db

PATHS = "query Q($filter: RequestLogFilter) { requestLogs(filter: $filter) { nodes { path } } }"
PAGE = """
query Page($filter: RequestLogFilter, $order: RequestLogOrder,
           $first: Int, $after: String, $last: Int, $before: String) {
  requestLogs(filter: $filter, order: $order,
              first: $first, after: $after, last: $last, before: $before) {
    edges { cursor node { id path } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""


@pytest.fixture
def client() -> Client:
    return reader()


def paths(client: Client, **filter_: Any) -> list[str]:
    nodes = told(client, PATHS, filter=filter_)["requestLogs"]["nodes"]
    return [node["path"] for node in nodes]


# Who may read


def test_a_stranger_gets_an_error_and_no_list() -> None:
    record(row())
    code, _ = refused(Client(), "{ requestLogs { nodes { id } } }")
    assert code == "UNAUTHENTICATED"


def test_a_user_without_the_permission_gets_an_error_and_no_list() -> None:
    record(row())
    client = Client()
    client.force_login(User.objects.create_user("nobody"))
    code, message = refused(client, "{ requestLogs { nodes { id } } }")
    assert code == "FORBIDDEN"
    assert "tracking.view_requestlog" in message


def test_a_permission_counts_from_the_next_request_on(client: Client) -> None:
    told(client, "{ requestLogs { nodes { id } } }")
    User.objects.get().user_permissions.remove(Permission.objects.get(codename="view_requestlog"))
    code, _ = refused(client, "{ requestLogs { nodes { id } } }")
    assert code == "FORBIDDEN"


def test_one_refused_field_leaves_its_siblings(client: Client) -> None:
    answer = ask(client, "{ serverInfo { name } requestLogs(first: 0) { nodes { id } } }")
    assert answer["data"] == {"serverInfo": {"name": "alx-backend-security"}, "requestLogs": None}


# What a row says


EVERYTHING = """{ requestLogs { nodes { id at address method host path query status durationMs
    country city asn username userAgent referer requestId operations verdict tags source } } }"""


def test_a_row_says_everything_that_was_recorded(client: Client) -> None:
    [saved] = record(
        row(
            datetime(2026, 5, 17, 12, 0, 0, 7, tzinfo=UTC),
            address="2001:db8::1",
            method="POST",
            host="shop.example",
            path="/login%0A",
            query="next=/",
            status=403,
            duration_ms=12.25,
            country="DE",
            city="Köln",
            asn=64500,
            username="ada",
            user_agent="curl/8",
            referer="https://example.org/",
            request_id="f" * 32,
            operations=("Login", "login"),
            verdict="BLOCKED",
            tags=("sqli", "xss"),
            source="access.log",
        )
    )
    [node] = told(client, EVERYTHING)["requestLogs"]["nodes"]
    assert node == {
        "id": base64.b64encode(f"RequestLog:{saved.pk}".encode()).decode(),
        "at": "2026-05-17T12:00:00.000007Z",
        "address": "2001:db8::1",
        "method": "POST",
        "host": "shop.example",
        "path": "/login%0A",
        "query": "next=/",
        "status": 403,
        "durationMs": 12.25,
        "country": "DE",
        "city": "Köln",
        "asn": 64500,
        "username": "ada",
        "userAgent": "curl/8",
        "referer": "https://example.org/",
        "requestId": "f" * 32,
        "operations": ["Login", "login"],
        "verdict": "BLOCKED",
        "tags": ["sqli", "xss"],
        "source": "access.log",
    }


def test_what_is_unknown_is_null_and_what_was_not_sent_is_empty(client: Client) -> None:
    record(row())
    [node] = told(
        client,
        "{ requestLogs { nodes { country city asn username userAgent referer query tags } } }",
    )["requestLogs"]["nodes"]
    unknown = {"country": None, "city": None, "asn": None, "username": None}
    assert node == unknown | {"userAgent": "", "referer": "", "query": "", "tags": []}


def test_an_asn_that_int_cannot_carry_costs_only_itself(client: Client) -> None:
    record(row(asn=4_200_000_000))
    [node] = told(client, "{ requestLogs { nodes { asn path } } }")["requestLogs"]["nodes"]
    assert node == {"asn": None, "path": "/"}


# Filters


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        ({}, "abcde"),
        ({"at": {"gte": "2026-05-17T12:00:01Z", "lt": "2026-05-17T12:00:03Z"}}, "bc"),
        ({"at": {"gte": "2026-05-17T14:00:03+02:00"}}, "de"),
        ({"at": {}}, "abcde"),
        ({"at": None, "address": None, "country": None, "AND": None}, "abcde"),
        ({"address": "192.0.2.1"}, "a"),
        ({"address": "::ffff:192.0.2.1"}, "a"),
        ({"address": "2001:DB8:0::1"}, "c"),
        ({"network": "192.0.2.0/24"}, "ab"),
        ({"network": "192.0.2.1"}, "a"),
        ({"network": "2001:db8::/32"}, "c"),
        ({"network": "0.0.0.0/0"}, "abde"),
        ({"country": ["DE", "fr"]}, "ab"),
        ({"country": []}, ""),
        ({"asn": [1, 2147483647]}, "a"),
        ({"asn": []}, ""),
        ({"method": ["POST"]}, "b"),
        ({"method": ["post"]}, ""),
        ({"status": {"gte": 400, "lte": 499}}, "bc"),
        ({"status": {"lte": -1}}, ""),
        ({"status": {"gte": -2147483648, "lte": 2147483647}}, "abcde"),
        ({"path": {"startsWith": "/d"}}, "d"),
        ({"path": {"startsWith": "/D"}}, ""),
        ({"path": {"startsWith": ""}}, "abcde"),
        ({"username": "ada"}, "d"),
        ({"username": ""}, "abce"),
        ({"operation": "login"}, "d"),
        ({"operation": "Login"}, ""),
        ({"operation": "log"}, ""),
        ({"verdict": ["BLOCKED", "LIMITED"]}, "bc"),
        ({"verdict": []}, ""),
        ({"source": "access.log"}, "e"),
        ({"tag": ["sqli", "xss"]}, "de"),
        ({"tag": ["sql"]}, ""),
        ({"tag": ["s_li", "%"]}, ""),
        ({"tag": []}, ""),
        ({"AND": [{"status": {"gte": 400}}, {"country": ["FR"]}]}, "b"),
        ({"AND": []}, "abcde"),
        ({"OR": [{"address": "192.0.2.1"}, {"username": "ada"}]}, "ad"),
        ({"OR": []}, ""),
        ({"OR": [{}]}, "abcde"),
        ({"OR": [{"country": []}, {"country": ["DE"]}]}, "a"),
        ({"NOT": {"country": ["DE"]}}, "bcde"),
        ({"NOT": {"asn": [1]}}, "bcde"),
        ({"NOT": {}}, ""),
        ({"NOT": {"OR": []}}, "abcde"),
        ({"NOT": {"NOT": {"country": ["DE"]}}}, "a"),
        ({"country": ["DE", "FR"], "NOT": {"method": ["POST"]}}, "a"),
    ],
)
def test_a_filter_finds_exactly_what_it_says(
    client: Client, filter_: dict[str, Any], found: str
) -> None:
    record(
        row(0, path="/a", country="DE", asn=1),
        row(1, path="/b", address="192.0.2.9", country="FR", method="POST", status=403,
            verdict="BLOCKED"),
        row(2, path="/c", address="2001:db8::1", status=429, verdict="LIMITED"),
        row(3, path="/d", address="198.51.100.1", username="ada", operations=("login",),
            tags=("sqli",)),
        row(4, path="/e", address="198.51.100.2", source="access.log", tags=("xss", "lfi")),
    )  # fmt: skip
    assert "".join(path[1] for path in paths(client, **filter_))[::-1] == found


@pytest.mark.parametrize("special", ["%", "_", "\\", "'", "*", "[a]", "ü", "%00", "𝒳"])
def test_no_character_of_a_path_is_a_wildcard(client: Client, special: str) -> None:
    record(row(0, path=f"/x{special}y"), row(1, path="/xay"), row(2, path="/x/y"))
    always = {"gte": "2026-01-01T00:00:00Z"}
    assert paths(client, path={"startsWith": f"/x{special}"}) == [f"/x{special}y"]
    assert paths(client, path={"contains": special}, at=always) == [f"/x{special}y"]


def test_contains_looks_at_the_last_day_unless_the_filter_has_a_time(client: Client) -> None:
    now = timezone.now()
    record(
        row(now - timedelta(hours=25), path="/old-x"), row(now - timedelta(hours=23), path="/new-x")
    )
    long_ago = {"gte": "2000-01-01T00:00:00Z"}
    assert paths(client, path={"contains": "x"}) == ["/new-x"]
    assert paths(client, OR=[{"path": {"contains": "x"}}]) == ["/new-x"]
    assert paths(client, path={"contains": "x"}, at={}) == ["/new-x"]
    assert paths(client, path={"contains": "x"}, at=long_ago) == ["/new-x", "/old-x"]
    assert paths(client, AND=[{"path": {"contains": "x"}}, {"at": long_ago}]) == [
        "/new-x",
        "/old-x",
    ]
    assert paths(client, path={"startsWith": "/old"}) == ["/old-x"]


def nested(depth: int) -> dict[str, Any]:
    return {"status": {"gte": 1}} if depth == 1 else {"NOT": nested(depth - 1)}


def test_filters_nest_five_deep_and_no_deeper(client: Client) -> None:
    record(row())
    assert paths(client, **nested(5)) == ["/"]
    code, message = refused(client, PATHS, filter=nested(6))
    assert (code, "5" in message) == ("BAD_USER_INPUT", True)


@pytest.mark.parametrize(
    "filter_",
    [
        {"asn": list(range(300))},
        {"OR": [{"address": "192.0.2.1"}] * 150},
        {"AND": [{"OR": [{"status": {"gte": 1}}] * 20}] * 20},
    ],
)
def test_a_filter_of_too_many_conditions_is_refused(
    client: Client, filter_: dict[str, Any]
) -> None:
    code, message = refused(client, PATHS, filter=filter_)
    assert (code, "200" in message) == ("BAD_USER_INPUT", True)


@pytest.mark.parametrize(
    "filter_",
    [
        {"address": "192.0.2.1:80"},
        {"address": "192.0.2.0/24"},
        {"address": " 192.0.2.1"},
        {"address": "fe80::1%eth0"},
        {"address": "9" * 50_000},
        {"address": "\x00"},
        {"address": 3221225985},
        {"network": "192.0.2.1/24"},
        {"network": "192.0.2.0/255.255.255.0"},
        {"network": ""},
        {"country": ["DEU"]},
        {"country": ["ßß"]},
        {"country": [""]},
        {"at": {"gte": "2026-05-17T12:00:00"}},
        {"at": {"gte": "2026-05-17"}},
        {"at": {"gte": "2026-13-01T00:00:00Z"}},
        {"at": {"gte": "2026-05-17T12:00:00.1234567Z"}},
        {"at": {"gte": "2026-05-17 12:00:00Z"}},
        {"at": {"gte": "٢٠٢٦-05-17T12:00:00Z"}},
        {"at": {"gte": "0001-01-01T00:00:00+14:00"}},
        {"at": {"lt": "9999-12-31T23:59:59-14:00"}},
        {"at": {"lt": 1779000000}},
        {"path": {"startsWith": "\x00"}},
        {"path": {"contains": "\ud800"}},
        {"path": {"contains": "x" * 3000}},
        {"username": "a\x00b"},
        {"source": "\udfff"},
        {"method": ["GET", "\x00"]},
        {"operation": "two words"},
        {"operation": ""},
        {"tag": ["sqli", "a\tb"]},
    ],
    ids=lambda filter_: str(filter_)[:60].encode("ascii", "backslashreplace").decode(),
)
def test_what_no_row_can_hold_is_refused_with_a_sentence(
    client: Client, filter_: dict[str, Any]
) -> None:
    code, message = refused(client, PATHS, filter=filter_)
    assert code == "BAD_USER_INPUT"
    assert len(message) < 500


def test_a_wrong_literal_in_the_document_is_told_apart_by_its_place(client: Client) -> None:
    answer = ask(client, '{ requestLogs(filter: {address: "192.0.2.1:80"}) { nodes { id } } }')
    [error] = answer["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["locations"] == [{"line": 1, "column": 33}]


@pytest.mark.parametrize("asn", [2**31, -(2**63), 10**400, 1.5, "1", True])
def test_numbers_that_are_no_int_are_refused(client: Client, asn: object) -> None:
    code, _ = refused(client, PATHS, filter={"asn": [asn]})
    assert code == "BAD_USER_INPUT"


# Pages


def walk(client: Client, backward: bool, size: int, **arguments: Any) -> Iterator[dict[str, Any]]:
    """Yield page after page in one direction until it says there is no more."""
    sizes, cursors, more, ends = (
        ("last", "before", "hasPreviousPage", "startCursor")
        if backward
        else ("first", "after", "hasNextPage", "endCursor")
    )
    cursor = None
    while True:
        position = {} if cursor is None else {cursors: cursor}
        page = told(client, PAGE, **{sizes: size}, **position, **arguments)["requestLogs"]
        yield page
        if not page["pageInfo"][more]:
            return
        cursor = page["pageInfo"][ends]


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
@pytest.mark.parametrize("backward", [False, True])
@given(seconds=st.lists(st.integers(0, 3), max_size=12), size=st.integers(1, 6))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_paging_gives_each_row_once_in_order_and_its_ends_are_true(
    client: Client, direction: str, backward: bool, seconds: list[int], size: int
) -> None:
    RequestLog.objects.all().delete()
    rows = record(*[row(second, path=f"/{n}") for n, second in enumerate(seconds)])
    expected = [one.path for one in sorted(rows, key=lambda one: (one.at, one.pk))]
    if direction == "DESC":
        expected.reverse()
    pages = list(walk(client, backward, size, order={"direction": direction}))
    if backward:
        pages.reverse()
    assert [edge["node"]["path"] for page in pages for edge in page["edges"]] == expected
    for place, page in enumerate(pages):
        info = page["pageInfo"]
        assert info["hasPreviousPage"] is (place > 0)
        assert info["hasNextPage"] is (place < len(pages) - 1)
        cursors = [edge["cursor"] for edge in page["edges"]]
        assert [info["startCursor"], info["endCursor"]] == (
            [cursors[0], cursors[-1]] if cursors else [None, None]
        )


def test_a_cursor_outlives_its_row(client: Client) -> None:
    rows = record(*[row(n, path=f"/{n}") for n in range(4)])
    first = told(client, PAGE, first=1)["requestLogs"]
    RequestLog.objects.filter(pk=rows[3].pk).delete()
    rest = told(client, PAGE, first=2, after=first["pageInfo"]["endCursor"])["requestLogs"]
    assert [edge["node"]["path"] for edge in rest["edges"]] == ["/2", "/1"]
    assert rest["pageInfo"]["hasPreviousPage"] is False
    assert rest["pageInfo"]["hasNextPage"] is True


def test_rows_between_two_cursors_are_the_rows_between(client: Client) -> None:
    record(*[row(n, path=f"/{n}") for n in range(5)])
    cursors = [edge["cursor"] for edge in told(client, PAGE)["requestLogs"]["edges"]]
    between = told(client, PAGE, after=cursors[0], before=cursors[4])["requestLogs"]
    assert [edge["node"]["path"] for edge in between["edges"]] == ["/3", "/2", "/1"]
    assert between["pageInfo"]["hasNextPage"] is True
    assert between["pageInfo"]["hasPreviousPage"] is True
    crossed = told(client, PAGE, after=cursors[4], before=cursors[0])["requestLogs"]
    assert crossed["edges"] == []


def test_a_page_has_fifty_rows_unless_asked_otherwise(client: Client) -> None:
    record(*[row(n) for n in range(120)])
    assert len(told(client, PAGE)["requestLogs"]["edges"]) == 50
    assert len(told(client, PAGE, first=100)["requestLogs"]["edges"]) == 100
    assert len(told(client, PAGE, first=None, last=100)["requestLogs"]["edges"]) == 100


@pytest.mark.parametrize(
    "sizes",
    [{"first": 0}, {"first": 101}, {"last": -1}, {"last": 2147483647}, {"first": 5, "last": 5}],
)
def test_page_sizes_outside_their_bounds_are_refused_not_clamped(
    client: Client, sizes: dict[str, int]
) -> None:
    code, message = refused(client, PAGE, **sizes)
    assert code == "BAD_USER_INPUT"
    assert "first" in message or "last" in message


def cursor_of(at: datetime, pk: int) -> str:
    return cursor_writer()(at, pk)


def flipped(cursor: str, place: int) -> str:
    other = "A" if cursor[place] != "A" else "B"
    return cursor[:place] + other + cursor[place + 1 :]


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "arrayconnection:0",
        "YXJyYXljb25uZWN0aW9uOjA=",
        "=" * 32,
        "\x00" * 32,
        "é" * 32,
        "A" * 32,
        " " * 32,
        "x" * 50_000,
        base64.urlsafe_b64encode(b"\xff" * 24).decode(),
        cursor_of(NOON, 1) + "\n",
        cursor_of(NOON, 1).lower(),
        *[flipped(cursor_of(NOON, 1), place) for place in range(32)],
    ],
    ids=lambda cursor: cursor[:40].encode("ascii", "backslashreplace").decode(),
)
@pytest.mark.parametrize("argument", ["after", "before"])
def test_a_cursor_this_service_never_wrote_is_refused(
    client: Client, cursor: str, argument: str
) -> None:
    code, message = refused(client, PAGE, **{argument: cursor})
    assert code == "BAD_USER_INPUT"
    assert message.startswith(f"{argument} is not a cursor")


@pytest.mark.parametrize(
    "at", [datetime.min.replace(tzinfo=UTC), NOON, datetime.max.replace(tzinfo=UTC)]
)
def test_any_written_cursor_can_be_read(client: Client, at: datetime) -> None:
    record(row())
    assert "requestLogs" in told(client, PAGE, after=cursor_of(at, 2**63 - 1))


# What it costs


def test_a_page_is_one_statement_wherever_it_lies_and_the_count_is_another(
    client: Client,
) -> None:
    record(*[row(n) for n in range(30)])
    first = told(client, PAGE, first=10)["requestLogs"]["pageInfo"]["endCursor"]
    count = "{ requestLogs { nodes { path } totalCount { value exact } } }"
    assert len(statements(client, PAGE, first=10)) == 1
    assert len(statements(client, PAGE, first=10, after=first)) == 1
    assert len(statements(client, PAGE, last=10, before=first)) == 1
    assert len(statements(client, count)) == 2


def test_the_count_is_exact_up_to_a_bound_and_says_when_it_is_not(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(*[row(n, status=200 + n % 2) for n in range(60)])
    count = """query Q($filter: RequestLogFilter)
               { requestLogs(first: 1, filter: $filter) { totalCount { value exact } } }"""
    assert told(client, count)["requestLogs"]["totalCount"] == {"value": 60, "exact": True}
    half = {"status": {"lte": 200}}
    monkeypatch.setattr("schema.requests.MOST_COUNTED", 30)
    assert told(client, count)["requestLogs"]["totalCount"] == {"value": 30, "exact": False}
    assert told(client, count, filter=half)["requestLogs"]["totalCount"] == {
        "value": 30,
        "exact": True,
    }
    none = told(client, count, filter={"country": []})["requestLogs"]["totalCount"]
    assert none == {"value": 0, "exact": True}


def test_a_later_page_is_one_range_of_the_index(client: Client) -> None:
    record(*[row(n // 5, path=f"/{n}") for n in range(3000)])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    cursors = told(client, PAGE)["requestLogs"]["pageInfo"]
    [forward] = statements(client, PAGE, after=cursors["endCursor"])
    [backward] = statements(client, PAGE, last=10, before=cursors["endCursor"])
    for sql in (forward, backward):
        plan = plan_of(sql)
        assert "requestlog_at" in plan
        assert "Sort" not in plan
        assert "B-TREE" not in plan
        assert "(at<?)" in plan or "(at>?)" in plan or "Index Cond: (ROW(at, id)" in plan


@pytest.mark.parametrize(
    ("filter_", "index"),
    [
        ({"tag": ["sqli"]}, "requestlog_tagged_at"),
        ({"verdict": ["BLOCKED", "LIMITED"]}, "requestlog_refused_at"),
        ({"address": "192.0.2.7"}, "requestlog_address_at"),
    ],
)
def test_rare_rows_are_found_by_their_own_index(
    client: Client, filter_: dict[str, Any], index: str
) -> None:
    record(*[row(n, address=f"192.0.2.{n % 250}") for n in range(3000)])
    record(row(0, tags=("sqli",), verdict="BLOCKED"))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    [sql] = statements(client, PATHS, filter=filter_)
    assert index in plan_of(sql)
