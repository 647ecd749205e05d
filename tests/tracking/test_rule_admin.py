"""The rules in the admin: who sees and changes them, what is found, and what cannot be done."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from tests.schema.record import record, row
from tracking import blocklist
from tracking.audit import COMMAND_LINE
from tracking.engine.rules import RuleAction
from tracking.engine.ruletext import read_target
from tracking.models import AccessRule, AuditEntry, LoginAttempt
from tracking.proposals import Proposal
from users.models import User

pytestmark = pytest.mark.django_db

BLOCKED = "/admin/tracking/blockedip/"
ALLOWED = "/admin/tracking/allowedtarget/"
PLACES = "/admin/tracking/blockedplace/"
EVERY = (BLOCKED, ALLOWED, PLACES)
FOR_4_HOURS = {"duration_0": "4h"}
HERE = "127.0.0.1"  # where the tests' client comes from


def staff(*permissions: str) -> Client:
    user = User.objects.create_user("operator", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return signed_in(user)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def operator() -> Client:
    return staff("view_accessrule", "add_accessrule", "change_accessrule")


@pytest.fixture
def root() -> Client:
    return signed_in(User.objects.create_superuser("root"))


def made(target: str, action: RuleAction = RuleAction.BLOCK, **facts: Any) -> AccessRule:
    proposal = Proposal(target=read_target(target), action=action, **facts)
    (outcome,) = blocklist.block_many(COMMAND_LINE, [proposal])
    assert isinstance(outcome, AccessRule), outcome
    return outcome


def page(client: Client, url: str, **asked: Any) -> str:
    response = client.get(url, asked or None)
    assert response.status_code == 200, response
    return response.content.decode()


def targets(client: Client, url: str, **asked: Any) -> set[str]:
    found = re.findall(r'class="field-whom[^>]*>(.*?)</th>', page(client, url, **asked))
    return {re.sub("<[^>]*>", "", cell) for cell in found}


def add(client: Client, url: str = BLOCKED, **told: str) -> str:
    """Fill in the form and return the page that follows, or the errors on the form."""
    response = client.post(url + "add/", FOR_4_HOURS | told, follow=True)
    assert response.status_code == 200
    return unescape(response.content.decode())


# Who may


@pytest.mark.parametrize("url", EVERY)
def test_a_stranger_is_sent_to_the_login_page(url: str) -> None:
    for each in (url, url + "add/", url + "import/", url + "export/", url + "lift/?rules=1"):
        assert Client().get(each)["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("url", EVERY)
def test_staff_without_permissions_may_do_nothing(url: str) -> None:
    rule, client = made("192.0.2.1"), staff()
    for each in ("", "add/", "import/", "export/", f"lift/?rules={rule.pk}", f"{rule.pk}/change/"):
        assert client.get(url + each).status_code in {302, 403}, each
        assert client.post(url + each, {"rules": rule.pk}).status_code in {302, 403}, each
    assert AccessRule.objects.get().ended_at is None


def test_who_may_only_look_changes_nothing() -> None:
    rule, client = made("192.0.2.1"), staff("view_accessrule")
    text = page(client, BLOCKED)
    assert "192.0.2.1" in text
    assert "Unblock" not in text + page(client, f"{BLOCKED}{rule.pk}/change/")
    assert "addlink" not in text
    for verb in ("lift", "extend", "again"):
        sent = {"rules": rule.pk} | FOR_4_HOURS
        assert client.post(f"{BLOCKED}{verb}/", sent).status_code == 403
        chosen = {"action": verb, "_selected_action": rule.pk}
        client.post(BLOCKED, chosen)
    assert client.post(BLOCKED + "import/").status_code == 403
    assert AccessRule.objects.get().ended_at is None


def test_who_may_only_add_lifts_nothing_and_lands_where_he_may_be() -> None:
    client = staff("add_accessrule")
    response = client.post(BLOCKED + "add/", FOR_4_HOURS | {"target": "192.0.2.1"}, follow=True)
    assert response.redirect_chain == [("/admin/", 302)]
    rule = AccessRule.objects.get()
    assert client.post(BLOCKED + "lift/", {"rules": rule.pk}).status_code == 403


@pytest.mark.parametrize("action", ["{pk}/delete/", "{pk}/change/", ""])
def test_not_even_a_superuser_deletes_or_rewrites_a_rule(root: Client, action: str) -> None:
    rule = made("192.0.2.1")
    sent = {"post": "yes", "action": "delete_selected", "_selected_action": rule.pk, "target": "x"}
    root.post(BLOCKED + action.format(pk=rule.pk), sent)
    assert AccessRule.objects.get().target == "192.0.2.1"


# The lists


def test_each_list_shows_its_own_rules(operator: Client) -> None:
    for target in ("192.0.2.1", "198.51.100.0/24", "DE", "AS64496"):
        made(target)
    made("203.0.113.0/24", RuleAction.ALLOW)
    assert targets(operator, BLOCKED) == {"192.0.2.1", "198.51.100.0/24"}
    assert targets(operator, ALLOWED) == {"203.0.113.0/24"}
    assert targets(operator, PLACES) == {"DE", "AS64496"}
    index = page(operator, "/admin/")
    for name in ("Blocked IPs", "Allowed", "Countries and networks (ASN)"):
        assert name in index


def test_a_rule_shows_what_an_operator_asks_of_it(operator: Client) -> None:
    rule = made("192.0.2.1", reason="scans", expires_at=timezone.now() + timedelta(hours=1))
    AccessRule.objects.update(hits=41_337, last_hit_at=timezone.now())
    for url in (BLOCKED, f"{BLOCKED}{rule.pk}/change/"):
        text = page(operator, url)
        for fact in ("scans", "command line", f"{timezone.now():%Y-%m-%d}", "41"):
            assert fact in text


def test_a_rule_that_refuses_little_is_told_from_one_that_refuses_all(operator: Client) -> None:
    made("192.0.2.1", observed=True)
    made("192.0.2.2", path="/shop/", methods=("POST", "PUT"))
    assert targets(operator, BLOCKED) == {
        "192.0.2.1 (only observed)",
        "192.0.2.2 POST PUT /shop/",
    }


def test_what_is_over_stays_as_history(operator: Client) -> None:
    made("192.0.2.1")
    blocklist.lift(COMMAND_LINE, read_target("192.0.2.1"), RuleAction.BLOCK)
    made("192.0.2.2", expires_at=timezone.now() + timedelta(hours=1))
    AccessRule.objects.filter(target="192.0.2.2").update(expires_at=timezone.now())
    made("192.0.2.3")
    assert targets(operator, BLOCKED) == {"192.0.2.3"}
    assert targets(operator, BLOCKED, state="ended") == {"192.0.2.1", "192.0.2.2"}
    assert len(targets(operator, BLOCKED, state="any")) == 3
    assert "ended 2" in page(operator, BLOCKED, state="ended")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("192.0.2.1", {"192.0.2.1", "192.0.2.0/24"}),
        ("::ffff:192.0.2.1", {"192.0.2.1", "192.0.2.0/24"}),
        ("192.0.2.0/25", {"192.0.2.1", "192.0.2.0/24"}),
        ("198.51.100.9", set()),
        ("scans", {"198.51.100.1"}),
        ("' OR 1=1 --", set()),
        ("\x00", {"192.0.2.1", "192.0.2.0/24", "198.51.100.1"}),
        ("9" * 5000, set()),
    ],
)
def test_a_search_by_address_finds_what_covers_it(
    operator: Client, text: str, found: set[str]
) -> None:
    for target in ("192.0.2.1", "192.0.2.0/24"):
        made(target)
    made("198.51.100.1", reason="scans at night")
    assert targets(operator, BLOCKED, q=text) == found


def test_reasons_are_shown_as_text(operator: Client) -> None:
    rule = made("192.0.2.1", reason="<script>alert(1)</script>\u202e")
    asked = (BLOCKED, f"{BLOCKED}{rule.pk}/change/", f"{BLOCKED}lift/?rules={rule.pk}")
    for url in asked:
        text = page(operator, url)
        assert "<script>alert" not in text
        assert "\u202e" not in text


def test_a_list_says_that_nothing_is_refused(operator: Client, settings: Settings) -> None:
    assert "Nothing is refused" not in page(operator, BLOCKED)
    settings.TRACKING_ENFORCEMENT = "observe"
    assert "Nothing is refused" in page(operator, BLOCKED)


# Making rules


def test_a_block_is_made_with_all_that_the_form_says(operator: Client) -> None:
    text = add(
        operator,
        target=" 192.0.2.0/24 ",
        reason="scans",
        observed="on",
        path="/shop/",
        methods="post, PUT",
    )
    assert "BLOCK 192.0.2.0/24" in text
    rule = AccessRule.objects.get()
    assert (rule.target, rule.reason, rule.observed) == ("192.0.2.0/24", "scans", True)
    assert (rule.path, rule.methods, rule.origin) == ("/shop/", ("POST", "PUT"), "MANUAL")
    assert rule.expires_at is not None
    assert rule.expires_at - rule.created_at == pytest.approx(
        timedelta(hours=4), abs=timedelta(seconds=5)
    )
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.address, entry.action) == ("operator", HERE, "block")


@pytest.mark.parametrize(
    ("told", "lasts"),
    [
        ({"duration_0": "7d"}, timedelta(days=7)),
        ({"duration_0": "", "duration_1": "15m"}, timedelta(minutes=15)),
        ({"duration_0": "until lifted"}, None),
    ],
)
def test_a_block_lasts_as_long_as_chosen(
    operator: Client, told: dict[str, str], lasts: timedelta | None
) -> None:
    add(operator, target="192.0.2.1", **told)
    rule = AccessRule.objects.get()
    if lasts is None or rule.expires_at is None:
        assert rule.expires_at is lasts
    else:
        assert rule.expires_at - rule.created_at == pytest.approx(lasts, abs=timedelta(seconds=5))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"target": ""}, "This field is required"),
        ({"target": "192.0.2.1/24"}, "write 192.0.2.0/24"),
        ({"target": "192.0.2.0/255.255.255.0"}, "prefix length"),
        ({"target": "nonsense"}, "is no target"),
        ({"target": "1" * 5000}, "at most 64 characters"),
        ({"target": HERE}, "lock out 127.0.0.1"),
        ({"target": "::ffff:127.0.0.0/104"}, "lock out 127.0.0.1"),
        ({"target": "::1"}, "may never be blocked"),
        ({"target": "10.0.0.7"}, "may never be blocked"),
        ({"target": "192.0.2.77"}, "is allowed"),
        ({"target": "198.51.100.1"}, "blocked already"),
        ({"target": "0.0.0.0/0"}, "wider than /8"),
        ({"target": "0.0.0.0/0", "force": "on"}, "wider than /8"),
        ({"target": "192.0.2.1", "duration_0": "", "duration_1": "soon"}, "no duration"),
        ({"target": "192.0.2.1", "duration_0": "", "duration_1": ""}, "required"),
        ({"target": "192.0.2.1", "duration_0": "", "duration_1": "-4h"}, "no duration"),
        ({"target": "192.0.2.1", "duration_0": "", "duration_1": "999999999w"}, "duration"),
        ({"target": "192.0.2.1", "duration_0": "", "duration_1": "999w"}, "at most ten years"),
        ({"target": "192.0.2.1", "path": "shop"}, "beginning of a path"),
        ({"target": "192.0.2.1", "methods": "<b>"}, "names of methods"),
    ],
)
def test_what_cannot_be_blocked_is_said_on_the_form(
    operator: Client, settings: Settings, told: dict[str, str], said: str
) -> None:
    settings.TRACKING_TRUSTED_PROXIES = ["10.0.0.0/8"]
    made("192.0.2.77", RuleAction.ALLOW)
    made("198.51.100.1")
    text = add(operator, **told)
    assert said in text
    assert "errorlist" in text
    assert AccessRule.objects.count() == 2


def test_only_superusers_are_offered_force(operator: Client, root: Client) -> None:
    made("127.0.0.0/8", RuleAction.ALLOW)
    assert 'name="force"' not in page(operator, BLOCKED + "add/")
    assert 'name="force"' in page(root, BLOCKED + "add/")
    assert "BLOCK 64.0.0.0/4" in add(root, target="64.0.0.0/4", force="on")


def test_the_log_leads_to_the_form_filled_in(root: Client) -> None:
    (request,) = record(row(address="2001:db8::7"))
    attempt = LoginAttempt.objects.create(
        at=timezone.now(), address="192.0.2.9", account="a", outcome="FAILED", door="/x"
    )
    for url, address in (
        (f"/admin/tracking/requestlog/{request.pk}/change/", "2001:db8::7"),
        (f"/admin/tracking/loginattempt/{attempt.pk}/change/", "192.0.2.9"),
    ):
        link = re.search(r'href="([^"]*blockedip/add/[?][^"]*)"', page(root, url))
        assert link is not None
        assert f'value="{address}"' in page(root, unescape(link[1]))


def test_the_log_offers_no_block_to_who_may_not() -> None:
    (request,) = record(row())
    client = staff("view_requestlog")
    assert "Block this" not in page(client, f"/admin/tracking/requestlog/{request.pk}/change/")


def test_allowing_ends_automatic_blocks_and_names_those_that_remain(operator: Client) -> None:
    made("192.0.2.1")
    automatic = made("64.1.1.1", origin="AUTOMATIC", expires_at=timezone.now() + timedelta(hours=1))
    assert "192.0.2.1 inside it stays blocked" in add(operator, ALLOWED, target="192.0.2.0/24")
    add(operator, ALLOWED, target="64.1.1.0/24")
    automatic.refresh_from_db()
    assert automatic.ended_at is not None


def test_a_country_and_a_system_are_blocked(operator: Client) -> None:
    add(operator, PLACES, target="de")
    add(operator, PLACES, target="as64496")
    assert targets(operator, PLACES) == {"DE", "AS64496"}


# Lifting, extending, making again


def test_chosen_rules_are_lifted_with_a_reason_after_a_question(operator: Client) -> None:
    rules = [made("192.0.2.1"), made("192.0.2.2")]
    numbers = [rule.pk for rule in rules]
    chosen = {"action": "lift", "_selected_action": numbers}
    asked = operator.post(BLOCKED, chosen)
    assert asked.status_code == 200
    text = asked.content.decode()
    assert "BLOCK 192.0.2.1" in text
    assert AccessRule.objects.live(timezone.now()).count() == 2
    hidden = re.search(r'name="rules" value="([^"]*)"', text)
    assert hidden is not None
    operator.post(BLOCKED + "lift/", {"rules": hidden[1], "reason": "a mistake"})
    assert not AccessRule.objects.live(timezone.now()).exists()
    told = AuditEntry.objects.filter(action="unblock").values_list("actor", "reason")
    assert set(told) == {("operator", "a mistake")}


def test_a_rule_is_extended_and_made_again_when_it_is_over(operator: Client) -> None:
    rule = made("192.0.2.1", expires_at=timezone.now() + timedelta(hours=1), reason="scans")
    link = f"{BLOCKED}extend/?rules={rule.pk}"
    assert unescape(link) in unescape(page(operator, f"{BLOCKED}{rule.pk}/change/"))
    operator.post(BLOCKED + "extend/", {"rules": rule.pk, "duration_0": "until lifted"})
    rule.refresh_from_db()
    assert rule.expires_at is None
    operator.post(BLOCKED + "lift/", {"rules": rule.pk})
    operator.post(BLOCKED + "again/", {"rules": rule.pk} | FOR_4_HOURS)
    again = AccessRule.objects.live(timezone.now()).get()
    assert (again.target, again.reason, again.pk == rule.pk) == ("192.0.2.1", "scans", False)


def test_nothing_changes_by_a_link_or_from_another_site(root: Client) -> None:
    rule = made("192.0.2.1")
    for verb in ("lift", "extend"):
        page(root, f"{BLOCKED}{verb}/?rules={rule.pk}&reason=x&duration_0=1h")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get())
    for url, sent in (
        ("lift/", {"rules": rule.pk}),
        ("add/", {"target": "192.0.2.2"} | FOR_4_HOURS),
        ("import/", {"file": SimpleUploadedFile("x", b"192.0.2.3")} | FOR_4_HOURS),
    ):
        assert strict.post(BLOCKED + url, sent).status_code == 403
    assert list(AccessRule.objects.values_list("target", "ended_at")) == [("192.0.2.1", None)]


@pytest.mark.parametrize("verb", ["extend", "again"])
def test_a_wrong_duration_is_said_on_the_question(operator: Client, verb: str) -> None:
    rule = made("192.0.2.1")
    if verb == "again":
        blocklist.lift_rules(COMMAND_LINE, [rule.pk])
    sent = {"rules": rule.pk, "duration_0": "", "duration_1": "soon"}
    text = operator.post(f"{BLOCKED}{verb}/", sent).content.decode()
    assert "no duration" in text


def test_lifting_what_lets_oneself_in_is_refused(operator: Client, root: Client) -> None:
    rule = made("127.0.0.1", RuleAction.ALLOW)
    force_in("126.0.0.0/7")
    text = operator.post(ALLOWED + "lift/", {"rules": rule.pk}).content.decode()
    assert "lock out 127.0.0.1" in text
    rule.refresh_from_db()
    assert rule.ended_at is None


def force_in(text: str) -> None:
    """Write a block that no guard would let through."""
    target = read_target(text)
    assert target.network is not None
    AccessRule.objects.create(
        kind=target.kind,
        target=target.text,
        first=str(target.network[0]),
        prefix=target.network.prefixlen,
        action="BLOCK",
        created_by="nobody",
        created_at=timezone.now(),
        version=1,
    )


@pytest.mark.parametrize("rules", ["", "x", "-1", "9" * 40, "0", "1,,2", "\u0661", "999999"])
def test_a_choice_of_no_rules_leads_back(operator: Client, rules: str) -> None:
    made("192.0.2.1")
    rule = AccessRule.objects.get()
    sent = rules.replace("1,,2", f"{rule.pk + 7},,{rule.pk + 8}")
    response = operator.post(BLOCKED + "lift/", {"rules": sent}, follow=True)
    assert "is over already" in response.content.decode()
    assert AccessRule.objects.get().ended_at is None


def test_a_list_reaches_only_its_own_rules(operator: Client) -> None:
    rule = made("DE")
    operator.post(BLOCKED + "lift/", {"rules": rule.pk})
    assert AccessRule.objects.get().ended_at is None


# Files


def imported(client: Client, text: str | bytes, name: str = "rules.txt", **told: str) -> str:
    content = text.encode() if isinstance(text, str) else text
    sent = {"file": SimpleUploadedFile(name, content), "duration_0": "until lifted"} | told
    response = client.post(BLOCKED + "import/", sent, follow=True)
    assert response.status_code == 200
    return unescape(response.content.decode())


def test_a_file_makes_rules_and_its_bad_lines_are_told_by_number(operator: Client) -> None:
    text = imported(operator, f"# ours\n192.0.2.1\n{HERE}\n0.0.0.0/0\n\nnonsense\nDE\n")
    assert "Rules made: 2; there already: 0." in text
    for number, said in (("3", "lock out"), ("4", "wider than /8"), ("6", "is no target")):
        assert re.search(rf"<td>{number}</td><td>[^<]*{said}", text)
    assert set(AccessRule.objects.values_list("target", "origin", "created_by")) == {
        ("192.0.2.1", "IMPORT", "operator"),
        ("DE", "IMPORT", "operator"),
    }


def test_a_strict_import_and_a_trial_change_nothing(operator: Client) -> None:
    imported(operator, "192.0.2.1\nnonsense\n", strict="on")
    text = imported(operator, "192.0.2.1\n", dry_run="on")
    assert "though nothing is changed: 1" in text
    assert not AccessRule.objects.exists()
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"", "rules.txt", "empty"),
        (b"\xff\xfe\x00", "rules.txt", "is no target"),
        (b"[[[[", "rules.json", "no JSON"),
        (b"a,b\n", "rules.csv", "none of the columns"),
        (b"<script>alert(1)</script>", "<script>.txt", "is no target"),
        (b"[" * 100_000, "rules.json", "no JSON"),
        (b"x" * (1024 * 1024 + 1), "rules.txt", "larger than 1 MiB"),
    ],
    ids=["empty", "binary", "broken JSON", "columns", "HTML", "deep JSON", "large"],
)
def test_a_hostile_file_is_refused_in_words(
    operator: Client, content: bytes, name: str, said: str
) -> None:
    response = operator.post(
        BLOCKED + "import/",
        {"file": SimpleUploadedFile(name, content), "duration_0": "until lifted"},
    )
    assert said in unescape(response.content.decode())
    assert b"<script>alert" not in response.content
    assert not AccessRule.objects.exists()


def test_a_list_is_exported_without_formulas(operator: Client) -> None:
    made("192.0.2.1", reason='=HYPERLINK("http://example.org")')
    made("DE")
    response = operator.get(BLOCKED + "export/")
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == 'attachment; filename="blockedip.csv"'
    assert response.streaming
    lines = b"".join(response).decode().splitlines()  # type: ignore[arg-type]
    assert len(lines) == 2
    assert "\"'=HYPERLINK(" in lines[1]


@pytest.mark.parametrize(
    ("url", "target"), [(BLOCKED, "de"), (BLOCKED, "AS64496"), (PLACES, "192.0.2.0/24")]
)
def test_a_list_makes_no_rule_that_it_would_not_show(
    operator: Client, url: str, target: str
) -> None:
    assert "is for another list" in add(operator, url, target=target)
    assert not AccessRule.objects.exists()
