"""The words of firewalls, line for line."""

from __future__ import annotations

from tracking.engine.address import parse_network
from tracking.engine.firewalls import ROOMY, ipset, nftables, nginx
from tracking.engine.rules import RuleAction

RULES = [
    (parse_network("203.0.113.0/24"), RuleAction.BLOCK),
    (parse_network("203.0.113.0/25"), RuleAction.ALLOW),
]


def test_nginx_reads_the_narrowest_first() -> None:
    assert list(nginx(RULES, None))[1:] == ["allow 203.0.113.0/25;\n", "deny 203.0.113.0/24;\n"]
    assert list(nginx(RULES, RuleAction.BLOCK))[1:] == ["deny 203.0.113.0/24;\n"]


def test_sets_hold_what_is_refused_in_the_end() -> None:
    assert "add element inet alx_security blocked4 { 203.0.113.128/25 }\n" in nftables(RULES, None)
    assert list(ipset(RULES, None))[:3] == [
        f"create blocked4 hash:net family inet maxelem {ROOMY}\n",
        "flush blocked4\n",
        "add blocked4 203.0.113.128/25\n",
    ]


def test_a_set_of_all_addresses_holds_two_halves() -> None:
    everybody = [(parse_network("0.0.0.0/0"), RuleAction.BLOCK)]
    assert [line for line in ipset(everybody, None) if line.startswith("add")] == [
        "add blocked4 0.0.0.0/1\n",
        "add blocked4 128.0.0.0/1\n",
    ]
