"""Each field of the schema answers each caller as authorization.csv says, and none lacks a line."""

from __future__ import annotations

import base64
import csv
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone
from time_machine import TimeMachineFixture

from schema.nodes import NODES
from schema.permissions import ROLES
from schema.root import schema
from schema.scalars import written_time
from tests.schema.found import suggested
from tests.schema.record import record, row
from tests.users.front import RIGHT, ask, log_in
from tracking import blocklist, detection
from tracking.audit import COMMAND_LINE
from tracking.engine.address import parse_network
from tracking.engine.rules import RuleAction
from tracking.engine.targets import target_of_asn, target_of_country, target_of_network
from tracking.models import AccessRule, AuditEntry, LoginAttempt
from tracking.proposals import Proposal
from users.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.one_store]

FILE = Path(__file__).with_name("authorization.csv")
PAGE = Path(__file__).parents[2] / "docs" / "authorization.md"
LINES = [line for line in FILE.read_text().splitlines() if not line.startswith("#")]
MATRIX = list(csv.DictReader(LINES, skipinitialspace=True))
CALLERS = [caller for caller in MATRIX[0] if caller != "field"]
CELLS = [(line["field"], caller, line[caller]) for line in MATRIX for caller in CALLERS]

# What each line asks; words in capitals stand for what `world` makes.
QUESTIONS = {
    "serverInfo": "{ serverInfo { __typename } }",
    "rateLimit": "{ rateLimit { name } }",
    "__schema": "{ __schema { queryType { name } } }",
    "__type": '{ __type(name: "User") { name } }',
    "me": "{ me { username email roles } }",
    "sessions": "{ sessions { id } }",
    "users": "{ users { nodes { username } } }",
    "requestLogs": "{ requestLogs { nodes { path } } }",
    "requestStats": "{ requestStats { count } }",
    "ip": '{ ip(address: "198.51.100.9") { lastSeen rules { hits } suspicions { count } } }',
    "ip with attempts": '{ ip(address: "198.51.100.9") { attempts { account } } }',
    "exportLogs": "exportLogs(input: {})",
    "loginAttempts": "{ loginAttempts { nodes { account } } }",
    "auditLog": "{ auditLog { nodes { action } } }",
    "node User": '{ node(id: "OTHER_USER") { id } }',
    "nodes User": '{ nodes(ids: ["OTHER_USER"]) { id } }',
    "node User oneself": '{ node(id: "OWN_USER") { id } }',
    "nodes User with oneself": '{ nodes(ids: ["OWN_USER", "OTHER_USER"]) { id } }',
    "node RequestLog": '{ node(id: "REQUEST") { id } }',
    "nodes RequestLog": '{ nodes(ids: ["REQUEST"]) { id } }',
    "node LoginAttempt": '{ node(id: "ATTEMPT") { id } }',
    "nodes LoginAttempt": '{ nodes(ids: ["ATTEMPT"]) { id } }',
    "node AuditEntry": '{ node(id: "ENTRY") { id } }',
    "nodes AuditEntry": '{ nodes(ids: ["ENTRY"]) { id } }',
    "accessRules": "{ accessRules { nodes { target } } }",
    "blockedIps": "{ blockedIps { nodes { target } } }",
    "explain": '{ explain(address: "198.51.100.9") { verdict } }',
    "node AccessRule": '{ node(id: "RULE") { id } }',
    "nodes AccessRule": '{ nodes(ids: ["RULE"]) { id } }',
    "suspiciousIps": "{ suspiciousIps { nodes { address } } }",
    "node SuspiciousIP": '{ node(id: "SUSPICION") { id } }',
    "nodes SuspiciousIP": '{ nodes(ids: ["SUSPICION"]) { id } }',
    "reviewSuspiciousIp": 'reviewSuspiciousIp(input: {id: "SUSPICION", status: CONFIRMED})',
    "reviewSuspiciousIp with block": (
        'reviewSuspiciousIp(input: {id: "SUSPICION", status: CONFIRMED, block: "1h"})'
    ),
    "approveSuggestion": 'approveSuggestion(input: {id: "SUSPICION"})',
    "dismissSuggestion": 'dismissSuggestion(input: {id: "SUSPICION", status: IGNORED})',
    "dismissSuggestion of a person's block": (
        'dismissSuggestion(input: {id: "FOUND_AND_BLOCKED", status: IGNORED})'
    ),
    "detectors": "{ detectors { name } }",
    "detectionState": "{ detectionState { isLate } }",
    "detectionRuns": "{ detectionRuns { nodes { id } } }",
    "node DetectionRun": '{ node(id: "RUN") { id } }',
    "nodes DetectionRun": '{ nodes(ids: ["RUN"]) { id } }',
    "setDetectorMode": 'setDetectorMode(input: {detector: "flood", mode: SUGGEST})',
    "runDetection": "runDetection(input: {})",
    "runDetection dryRun": "runDetection(input: {dryRun: true})",
    "simulateDetector": 'simulateDetector(input: {detector: "flood", since: "SINCE"})',
    "blockIp": 'blockIp(input: {address: "198.51.100.9"})',
    "blockIp with force": 'blockIp(input: {address: "8.0.0.0/7", force: true})',
    "blockIp dryRun": 'blockIp(input: {address: "198.51.100.9", dryRun: true})',
    "unblockIp": 'unblockIp(input: {address: "BLOCKED_IP"})',
    "blockIps": 'blockIps(input: {addresses: ["198.51.100.9"]})',
    "unblockIps": 'unblockIps(input: {addresses: ["BLOCKED_IP"]})',
    "allowIp": 'allowIp(input: {address: "198.51.100.9"})',
    "disallowIp": 'disallowIp(input: {address: "ALLOWED_IP"})',
    "blockCountry": 'blockCountry(input: {country: "DE"})',
    "unblockCountry": 'unblockCountry(input: {country: "BLOCKED_COUNTRY"})',
    "allowCountry": 'allowCountry(input: {country: "DE"})',
    "disallowCountry": 'disallowCountry(input: {country: "ALLOWED_COUNTRY"})',
    "allowOnlyCountries": 'allowOnlyCountries(input: {countries: ["DE"]})',
    "blockAsn": "blockAsn(input: {asn: 64496})",
    "unblockAsn": "unblockAsn(input: {asn: BLOCKED_ASN})",
    "signup": 'signup(input: {username: "new", password: "RIGHT"})',
    "login": 'login(input: {username: "other", password: "RIGHT"})',
    "refreshToken": 'refreshToken(input: {refreshToken: "REFRESH"})',
    "logout": "logout",
    "logout everywhere": "logout(input: {everywhere: true})",
    "changePassword": 'changePassword(input: {oldPassword: "RIGHT", newPassword: "RIGHT too"})',
    "endSession": 'endSession(input: {id: "OWN_SESSION"})',
    "endSession of another": 'endSession(input: {id: "OTHER_SESSION"})',
    "resetRateLimit": 'resetRateLimit(input: {limit: "graphql", address: "198.51.100.1"})',
    "unlockAccount": 'unlockAccount(input: {username: "other"})',
    "deactivateUser": 'deactivateUser(input: {id: "OTHER_USER"})',
    "deactivateUser of a superuser": 'deactivateUser(input: {id: "SUPERUSER"})',
    "exportPersonalData": 'exportPersonalData(input: {username: "other"})',
    "erasePersonalData": 'erasePersonalData(input: {network: "198.51.100.9"})',
}


def test_every_field_has_a_line_and_every_line_a_field() -> None:
    kinds = (schema.core.query_type, schema.core.mutation_type)
    fields = {name for kind in kinds if kind is not None for name in kind.fields}
    assert schema.core.subscription_type is None
    assert {line["field"].split()[0] for line in MATRIX} == fields | {"__schema", "__type"}


def test_every_type_that_has_a_global_id_has_its_lines() -> None:
    node = schema.core.type_map["Node"]
    types = {kind.name for kind in schema.core.get_possible_types(node)}  # type: ignore[arg-type]
    assert types == set(NODES)
    fields = {line["field"] for line in MATRIX}
    assert {f"{field} {name}" for field in ("node", "nodes") for name in types} <= fields


def test_every_role_has_a_column() -> None:
    assert CALLERS[:6] == ["anonymous", "user", *ROLES, "superuser"]


def test_every_cell_is_filled_and_every_line_asks_something() -> None:
    assert len(MATRIX) == len({line["field"] for line in MATRIX}) == len(QUESTIONS)
    for line in MATRIX:
        assert None not in line.values(), line
        assert line["field"] in QUESTIONS


@pytest.mark.parametrize(
    ("field", "caller", "expected"), CELLS, ids=[f"{field}-{caller}" for field, caller, _ in CELLS]
)
def test_the_answer_is_what_was_agreed(
    field: str, caller: str, expected: str, time_machine: TimeMachineFixture
) -> None:
    own, names, token = account(caller), world(), None
    if own is not None:
        tokens = log_in(own.username)
        token = STATES.get(caller, kept)(tokens, own)
        names |= {"OWN_USER": global_id("User", own), "OWN_SESSION": session_of(own)}
        if caller == "expired":
            time_machine.move_to(timezone.now() + timedelta(minutes=11))
    assert outcome(ask(document(field, **names), token)) == expected


def document(field: str, **names: str) -> str:
    """Return what a line asks, with names filled in."""
    question = QUESTIONS[field]
    if not question.startswith("{"):
        question = f"mutation {{ {question} {{ errors {{ code }} }} }}"
    for name, value in {**names, "RIGHT": RIGHT}.items():
        question = question.replace(name, value)
    return question


def outcome(answer: dict[str, Any]) -> str:
    """Return the code of the refusal, at the top or in the payload, or ALLOWED with an answer."""
    if "errors" in answer:
        (error,) = answer["errors"]
        assert not tells(answer.get("data"))
        code: str = error["extensions"]["code"]
        return code
    (value,) = answer["data"].values()
    mistakes = value.get("errors", []) if isinstance(value, dict) else []
    assert value is not None
    assert value != [None]
    return " ".join(mistake["code"] for mistake in mistakes) or "ALLOWED"


def tells(data: Any) -> bool:
    """Say whether anything stands in an answer beside the objects around a refused field."""
    return any(map(tells, data.values())) if isinstance(data, dict) else bool(data)


def account(caller: str) -> User | None:
    """Return the account of a column; bad tokens are those of the mightiest."""
    if caller == "anonymous":
        return None
    if caller == "superuser" or caller in STATES:
        return User.objects.create_superuser("own", password=RIGHT)
    user = User.objects.create_user("own", password=RIGHT)
    if caller in ROLES:
        user.groups.add(Group.objects.get(name=caller))
    return user


def world() -> dict[str, str]:
    """Make what questions are about, and return its ids."""
    other = User.objects.create_user("other", password=RIGHT)
    tokens = log_in("other")
    [request] = record(row())
    entry = AuditEntry.objects.create(at=timezone.now(), actor="x", action="x", target="x")
    superuser = global_id("User", User.objects.create_superuser("mighty"))
    rules = book()
    return {
        "OWN_USER": superuser,
        "OWN_SESSION": session_of(other),
        "REFRESH": tokens["refreshToken"],
        "OTHER_USER": global_id("User", other),
        "OTHER_SESSION": session_of(other),
        "SUPERUSER": superuser,
        "REQUEST": global_id("RequestLog", request),
        "ATTEMPT": global_id("LoginAttempt", LoginAttempt.objects.get(account="other")),
        "ENTRY": global_id("AuditEntry", entry),
        "RULE": global_id("AccessRule", rules["BLOCKED_IP"]),
        "SUSPICION": global_id("SuspiciousIP", suggested("198.51.100.76")),
        "SINCE": written_time(timezone.now() - timedelta(hours=1)),
        "RUN": global_id("DetectionRun", detection.run(timezone.now())),
        "FOUND_AND_BLOCKED": global_id(
            "SuspiciousIP", suggested("198.51.100.77", rule=rules["BLOCKED_IP"])
        ),
        **{name: rule.target.removeprefix("AS") for name, rule in rules.items()},
    }


def book() -> dict[str, AccessRule]:
    """Make one rule of each kind that a mutation lifts."""
    block, allow = RuleAction.BLOCK, RuleAction.ALLOW
    targets = {
        "BLOCKED_IP": (block, target_of_network(parse_network("198.51.100.77"))),
        "ALLOWED_IP": (allow, target_of_network(parse_network("198.51.100.78"))),
        "BLOCKED_COUNTRY": (block, target_of_country("FR")),
        "ALLOWED_COUNTRY": (allow, target_of_country("BE")),
        "BLOCKED_ASN": (block, target_of_asn(64497)),
    }
    return {
        name: blocklist.block(COMMAND_LINE, Proposal(target=target, action=action))
        for name, (action, target) in targets.items()
    }


def global_id(kind: str, thing: Any) -> str:
    return base64.b64encode(f"{kind}:{thing.pk}".encode()).decode()


def session_of(user: User) -> str:
    return str(user.sessions.get().pk)


def kept(tokens: dict[str, Any], _own: User) -> str:
    token: str = tokens["accessToken"]
    return token


def tampered(tokens: dict[str, Any], _own: User) -> str:
    head, body, signature = tokens["accessToken"].split(".")
    return f"{head}.{body}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def logged_out(tokens: dict[str, Any], own: User) -> str:
    assert outcome(ask(document("logout"), tokens["accessToken"])) == "ALLOWED"
    return kept(tokens, own)


def deactivated(tokens: dict[str, Any], own: User) -> str:
    User.objects.filter(pk=own.pk).update(is_active=False)
    return kept(tokens, own)


def password_changed(tokens: dict[str, Any], own: User) -> str:
    assert outcome(ask(document("changePassword"), tokens["accessToken"])) == "ALLOWED"
    return kept(tokens, own)


STATES: dict[str, Callable[[dict[str, Any], User], str]] = {
    "expired": kept,
    "tampered": tampered,
    "logged out": logged_out,
    "deactivated": deactivated,
    "password changed": password_changed,
}


def test_a_permission_is_read_at_each_request_and_not_from_the_token() -> None:
    own = account("user")
    assert own is not None
    token = log_in("own")["accessToken"]
    for group in ("viewer", None, "viewer"):
        own.groups.set(Group.objects.filter(name=group))
        expected = "ALLOWED" if group else "FORBIDDEN"
        assert outcome(ask(document("requestLogs"), token)) == expected


def test_a_group_of_ones_own_making_needs_the_permission_and_nothing_else() -> None:
    """Being staff opens the admin; what may be read there and here is for permissions to say."""
    own = account("user")
    assert own is not None
    User.objects.filter(pk=own.pk).update(is_staff=True)
    token = log_in("own")["accessToken"]
    for field in ("users", "requestLogs", "loginAttempts", "auditLog"):
        assert outcome(ask(document(field), token)) == "FORBIDDEN"


def test_the_page_on_authorization_says_what_the_matrix_says() -> None:
    """Held to the matrix; when it changes, the message of the failure is the new table."""
    assert table() in PAGE.read_text(), f"docs/authorization.md should hold:\n{table()}"


def table() -> str:
    lines = ["| field | anonymous | " + " | ".join(CALLERS[1:6]) + " |", "|---|" + "---|" * 6]
    for line in MATRIX:
        field, _, special = line["field"].partition(" ")
        cells = ["yes" if line[caller] == "ALLOWED" else line[caller] for caller in CALLERS[:6]]
        lines.append(f"| {f'`{field}` {special}'.strip()} | {' | '.join(cells)} |")
    return "\n".join(lines)
