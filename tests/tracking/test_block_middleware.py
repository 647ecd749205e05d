"""Who is blocked meets a refusal at every door, before anything else runs, and it is on record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from asgiref.sync import async_to_sync
from django.contrib.sessions.middleware import SessionMiddleware
from django.db import DatabaseError
from django.test import AsyncClient, Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from tracking import blocklist, drainer, policy, refusal, visits
from tracking.audit import COMMAND_LINE
from tracking.engine.rules import Rule, RuleAction
from tracking.engine.ruletext import read_target
from tracking.models import AccessRule, RequestLog
from tracking.proposals import Proposal
from users.middleware import BearerMiddleware
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)

BLOCK, ALLOW = RuleAction.BLOCK, RuleAction.ALLOW
ATTACKER = "203.0.113.7"
VISITOR = "198.51.100.20"
LONDON, PARIS, NOWHERE = "81.2.69.142", "2.125.160.9", "8.8.8.8"


def rule(text: str, action: RuleAction = BLOCK, **more: object) -> AccessRule:
    proposal = Proposal(target=read_target(text), action=action, **more)  # type: ignore[arg-type]
    if action is ALLOW:
        return blocklist.allow(COMMAND_LINE, proposal).rule
    return blocklist.block(COMMAND_LINE, proposal)


def client(address: str = ATTACKER) -> Client:
    return Client(REMOTE_ADDR=address)


def status(address: str, path: str = "/livelong/", **headers: str) -> int:
    return client(address).get(path, headers=headers).status_code


def rows() -> list[RequestLog]:
    drainer.drain()
    return list(RequestLog.objects.order_by("pk"))


DOORS = ["/", "/graphql/", "/api/auth/login/", "/admin/", "/admin/login/", "/static/none.css",
         "/nowhere/at/all", "/admin", "//", "/%2e%2e/", "/\x00", "/caf\xe9/"]  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE", "PROPFIND"])
@pytest.mark.parametrize("path", DOORS)
def test_every_door_is_closed_and_the_refusal_is_on_record(path: str, method: str) -> None:
    made = rule(ATTACKER)
    answer = client().generic(method, path)
    assert answer.status_code == 403
    [row] = rows()
    assert (row.status, row.verdict, row.rule_id) == (403, "BLOCKED", made.pk)
    assert (row.request_id, row.method) == (answer["X-Request-ID"], method)
    assert client(VISITOR).generic(method, path).status_code != 403 or method == "POST"


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize("path", ["/", "/graphql/"])
def test_a_refusal_says_how_long_it_is(path: str, accept: str) -> None:
    rule(ATTACKER)
    answer = client().get(path, headers={"accept": accept})
    assert int(answer["Content-Length"]) == len(answer.content) > 0


def test_asgi_refuses_alike() -> None:
    made = rule("127.0.0.0/8", observed=True)
    policy._rules.put("NETWORK", "127.0.0.0/8", Rule(made.pk, BLOCK))
    for path in ("/", "/graphql/", "/static/none.css"):
        assert async_to_sync(AsyncClient().get)(path).status_code == 403
    assert [row.rule_id for row in rows()] == [made.pk] * 3


def test_the_graphql_path_gets_the_shape_of_graphql() -> None:
    rule(ATTACKER)
    for accept, told in (
        ("application/json", "application/json"),
        ("application/graphql-response+json", "application/graphql-response+json"),
        ("text/html,*/*;q=0.1", "application/json"),
    ):
        answer = client().post("/graphql/", "{", "application/json", headers={"accept": accept})
        assert answer["Content-Type"] == f"{told}; charset=utf-8"
        [error] = answer.json()["errors"]
        assert error["extensions"] == {"code": "IP_BLOCKED", "reference": answer["X-Request-ID"]}


def test_programs_get_a_problem_and_people_a_page() -> None:
    rule(ATTACKER)
    problem = client().get("/api/", headers={"accept": "application/json"})
    assert problem["Content-Type"] == "application/problem+json; charset=utf-8"
    told = problem.json()
    assert (told["status"], told["code"]) == (403, "IP_BLOCKED")
    assert told["reference"] == problem["X-Request-ID"]
    page = client().get("/shop/", headers={"accept": "text/html,*/*;q=0.8"})
    assert page["Content-Type"] == "text/html; charset=utf-8"
    assert page["X-Request-ID"] in page.content.decode()
    for answer in (problem, page):
        assert answer["Cache-Control"] == "no-store"
        assert ATTACKER not in answer.content.decode()


@pytest.mark.parametrize("accept", ["text/html; a*=bogus''x", ";;;", "\xff", "a/b;q=nan", ""])
def test_no_header_is_strange_enough_to_break_a_refusal(accept: str) -> None:
    rule(ATTACKER)
    for path in ("/", "/graphql/"):
        assert status(ATTACKER, path, accept=accept) == 403
    assert len(rows()) == 2
    assert status(VISITOR, "/graphql/", accept=accept) != 500


class Ran(Exception): ...


def test_nothing_runs_for_who_is_blocked(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    user = User.objects.create_user("ada", is_staff=True, is_superuser=True)
    browser = client()
    browser.force_login(user)
    rule(ATTACKER)

    def run(*args: object) -> None:
        raise Ran

    monkeypatch.setattr(SessionMiddleware, "process_request", run)
    monkeypatch.setattr(BearerMiddleware, "__call__", run)
    monkeypatch.setattr("django.core.handlers.base.BaseHandler.resolve_request", run)
    with django_assert_num_queries(0):
        answer = browser.get("/admin/", headers={"authorization": "Bearer x"})
    assert answer.status_code == 403
    assert not answer.cookies
    with pytest.raises(Ran):
        client(VISITOR).get("/admin/")


def test_who_is_let_in_costs_no_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    rule(ATTACKER)
    rule("DE")
    with django_assert_num_queries(0):
        assert status(VISITOR, "/nowhere/") == 404
        answer = client(VISITOR).post(
            "/graphql/", {"query": "{ __typename }"}, "application/json"
        )  # fmt: skip
    assert answer.status_code == 200


def test_hits_are_counted_with_the_rows_and_not_before(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    made, other = rule("203.0.113.0/24"), rule("203.0.112.0/24", observed=True)
    with django_assert_num_queries(0):
        for number in range(30):
            status(f"203.0.113.{number}")
        for _ in range(12):
            status("203.0.112.9")
        status(VISITOR)
    assert not AccessRule.objects.exclude(hits=0).exists()
    rows()
    for row, hits in ((made, 30), (other, 12)):
        row.refresh_from_db()
        assert (row.hits, row.last_hit_at) == (
            hits,
            RequestLog.objects.filter(rule=row).latest("at").at,
        )
    assert not drainer.drain()
    assert AccessRule.objects.get(pk=made.pk).hits == 30


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """Hold the clock that requests are decided by; what it says is the list's one element."""
    held = [datetime.now(UTC)]
    monkeypatch.setattr(visits, "datetime", SimpleNamespace(now=lambda _: held[0]))
    return held


def test_a_block_ends_at_its_second_with_nobody_noting_it(
    clock: list[datetime], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    until = timezone.now() + timedelta(hours=1)
    rule(ATTACKER, expires_at=until)
    with django_assert_num_queries(0):
        for moment, expected in ((-1, 403), (0, 404), (1, 404)):
            clock[0] = until + timedelta(milliseconds=moment)
            assert status(ATTACKER) == expected


def test_observing_refuses_nobody_and_says_whom_it_would(settings: Settings) -> None:
    made = rule(ATTACKER)
    settings.TRACKING_ENFORCEMENT = "observe"
    assert status(ATTACKER) == 404
    settings.TRACKING_ENFORCEMENT = "enforce"
    assert status(ATTACKER) == 403
    assert [(row.verdict, row.rule_id) for row in rows()] == [
        ("OBSERVED", made.pk), ("BLOCKED", made.pk),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "closed", "open_"),
    [
        (
            {"path": "/admin/"},
            ["/admin/", "/admin/login/", "/%61dmin/", "/admin/../x", "/admin/;a"],
            ["/", "/admin", "/x/../admin/", "//admin/", "/ADMIN/"],
        ),
        ({"path": "/caf\xe9/"}, ["/caf%C3%A9/", "/caf%c3%a9/menu"], ["/caf%E9/", "/cafe/"]),
    ],
)
def test_a_path_is_compared_as_it_is_routed(
    scope: dict[str, str], closed: list[str], open_: list[str]
) -> None:
    """What looks like the path and is another leads nowhere: Django routes it to no view of it."""
    rule(ATTACKER, **scope)
    assert {path for path in closed + open_ if status(ATTACKER, path) == 403} == set(closed)
    assert {status(ATTACKER, path) for path in open_} <= {301, 404}


def test_a_method_is_compared_and_head_is_get() -> None:
    rule(ATTACKER, methods=("GET",))
    answers = {m: client().generic(m, "/x/").status_code for m in ("GET", "HEAD", "get", "PUT")}
    assert answers == {"GET": 403, "HEAD": 403, "get": 403, "PUT": 404}
    forged = client().put("/x/", headers={"x-http-method-override": "GET"})
    assert forged.status_code == 404


def test_a_country_is_refused_and_others_are_not(places: None) -> None:
    rule("GB")
    answers = [status(address) for address in (LONDON, PARIS, NOWHERE, "10.0.0.1", "::1")]
    assert answers == [403, 404, 404, 404, 404]
    rule("AS20712")
    rule("81.2.69.142", ALLOW)
    assert [status(address) for address in (LONDON, "81.2.69.1")] == [404, 403]


@pytest.mark.parametrize(("setting", "expected"), [("exempt", 404), ("any", 403)])
def test_only_these_countries_with_the_unknown_by_setting(
    places: None, settings: Settings, setting: str, expected: int
) -> None:
    settings.TRACKING_UNKNOWN_COUNTRY = setting
    policy.forget()
    blocklist.allow_only(COMMAND_LINE, [read_target("GB")])
    answers = {address: status(address) for address in (LONDON, PARIS, NOWHERE, "192.168.1.9")}
    assert answers == {LONDON: 404, PARIS: 403, NOWHERE: expected, "192.168.1.9": 404}


FORGED = ["x-forwarded-for", "x-real-ip", "client-ip", "true-client-ip", "cf-connecting-ip",
          "x-client-ip", "x-cluster-client-ip", "x-forwarded", "forwarded", "via"]  # fmt: skip


def test_a_forged_header_neither_frees_nor_blocks_anybody(settings: Settings) -> None:
    rule(ATTACKER)
    assert status(ATTACKER, **dict.fromkeys(FORGED, VISITOR)) == 403
    assert status(VISITOR, **dict.fromkeys(FORGED, ATTACKER)) == 404
    settings.TRACKING_TRUSTED_PROXIES = ["10.0.0.0/8"]
    assert status(ATTACKER, **dict.fromkeys(FORGED, VISITOR)) == 403
    assert status(VISITOR, **dict.fromkeys(FORGED, ATTACKER)) == 404
    proxied = "10.0.0.1"
    assert status(proxied, **{"x-forwarded-for": f"{VISITOR}, {ATTACKER}"}) == 403
    assert status(proxied, **{"x-forwarded-for": f"{ATTACKER}, {VISITOR}"}) == 404
    assert status(proxied, **{"x-forwarded-for": f"::ffff:{ATTACKER}"}) == 403


def test_the_last_rules_known_decide_while_the_database_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rule(ATTACKER)

    def away(*args: object, **kwargs: object) -> None:
        raise DatabaseError("it is away")

    monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.cursor", away)
    monkeypatch.setattr(policy, "_next_look", 0.0)  # now each request asks for news
    assert [status(ATTACKER), status(VISITOR), status(ATTACKER)] == [403, 404, 403]


def test_a_change_decides_the_next_request_of_the_same_process() -> None:
    for _ in range(3):
        rule(ATTACKER)
        assert status(ATTACKER) == 403
        blocklist.lift(COMMAND_LINE, read_target(ATTACKER), BLOCK)
        assert status(ATTACKER) == 404


def test_a_project_may_have_a_page_of_its_own(settings: Settings) -> None:
    page = "<p>go away: {{ reference }}</p>"
    loader = ("django.template.loaders.locmem.Loader", {"tracking/blocked.html": page})
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": [loader]},
        }
    ]
    refusal._blocked_page.cache_clear()
    rule(ATTACKER)
    answer = client().get("/", headers={"accept": "text/html"})
    refusal._blocked_page.cache_clear()
    assert answer.content.decode() == f"<p>go away: {answer['X-Request-ID']}</p>"
