"""What keeps a rule from hitting the wrong ones refuses each of them with an error of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from tracking import blocklist, policy
from tracking.audit import COMMAND_LINE, Actor
from tracking.engine.address import AddressError, parse_address
from tracking.engine.rules import RuleAction
from tracking.engine.ruletext import read_target
from tracking.engine.targets import TargetError
from tracking.models import AccessRule, AuditEntry, Counter, RequestLog
from tracking.proposals import (
    Proposal,
    ProtectedTargetError,
    TooWideError,
    UnfitError,
    WouldLockOutError,
)
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)

BLOCK, ALLOW = RuleAction.BLOCK, RuleAction.ALLOW
AUTOMATIC = AccessRule.Origin.AUTOMATIC
LONDON = Actor("london", "4", parse_address("81.2.69.142"), is_superuser=True)
ADA = Actor("ada", "1", parse_address("198.51.100.10"))
ROOT = Actor("root", "2", parse_address("198.51.100.10"), is_superuser=True)
SIX = Actor("six", "3", parse_address("2001:db8:1::7"), is_superuser=True)


def wanted(text: str, action: RuleAction = BLOCK, **more: object) -> Proposal:
    return Proposal(target=read_target(text), action=action, **more)  # type: ignore[arg-type]


def block(text: str, actor: Actor = ADA, **more: object) -> AccessRule:
    return blocklist.block(actor, wanted(text, **more))


def allow(text: str, actor: Actor = ADA, **more: object) -> blocklist.Allowance:
    return blocklist.allow(actor, wanted(text, ALLOW, **more))


def soon(**span: int) -> datetime:
    return timezone.now() + timedelta(**(span or {"hours": 1}))


@pytest.fixture
def guarded(settings: Settings) -> None:
    settings.TRACKING_TRUSTED_PROXIES = ["192.0.2.0/28", "2001:db8:ffff::/64"]
    allow("203.0.113.0/28", COMMAND_LINE)
    allow("2001:db8:2::5", COMMAND_LINE)


FORCE = {"force": True}
DANGEROUS: list[tuple[str, Actor, dict[str, bool], type[Exception]]] = [
    ("198.51.100.10", ADA, {}, WouldLockOutError),
    ("198.51.100.10/32", ROOT, FORCE, WouldLockOutError),
    ("::ffff:198.51.100.10", ADA, {}, WouldLockOutError),
    ("::ffff:c633:640a", ADA, {}, WouldLockOutError),
    ("198.51.100.0/24", ADA, {}, WouldLockOutError),
    ("::ffff:198.51.100.0/120", ADA, {}, WouldLockOutError),
    ("2001:db8:1::7", SIX, {}, WouldLockOutError),
    ("2001:db8:1::/64", SIX, FORCE, WouldLockOutError),
    ("127.0.0.1", ADA, {}, ProtectedTargetError),
    ("127.0.0.0/8", ROOT, FORCE, ProtectedTargetError),
    ("::1", ADA, {}, ProtectedTargetError),
    ("0.0.0.0", ADA, {}, ProtectedTargetError),
    ("192.0.2.3", ADA, {}, ProtectedTargetError),
    ("192.0.2.0/24", ROOT, FORCE, ProtectedTargetError),
    ("2001:db8:ffff::9", ADA, {}, ProtectedTargetError),
    ("203.0.113.5", ADA, {}, ProtectedTargetError),
    ("203.0.113.0/28", ROOT, FORCE, ProtectedTargetError),
    ("2001:db8:2::5", ADA, {}, ProtectedTargetError),
    ("0.0.0.0/0", ADA, {}, TooWideError),
    ("0.0.0.0/0", ADA, FORCE, TooWideError),  # force is for superusers
    ("0.0.0.0/0", ROOT, FORCE, WouldLockOutError),
    ("::/0", ROOT, {}, TooWideError),
    ("::/0", ROOT, FORCE, ProtectedTargetError),
    ("0.0.0.0/1", ROOT, {}, TooWideError),
    ("128.0.0.0/1", ROOT, {}, TooWideError),
    ("8000::/1", ADA, {}, TooWideError),
    ("2001:d00::/24", ROOT, {}, TooWideError),
    ("::ffff:0:0/96", ROOT, {}, TooWideError),
    ("*", ROOT, {}, TooWideError),
    ("203.0.113.7/24", ADA, {}, AddressError),
    ("203.0.113.0/255.255.255.0", ADA, {}, AddressError),
    ("203.0.113.0/0.0.0.255", ADA, {}, AddressError),
    ("203.0.113.*", ADA, {}, AddressError),
    ("203.0.113", ADA, {}, AddressError),
    ("0x7f.1", ADA, {}, AddressError),
    ("0177.0.0.1", ADA, {}, AddressError),
    ("203.0.113.7:80", ADA, {}, AddressError),
    ("fe80::1%eth0", ADA, {}, AddressError),
    ("２０３.0.113.7", ADA, {}, AddressError),
    ("1." * 2500, ADA, {}, AddressError),
    ("3405803783", ADA, {}, TargetError),
    ("x" * 5000, ADA, {}, TargetError),
]


@pytest.mark.parametrize(("text", "actor", "more", "error"), DANGEROUS)
def test_a_dangerous_block_is_refused_and_changes_nothing(
    guarded: None, text: str, actor: Actor, more: dict[str, bool], error: type[Exception]
) -> None:
    version = policy.version()
    before = AccessRule.objects.count(), AuditEntry.objects.count()
    with pytest.raises(error) as refused:
        block(text, actor, **more)
    assert type(refused.value) is error
    assert len(str(refused.value)) < 250
    assert (AccessRule.objects.count(), AuditEntry.objects.count()) == before
    assert Counter.objects.get(name=policy.VERSION).value == version


def test_halves_of_everything_are_refused_each_for_itself() -> None:
    halves = [wanted("0.0.0.0/1"), wanted("203.0.113.7"), wanted("128.0.0.0/1")]
    outcomes = blocklist.block_many(ROOT, halves)
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [TooWideError, AccessRule, TooWideError]
    assert AuditEntry.objects.get().target == "203.0.113.7"


def test_a_superuser_may_block_half_of_the_world_with_force() -> None:
    row = block("128.0.0.0/2", ROOT, force=True)
    assert row.target == "128.0.0.0/2"


def test_a_block_around_oneself_is_possible_behind_a_rule_that_lasts_as_long() -> None:
    allow("198.51.100.10", expires_at=soon(hours=1))
    assert block("198.51.100.0/24", expires_at=soon(minutes=30))
    with pytest.raises(WouldLockOutError):
        block("198.51.0.0/16", expires_at=soon(hours=2))
    with pytest.raises(WouldLockOutError):
        block("198.51.0.0/16")


@pytest.mark.parametrize("more", [{"path": "/shop/"}, {"methods": ("POST",)}])
def test_a_part_of_a_permission_is_no_shield(more: dict[str, object]) -> None:
    allow("198.51.100.10", **more)
    with pytest.raises(WouldLockOutError):
        block("198.51.100.0/24")


@pytest.mark.parametrize("more", [{}, {"path": "/graphql/"}])
def test_what_shields_the_caller_cannot_be_taken_from_under_him(more: dict[str, object]) -> None:
    shield = allow("198.51.100.10").rule
    block("198.51.100.0/24", **more)
    with pytest.raises(WouldLockOutError) as refused:
        blocklist.lift(ADA, read_target("198.51.100.10"), ALLOW)
    assert refused.value.address == ADA.address
    with pytest.raises(WouldLockOutError):
        blocklist.lift_rules(ADA, [shield.pk])
    with pytest.raises(WouldLockOutError):
        blocklist.extend(ADA, shield.pk, soon(minutes=1))
    assert blocklist.lift(COMMAND_LINE, read_target("198.51.100.10"), ALLOW) == shield


def test_not_even_one_by_one() -> None:
    allow("198.51.100.10")
    allow("198.51.100.0/28")
    block("198.51.100.0/24")
    shields = [read_target("198.51.100.10"), read_target("198.51.100.0/28")]
    outcomes = blocklist.lift_many(ADA, shields, ALLOW)
    assert [type(outcome) for outcome in outcomes] == [AccessRule, WouldLockOutError]
    rows = [row.pk for row in AccessRule.objects.live(timezone.now())]
    with pytest.raises(WouldLockOutError):
        blocklist.lift_rules(ADA, [row for row in rows if row != max(rows)])


def test_extending_is_guarded_like_blocking() -> None:
    allow("198.51.100.10", expires_at=soon(hours=1))
    around = block("198.51.100.0/24", expires_at=soon(minutes=30))
    for until in (soon(hours=2), None):
        with pytest.raises(WouldLockOutError):
            blocklist.extend(ADA, around.pk, until)
    wide = block("128.0.0.0/2", ROOT, force=True, expires_at=soon())
    with pytest.raises(TooWideError):
        blocklist.extend(ADA, wide.pk, None)
    assert blocklist.extend(ROOT, wide.pk, None).expires_at is None


@pytest.mark.parametrize(
    "until", [lambda: timezone.now() - timedelta(seconds=1), timezone.now, lambda: soon(days=4000)]
)
def test_a_time_that_is_past_or_absurdly_far_is_refused(until: Callable[[], datetime]) -> None:
    with pytest.raises(UnfitError) as refused:
        block("203.0.113.7", expires_at=until())
    assert refused.value.argument == "duration"
    row = block("203.0.113.7")
    with pytest.raises(UnfitError):
        blocklist.extend(ADA, row.pk, until())


@pytest.mark.parametrize(
    ("more", "argument"),
    [
        ({"path": "shop"}, "path"),
        ({"path": "/a\x00"}, "path"),
        ({"path": "/" + "x" * 255}, "path"),
        ({"path": "/caf%C3%A9/"}, "path"),  # would never match, since paths are decoded
        ({"methods": ("GET POST",)}, "methods"),
        ({"methods": ("",)}, "methods"),
        ({"methods": ("ПОСТ",)}, "methods"),
    ],
)
def test_scopes_that_could_never_match_are_refused(more: dict[str, object], argument: str) -> None:
    with pytest.raises(UnfitError) as refused:
        block("203.0.113.7", **more)
    assert refused.value.argument == argument


@pytest.mark.parametrize(
    "text",
    ["10.1.2.3", "100.64.0.9", "169.254.3.3", "fe80::9", "fd00::1", "172.16.0.0/12", "0.0.0.0"],
)
def test_machines_block_no_private_address(text: str) -> None:
    with pytest.raises(ProtectedTargetError):
        block(text, origin=AUTOMATIC, expires_at=soon())


@pytest.mark.parametrize("text", ["DE", "AS64496"])
def test_machines_block_no_country(text: str) -> None:
    with pytest.raises(ProtectedTargetError):
        block(text, origin=AUTOMATIC, expires_at=soon())


def test_machines_always_say_until_when() -> None:
    with pytest.raises(UnfitError):
        block("203.0.113.7", origin=AUTOMATIC)
    row = block("203.0.113.7", origin=AUTOMATIC, expires_at=soon())
    with pytest.raises(UnfitError):
        blocklist.extend(ADA, row.pk, None)


@pytest.mark.parametrize(
    ("is_superuser", "ago", "refused"),
    [
        (True, timedelta(hours=23), True),
        (True, timedelta(hours=25), False),
        (False, timedelta(), False),
    ],
)
def test_machines_do_not_block_where_a_colleague_was_signed_in(
    is_superuser: bool, ago: timedelta, refused: bool
) -> None:
    user = User.objects.create_user("grace", is_superuser=is_superuser)
    RequestLog.objects.create(
        at=timezone.now() - ago, address="203.0.113.7", counting_key="203.0.113.7", method="GET",
        path="/", status=200, duration_ms=1, user_pk=str(user.pk), request_id="1",
        verdict="ALLOWED",
    )  # fmt: skip
    try:
        block("203.0.113.0/28", origin=AUTOMATIC, expires_at=soon())
    except ProtectedTargetError as error:
        assert refused
        assert "signed in" in str(error)
    else:
        assert not refused


def test_a_country_or_system_of_the_caller_or_a_proxy_is_guarded(
    places: None, settings: Settings
) -> None:
    for text in ("GB", "AS20712"):
        with pytest.raises(WouldLockOutError):
            block(text, LONDON)
    settings.TRACKING_TRUSTED_PROXIES = ["2.125.160.7"]
    with pytest.raises(ProtectedTargetError):
        block("FR", LONDON)
    assert block("DE", LONDON)
    allow("81.2.69.142", LONDON)
    assert block("GB", LONDON)


def test_where_an_unknown_country_is_any_nobody_unknown_locks_himself_out(
    settings: Settings,
) -> None:
    unknown = Actor("u", "5", parse_address("8.8.8.8"), is_superuser=True)
    settings.TRACKING_UNKNOWN_COUNTRY = "any"
    with pytest.raises(WouldLockOutError):
        blocklist.allow_only(unknown, [read_target("GB")])
    with pytest.raises(WouldLockOutError):
        block("*", unknown, force=True)
    settings.TRACKING_UNKNOWN_COUNTRY = "exempt"
    assert blocklist.allow_only(unknown, [read_target("GB")])


def test_a_country_is_blocked_around_the_caller_only_behind_a_rule_that_lasts_as_long(
    places: None,
) -> None:
    allow("81.2.69.142", LONDON, expires_at=soon(hours=1))
    with pytest.raises(WouldLockOutError):
        block("GB", LONDON)
    with pytest.raises(WouldLockOutError):
        block("AS20712", LONDON, expires_at=soon(hours=2))
    assert block("GB", LONDON, expires_at=soon(minutes=30))


def test_what_is_allowed_before_loopback_and_proxies_stays_while_they_would_be_blocked(
    settings: Settings,
) -> None:
    settings.TRACKING_TRUSTED_PROXIES = ["192.0.2.0/28"]
    for text in ("198.51.100.10", "127.0.0.0/8", "0.0.0.0", "192.0.2.0/24", "203.0.113.9"):
        allow(text, COMMAND_LINE)
    block("0.0.0.0/0", ROOT, force=True)
    for text in ("127.0.0.0/8", "0.0.0.0", "192.0.2.0/24"):
        for actor in (ROOT, COMMAND_LINE):
            with pytest.raises(ProtectedTargetError):
                blocklist.lift(actor, read_target(text), ALLOW)
    assert blocklist.lift(ROOT, read_target("203.0.113.9"), ALLOW)


def test_who_may_not_see_a_part_of_the_site_lifts_what_has_nothing_to_do_with_it(
    places: None,
) -> None:
    block("GB", COMMAND_LINE, path="/shop/")
    allow("203.0.113.9", LONDON)
    assert blocklist.lift(LONDON, read_target("203.0.113.9"), ALLOW)


def test_where_an_unknown_country_is_any_networks_are_none_of_the_countries(
    settings: Settings,
) -> None:
    settings.TRACKING_UNKNOWN_COUNTRY = "any"
    allow("GB", COMMAND_LINE)
    block("*", COMMAND_LINE)
    assert block("9.9.9.9")
    assert allow("9.9.9.0/24")


def test_what_lets_everybody_in_takes_force_and_says_so() -> None:
    with pytest.raises(TooWideError, match="let in every country"):
        allow("*", ROOT)
    assert allow("*", ROOT, force=True)


@pytest.mark.parametrize("more", [{"observed": True}, {"path": "/shop/"}, {"methods": ("GET",)}])
def test_a_country_that_is_only_let_in_somewhere_is_not_one_that_is_left(
    more: dict[str, object],
) -> None:
    allow("GB", **more)
    with pytest.raises(TooWideError):
        block("*")


def test_whose_system_is_allowed_may_block_the_country_around_it(places: None) -> None:
    allow("AS20712", COMMAND_LINE)
    assert block("GB", LONDON)
    with pytest.raises(WouldLockOutError):
        blocklist.lift(LONDON, read_target("AS20712"), ALLOW)
