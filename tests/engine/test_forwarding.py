"""The client behind proxies, and nobody else."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.engine.address import parse_address, parse_network
from tracking.engine.forwarding import UNKNOWN, Proxies, Reason, client_address

NGINX = "10.0.0.1"
TRUSTED = Proxies((parse_network("10.0.0.0/8"), parse_network("fd00::/8")))
FORWARDED = Proxies(TRUSTED.networks, header="Forwarded")


def found(header: str | None, peer: str = NGINX, proxies: Proxies = TRUSTED) -> str:
    return str(client_address(proxies, peer, header).address)


def test_without_trusted_proxies_no_header_is_read() -> None:
    client = client_address(Proxies(), "198.51.100.7", "6.6.6.6")
    assert str(client.address) == "198.51.100.7"
    assert client.reason is Reason.NO_PROXIES


def test_an_untrusted_peer_is_its_own_client_whatever_it_claims() -> None:
    assert found("6.6.6.6, 10.0.0.9", peer="198.51.100.7") == "198.51.100.7"


def test_the_first_untrusted_hop_from_the_right_is_the_client() -> None:
    assert found("6.6.6.6, 203.0.113.5") == "203.0.113.5"
    assert found("6.6.6.6, 203.0.113.5, 10.0.0.9, fd00::1") == "203.0.113.5"


def test_all_trusted_means_the_leftmost() -> None:
    assert found("10.0.0.7, 10.0.0.8") == "10.0.0.7"


@pytest.mark.parametrize("header", [None, "", "   "])
def test_a_trusted_peer_without_header_speaks_for_itself(header: str | None) -> None:
    assert found(header) == NGINX


@pytest.mark.parametrize("hop", ["unknown", "_hidden", "", "0300.1.1.1", "1.2.3.4.5", "a" * 9000])
def test_a_hop_that_is_no_address_leaves_the_peer_flagged(hop: str) -> None:
    client = client_address(TRUSTED, NGINX, f"6.6.6.6, {hop}")
    assert str(client.address) == NGINX
    assert client.flagged


@pytest.mark.parametrize("junk", ["unknown", '"', 'for="', "\x00", "a" * 9000, "," * 8000, "٣"])
def test_junk_that_a_client_puts_on_the_left_changes_nothing(junk: str) -> None:
    assert found(f"{junk}, 203.0.113.5") == "203.0.113.5"
    assert found(f"{junk}, for=203.0.113.5", proxies=FORWARDED) == "203.0.113.5"


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        ("203.0.113.5:4711", "203.0.113.5"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("[::ffff:cb00:7105]", "203.0.113.5"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_ports_brackets_zones_and_mapped_forms_are_understood(hop: str, address: str) -> None:
    assert found(hop) == address


@pytest.mark.parametrize(
    ("element", "address"),
    [
        ("for=203.0.113.5", "203.0.113.5"),
        ('For="[2001:db8::1]:47011";proto=https', "2001:db8::1"),
        ('proto=https;for="203.0.113.5:80";by=10.0.0.1', "203.0.113.5"),
        ("for=_hidden", NGINX),
        ("for=unknown", NGINX),
        ("proto=https", NGINX),
    ],
)
def test_rfc_7239_elements_are_understood(element: str, address: str) -> None:
    assert found(f"for=6.6.6.6, {element}", proxies=FORWARDED) == address


def test_a_unix_socket_peer_is_unknown_until_it_is_trusted() -> None:
    assert client_address(TRUSTED, "", "203.0.113.5").address == UNKNOWN
    trusting = Proxies(unix_socket=True)
    assert str(client_address(trusting, "", "203.0.113.5").address) == "203.0.113.5"


def test_a_mapped_peer_is_matched_as_ipv4() -> None:
    assert found("203.0.113.5", peer="::ffff:10.0.0.1") == "203.0.113.5"


def test_an_endless_chain_of_trusted_hops_ends_at_the_peer() -> None:
    client = client_address(TRUSTED, NGINX, ",".join(["10.0.0.9"] * 500))
    assert str(client.address) == NGINX
    assert client.reason is Reason.TOO_MANY_HOPS


def test_eight_kilobytes_of_commas_cost_little() -> None:
    before = time.process_time()
    for _ in range(10):
        client_address(TRUSTED, NGINX, "," * 8192)
    assert (time.process_time() - before) / 10 < 0.005


hops = st.one_of(
    st.ip_addresses().map(str),
    st.sampled_from(["10.0.0.9", "10.1.1.1", "fd00::5"]),
    st.text(alphabet='abc:;="%[]. 0123456789', max_size=12),
)


def reference(chain: list[str]) -> str:
    """Design, word for word, on hops that are plain addresses or junk."""
    for hop in reversed(chain):
        try:
            address = parse_address(hop.strip())
        except ValueError:
            return NGINX
        if not TRUSTED.trusts(address):
            return str(address)
    return str(parse_address(chain[0].strip()))


@given(
    st.lists(
        st.one_of(st.ip_addresses().map(str), st.sampled_from(["10.0.0.9", "junk"])),
        min_size=1,
        max_size=8,
    )
)
def test_the_walk_equals_the_reference(chain: list[str]) -> None:
    assert found(", ".join(chain)) == reference(chain)


@given(st.lists(hops, max_size=6), st.ip_addresses(v=4).map(str))
def test_whatever_stands_left_of_the_client_is_never_looked_at(
    forged: list[str], real: str
) -> None:
    if TRUSTED.trusts(parse_address(real)):
        return
    assert found(", ".join([*forged, real])) == real


@given(st.text(max_size=60), st.one_of(st.none(), st.text(max_size=200)))
def test_nothing_makes_the_resolver_raise(peer: str, header: str | None) -> None:
    client_address(TRUSTED, peer, header)
    client_address(TRUSTED, NGINX, header)


def test_an_element_of_more_than_256_characters_names_nobody() -> None:
    element = "for=203.0.113.9;proto="
    assert found(element + "x" * (256 - len(element)), proxies=FORWARDED) == "203.0.113.9"
    assert found(element + "x" * (257 - len(element)), proxies=FORWARDED) == NGINX
