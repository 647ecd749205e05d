"""One client, one identity: what is an address and what is refused."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.engine.address import (
    AddressError,
    Scope,
    counting_key,
    network_around,
    parse_address,
    parse_network,
    scope_of,
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("0:0:0:0:0:FFFF:C000:0201", "192.0.2.1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
    ],
)
def test_every_spelling_of_an_address_is_one_address(text: str, canonical: str) -> None:
    assert str(parse_address(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 192.0.2.1",
        "192.0.2.1 ",
        "192.0.2.1\n",
        "192.0.2",
        "3221225985",
        "0xc0000201",
        "0300.0.2.1",
        "192.0.2.01",
        "192.0.2.256",
        "١٩٢.٠.٢.١",
        "192.0.2.1:80",
        "[2001:db8::1]",
        "fe80::1%eth0",
        "2001:db8::1::2",
        "localhost",
        "192.0.2.1/32",
        "1" * 5000,
        "\x00",
        "192.0.2.1\x00",
    ],
)
def test_what_has_another_reading_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_networks_are_canonical(text: str, canonical: str) -> None:
    assert str(parse_network(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.1/24",
        "192.0.2.0/255.255.255.0",
        "192.0.2.0/0.0.0.255",
        "192.0.2.0/024",
        "192.0.2.0/",
        "192.0.2.0/33",
        "192.0.2.0/-1",
        "192.0.2.0/٢٤",
        "192.0.2.0/²",
        "::ffff:0.0.0.0/95",
        "2001:db8::/129",
        "192.0.2.0/24/24",
        "/24",
        "1" * 5000 + "/8",
        "0.0.0.0/" + "9" * 50,
    ],
)
def test_netmasks_and_host_bits_are_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_network(text)


def test_the_error_says_what_to_write() -> None:
    with pytest.raises(AddressError, match=r"write 192\.0\.2\.0/24 or the address alone"):
        parse_network("192.0.2.9/24")


@given(st.ip_addresses())
def test_an_address_survives_its_own_text(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    parsed = parse_address(str(address))
    assert parse_address(str(parsed)) == parsed


@given(st.text(max_size=80))
def test_no_text_raises_anything_but_the_declared_error(text: str) -> None:
    for parse in (parse_address, parse_network):
        try:
            parse(text)
        except AddressError as error:
            assert str(error).isascii()
            assert "\n" not in str(error)


def test_a_64_counts_as_one_client() -> None:
    assert counting_key(parse_address("2001:db8::1")) == counting_key(
        parse_address("2001:db8::ffff")
    )
    assert counting_key(parse_address("2001:db8::1"), 128) == "2001:db8::1/128"
    assert counting_key(parse_address("::ffff:192.0.2.1")) == "192.0.2.1"


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("8.8.8.8", Scope.GLOBAL),
        ("2600::1", Scope.GLOBAL),
        ("10.1.2.3", Scope.PRIVATE),
        ("127.0.0.1", Scope.LOOPBACK),
        ("::1", Scope.LOOPBACK),
        ("169.254.1.1", Scope.LINK_LOCAL),
        ("100.64.0.1", Scope.CGNAT),
        ("192.0.2.1", Scope.DOCUMENTATION),
        ("224.0.0.1", Scope.MULTICAST),
        ("fec0::1", Scope.PRIVATE),
        ("192.0.0.8", Scope.RESERVED),
        ("2002::1", Scope.RESERVED),
        ("64:ff9b:1::1", Scope.RESERVED),
        ("::ffff:10.0.0.1", Scope.PRIVATE),
    ],
)
def test_special_addresses_are_classified_alike_on_every_python(text: str, scope: Scope) -> None:
    assert scope_of(parse_address(text)) is scope


def test_neighbours_share_a_24_or_a_64() -> None:
    assert str(network_around(parse_address("203.0.113.200"))) == "203.0.113.0/24"
    assert str(network_around(parse_address("2001:db8::ffff:1"))) == "2001:db8::/64"
