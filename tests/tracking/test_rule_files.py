"""Rules as files: what is read, what is bad, what comes out for firewalls."""

from __future__ import annotations

import csv
import io
import ipaddress
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracking import blocklist, rulefiles, ruleimport
from tracking.audit import COMMAND_LINE
from tracking.engine import firewalls
from tracking.engine.rules import Rule, RuleAction, RuleSet
from tracking.engine.ruletext import read_target
from tracking.engine.targets import target_of_network
from tracking.models import AccessRule, AuditEntry
from tracking.proposals import Proposal
from tracking.rulefiles import Defaults, Entry, FileError

LATER = datetime(2030, 1, 31, 12, tzinfo=UTC)
WRITTEN = ("target", "action", "observed", "path", "methods", "expires_at", "reason")


def entries(file_format: str, text: str) -> list[Entry]:
    return list(rulefiles.read(file_format, io.StringIO(text, newline=""), Defaults()))


def problems(file_format: str, text: str) -> dict[int, str]:
    return {each.number: each.problem for each in entries(file_format, text) if each.problem}


def proposed(file_format: str, text: str) -> list[Proposal]:
    found = [entry.proposal for entry in entries(file_format, text)]
    assert None not in found, problems(file_format, text)
    return [proposal for proposal in found if proposal is not None]


# What is read


def test_a_plain_list_has_a_target_on_each_line_comments_and_empty_lines() -> None:
    text = "# list\n\n192.0.2.1\r\n 192.0.2.0/24 ; SBL1\nDE # two\nas64496\n::ffff:192.0.2.9\n*"
    assert [each.target.text for each in proposed("plain", text)] == [
        *("192.0.2.1", "192.0.2.0/24", "DE", "AS64496", "192.0.2.9", "*")
    ]


@pytest.mark.parametrize(
    "line",
    [
        *("10.0.0.1/8", "192.0.2.0/255.255.255.0", "192.0.2.0/0.0.0.255", "192.0.2.1:80"),
        *("192.0.2", "0300.0.2.1", "fe80::1%eth0", "300.1.1.1", "192.0.2.1 192.0.2.2"),
        *("Germany", "D", "AS0", "AS99999999999", "64496", "deny 192.0.2.1;x", "\x00", "\udcff"),
        *("x" * 5000, "1." * 2500, "1" * 5000, "AS" + "1" * 5000),
    ],
)
def test_a_bad_line_is_told_by_its_number_in_few_words(line: str) -> None:
    told = problems("plain", f"192.0.2.1\n{line}\n192.0.2.2\n")
    assert list(told) == [2]
    assert len(told[2]) < 300
    assert told[2].isprintable()


def test_csv_columns_stand_in_any_order_and_most_may_be_missing() -> None:
    text = 'Reason,target\n"a, b",192.0.2.1\n\n\'=x,DE\n'
    assert [(each.target.text, each.reason) for each in proposed("csv", text)] == [
        ("192.0.2.1", "a, b"),
        ("DE", "=x"),
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("x,BLOCK,,,,,", "no target"),
        ("192.0.2.1,DROP,,,,,", "write BLOCK or ALLOW"),
        ("192.0.2.1,,maybe,,,,", "neither true nor false"),
        ("192.0.2.1,,,,,tomorrow,", "no time"),
        ("192.0.2.1,,,,,2030-01-31T12:00:00,", "zone"),
        ("192.0.2.1,,,,,0000-00-00T00:00:00Z,", "no time"),
        ("192.0.2.1", "1 cells stand under 7 columns"),
        ("192.0.2.1,,,,,,,,,", "10 cells"),
        (f'192.0.2.1,,,,,,"{"x" * 200_000}"', "no CSV"),
        ('"192.0.2.1"x,,,,,,', "no CSV"),
    ],
)
def test_a_bad_row_of_csv_is_told_and_the_next_is_read(row: str, said: str) -> None:
    text = f"{','.join(WRITTEN)}\n{row}\n192.0.2.7,,,,,,\n"
    told = entries("csv", text)
    assert said in told[0].problem
    assert told[-1].proposal is not None


@pytest.mark.parametrize(
    ("file_format", "text", "said"),
    [
        ("csv", "", "No column is target"),
        ("csv", "address\n192.0.2.1\n", "'address' is none of the columns"),
        ("csv", "target,expires\n192.0.2.1,x\n", "'expires' is none of the columns"),
        ("csv", "target,target\n192.0.2.1,x\n", "same name"),
        ("csv", '"target\n', "no CSV"),
        ("json", "", "no JSON"),
        ("json", "[" * 100_000, "no JSON"),
        ("json", '{"target": "192.0.2.1"}', "list of objects"),
        ("json", '[{"target": ' + "9" * 10_000 + "}]", "no JSON"),
    ],
)
def test_what_cannot_be_read_at_all_is_refused_in_words(
    file_format: str, text: str, said: str
) -> None:
    with pytest.raises(FileError) as refusal:
        entries(file_format, text)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    "each",
    [
        *(7, None, "192.0.2.1", [], {}, {"target": 7}, {"target": None}, {"target": ["DE"]}),
        *({"target": "DE", "expires": 1}, {"target": "DE", "observed": 1}),
        *({"target": "DE", "methods": 7}, {"target": "DE", "methods": [7]}),
        *({"target": "DE", "expires_at": 7}, {"target": "DE", "reason": {}}),
    ],
)
def test_an_object_that_is_no_rule_is_told_by_its_number(each: object) -> None:
    assert list(problems("json", json.dumps([{"target": "FR"}, each, {"target": "IT"}]))) == [2]


# There and back


addresses = st.sampled_from(
    [
        *("64.1.1.1", "64.1.1.0/24", "64.1.0.0/16", "65.0.0.0/8", "2001:db8::1", "2001:db8::/32"),
        *("DE", "FR", "AS64496", "64.1.1.2", "2a00::/33", "*"),
    ]
)
texts = st.text(max_size=30) | st.sampled_from(["=1+1", "'=1", "''@x", "-", "+\t", '"a",b', "＝x"])
proposals = st.builds(
    Proposal,
    target=addresses.map(read_target),
    action=st.sampled_from(RuleAction),
    expires_at=st.none() | st.just(LATER) | st.just(LATER + timedelta(microseconds=7)),
    reason=texts,
    observed=st.booleans(),
    path=st.sampled_from(["", "/shop/", "/a,b", '/"', "/'=x"]),
    methods=st.sampled_from([(), ("POST",), ("GET", "PUT")]),
)


@pytest.mark.django_db
@pytest.mark.parametrize("file_format", ["csv", "json"])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(wanted=st.lists(proposals, max_size=12))
def test_what_is_exported_makes_the_same_book_when_it_is_imported(
    file_format: str, wanted: list[Proposal]
) -> None:
    forget_rules()
    blocklist.block_many(COMMAND_LINE, wanted)
    before = book()
    text = "".join(rulefiles.write(file_format, AccessRule.objects.order_by("pk")))
    forget_rules()
    report = ruleimport.bring_in(
        COMMAND_LINE, rulefiles.read(file_format, io.StringIO(text, newline=""), Defaults())
    )
    assert (report.bad, report.known, report.made) == ([], 0, len(before))
    assert book() == before


def book() -> list[tuple[Any, ...]]:
    return list(AccessRule.objects.order_by("pk").values_list(*WRITTEN))


def forget_rules() -> None:
    AccessRule.objects.all().delete()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠"])
def test_no_cell_begins_like_a_formula(start: str) -> None:
    rule = AccessRule(target="DE", action="BLOCK", reason=start + "1+1", created_by=start + "x")
    text = "".join(rulefiles.write("csv", [rule]))
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert (row["reason"], row["created_by"]) == (f"'{start}1+1", f"'{start}x")


# Into the book


@pytest.mark.django_db
def test_a_line_that_is_known_is_no_bad_line_and_stays_as_it_is() -> None:
    read = list(rulefiles.read("plain", io.StringIO("192.0.2.1\n192.0.2.1\n"), Defaults()))
    report = ruleimport.bring_in(COMMAND_LINE, read)
    assert (report.made, report.known, report.bad) == (1, 1, [])
    again = ruleimport.bring_in(COMMAND_LINE, read)
    assert (again.made, again.known, again.bad) == (0, 2, [])
    assert AuditEntry.objects.count() == 1


@pytest.mark.django_db
def test_a_file_may_let_in_some_countries_and_then_refuse_the_rest() -> None:
    report = ruleimport.bring_in(COMMAND_LINE, entries("csv", "target,action\nDE,ALLOW\n*,BLOCK\n"))
    assert (report.made, report.bad) == (2, [])


@pytest.mark.django_db
def test_lines_are_guarded_against_those_before_them() -> None:
    text = (
        "target,action\n198.51.100.7,ALLOW\n198.51.100.7,BLOCK\n198.51.100.0/24,BLOCK\nDE,BLOCK\n"
    )
    report = ruleimport.bring_in(COMMAND_LINE, entries("csv", text))
    assert [number for number, _ in report.bad] == [3]
    assert report.made == 3


@pytest.mark.django_db
def test_batches_go_on_where_the_last_one_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ruleimport, "BATCH", 3)
    text = "192.0.2.1\nx\n192.0.2.2\n192.0.2.3\n192.0.2.1\ny\n192.0.2.4"
    report = ruleimport.bring_in(COMMAND_LINE, entries("plain", text))
    assert (report.made, report.known) == (4, 1)
    assert [number for number, _ in report.bad] == [2, 6]


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["strict", "dry_run"])
def test_nothing_is_left_of_an_import_that_is_not_meant(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(ruleimport, "BATCH", 1)
    report = ruleimport.bring_in(COMMAND_LINE, entries("plain", "192.0.2.1\nx"), **{how: True})
    assert (report.made, report.applied, len(report.bad)) == (1, False, 1)
    assert not AccessRule.objects.exists()
    assert not AuditEntry.objects.exists()


# Firewalls: networks of few bits, so that they nest and touch


def nested() -> st.SearchStrategy[list[tuple[Any, RuleAction]]]:
    def network(version: int, number: int, length: int) -> Any:
        if version == 4:
            return ipaddress.ip_network((number << 28, length), strict=False)
        return ipaddress.ip_network((number << 124, length), strict=False)

    one = st.builds(network, st.sampled_from([4, 6]), st.integers(0, 15), st.integers(0, 5))
    return st.lists(st.tuples(one, st.sampled_from(RuleAction)), max_size=12)


def probes(version: int) -> Iterator[Any]:
    shift, kind = (27, ipaddress.IPv4Address) if version == 4 else (123, ipaddress.IPv6Address)
    for number in range(32):
        yield kind(number << shift)
        yield kind((number << shift) + (1 << shift) - 1)


def decision(rules: list[tuple[Any, RuleAction]], address: Any) -> RuleAction | None:
    """What this service decides: the rules' own way."""
    known = RuleSet()
    for number, (network, action) in enumerate(rules, 1):
        target = target_of_network(network)
        known.put(target.kind, target.text, Rule(number, action))
    return next((rule.action for rule in known.matching(address)), None)


@given(rules=nested(), version=st.sampled_from([4, 6]), action=st.sampled_from(RuleAction))
def test_a_set_holds_exactly_what_is_decided_so(
    rules: list[tuple[Any, RuleAction]], version: Any, action: RuleAction
) -> None:
    networks = list(firewalls.decided(rules, action, version))
    for address in probes(version):
        inside = [network for network in networks if address in network]
        assert len(inside) <= 1  # what overlaps is an error to nftables
        assert bool(inside) == (decision(rules, address) is action)


@given(rules=nested(), version=st.sampled_from([4, 6]))
def test_the_first_line_of_nginx_that_matches_decides_as_we_do(
    rules: list[tuple[Any, RuleAction]], version: int
) -> None:
    lines = [line.split() for line in firewalls.nginx(rules, None) if not line.startswith("#")]
    for address in probes(version):
        networks = ((word, ipaddress.ip_network(text.rstrip(";"))) for word, text in lines)
        first = next((word for word, net in networks if address in net), None)
        decided = decision(rules, address)
        assert first == {RuleAction.BLOCK: "deny", RuleAction.ALLOW: "allow", None: None}[decided]


GRAMMARS = {
    "nginx": r"#.*|(deny|allow) [0-9a-f.:]+/\d+;",
    "nftables": (
        r"add table inet alx_security"
        r"|add set inet alx_security (blocked|allowed)[46]"
        r" \{ type ipv[46]_addr; flags interval; \}"
        r"|flush set inet alx_security (blocked|allowed)[46]"
        r"|add element inet alx_security (blocked|allowed)[46] \{ [0-9a-f.:/, ]+ \}"
    ),
    "ipset": (
        r"create (blocked|allowed)[46] hash:net family inet6? maxelem \d+"
        r"|flush (blocked|allowed)[46]|add (blocked|allowed)[46] [0-9a-f.:]+/([1-9]\d*)"
    ),
}


@given(rules=nested(), action=st.none() | st.sampled_from(RuleAction))
@pytest.mark.parametrize("name", GRAMMARS)
def test_every_line_has_the_form_its_reader_knows(
    name: str, rules: list[tuple[Any, RuleAction]], action: RuleAction | None
) -> None:
    for line in firewalls.WRITERS[name](rules, action):
        assert line.endswith("\n")
        assert re.fullmatch(GRAMMARS[name], line[:-1]), line


@pytest.mark.parametrize("file_format", rulefiles.WRITABLE)
def test_no_rules_make_a_valid_file(file_format: str) -> None:
    text = "".join(rulefiles.write(file_format, []))
    if file_format in rulefiles.READABLE:
        assert proposed(file_format, text) == []
    else:
        assert "deny" not in text
        assert "add element" not in text
        assert text.endswith("\n")


def test_only_rules_that_decide_for_all_requests_go_to_a_firewall() -> None:
    now = timezone.now()
    facts: dict[str, Any] = {"action": "BLOCK", "created_at": now, "prefix": 32}
    rules = [
        AccessRule(target="192.0.2.1", **facts),
        AccessRule(target="192.0.2.2", observed=True, **facts),
        AccessRule(target="192.0.2.3", path="/x", **facts),
        AccessRule(target="192.0.2.4", methods=("POST",), **facts),
        AccessRule(target="DE", **facts | {"prefix": None}),
    ]
    for file_format in ("plain", "nginx", "nftables", "ipset"):
        text = "".join(rulefiles.write(file_format, rules))
        assert "192.0.2.1" in text
        assert not re.search(r"192\.0\.2\.[234]", text)
        assert ("DE" in text) == (file_format == "plain")
