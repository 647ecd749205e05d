"""How limits are written, and what the table says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.engine.address import parse_address
from tracking.engine.limits import (
    LIMITS,
    LONGEST_ACCOUNT,
    ClientClass,
    Key,
    Limit,
    LimitError,
    Rate,
    account_key,
    changed,
    for_all,
    key_of_account,
    key_of_address,
    parse_rates,
)

TABLE = {limit.name: limit for limit in LIMITS}


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("5/m", (Rate(5, 60),)),
        ("1/s", (Rate(1, 1),)),
        ("10/15m", (Rate(10, 900),)),
        ("5/m,50/h", (Rate(5, 60), Rate(50, 3600))),
        (" 5/m , 2/d ", (Rate(5, 60), Rate(2, 86_400))),
        ("off", ()),
        ("OFF", ()),
    ],
)
def test_rates_are_read(text: str, rates: tuple[Rate, ...]) -> None:
    assert parse_rates(text) == rates


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "5/",
        "/m",
        "0/m",
        "-1/m",
        "5/0m",
        "5/w",
        "5/M",
        "5 /m",
        "5/m,",
        "5/m;6/h",
        "٥/m",
        "1e3/m",
        "5/m,off",
        "9" * 20 + "/m",
        "5/" + "9" * 9 + "d",
        "5/m\n6/h",
    ],
)
def test_what_is_not_a_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(LimitError, match="write 5/m"):
        parse_rates(text)


@given(st.integers(1, 10**8), st.integers(1, 9999), st.sampled_from("smhd"))
def test_a_rate_survives_its_own_text(count: int, number: int, unit: str) -> None:
    (rate,) = parse_rates(f"{count}/{number}{unit}")
    assert parse_rates(str(rate)) == (rate,)


@given(st.text(max_size=30))
def test_no_text_raises_anything_but_the_declared_error(text: str) -> None:
    try:
        parse_rates(text)
    except LimitError as error:
        assert str(error).isascii()


def test_the_seed_defaults() -> None:
    graphql = TABLE["graphql"]
    assert [str(*graphql.rates[who]) for who in ClientClass] == ["5/m", "10/m", "600/m"]
    assert graphql.applies_to("/graphql/")
    assert graphql.applies_to("/api/login/")
    assert not graphql.applies_to("/admin/")
    assert (TABLE["login_address"].key, TABLE["login_account"].key) == (Key.ADDRESS, Key.ACCOUNT)


def test_a_limit_without_paths_applies_to_none_by_itself() -> None:
    assert not Limit("named", Key.CALLER, for_all("1/m")).applies_to("/")


def test_a_change_leaves_the_rest() -> None:
    limit = changed(TABLE["graphql"], {"anonymous": "100/m", "observed": True, "paths": ["/q/"]})
    assert [str(*limit.rates[who]) for who in ClientClass] == ["100/m", "10/m", "600/m"]
    assert limit.observed
    assert limit.paths == ("/q/",)
    assert changed(TABLE["login_address"], "off").rates == for_all("off")


@pytest.mark.parametrize(
    "change",
    [
        7,
        {"anonymous": 5},
        {"anonymous": "many"},
        {"nobody": "5/m"},
        {"observed": "yes"},
        {"key": "cookie"},
        {"paths": "/graphql/"},
        {"paths": ["graphql"]},
        {"methods": "POST"},
        {"methods": ["post"]},
        {"methods": ["HEAD"]},
    ],
)
def test_a_change_that_does_not_fit_names_its_limit(change: object) -> None:
    with pytest.raises(LimitError, match="graphql"):
        changed(TABLE["graphql"], change)


def test_a_limit_by_address_has_no_classes() -> None:
    with pytest.raises(LimitError, match="under all"):
        changed(TABLE["login_address"], {"staff": "off"})


@pytest.mark.parametrize("spelling", ["Ｖｉｃｔｉｍ", "VICTIM", "victim", "Victim"])
def test_spellings_of_one_account_are_counted_as_one(spelling: str) -> None:
    assert key_of_account(spelling) == "account:victim"


@given(st.text(st.characters(exclude_categories=())))
def test_an_account_has_one_short_key_that_utf_8_can_write(name: str) -> None:
    key = account_key(name)
    assert len(key.encode()) <= 4 * LONGEST_ACCOUNT
    assert account_key(key) == key


def test_a_huge_account_name_costs_little() -> None:
    assert len(account_key("\ufdfa" * 10_000_000)) == LONGEST_ACCOUNT


def test_addresses_of_one_ipv6_network_are_counted_as_one() -> None:
    keys = {key_of_address(parse_address(f"2001:db8::{n:x}"), 64) for n in range(1, 41)}
    assert keys == {"address:2001:db8::/64"}


def test_head_counts_as_get_does() -> None:
    limited = Limit("pages", Key.CALLER, for_all("5/m"), paths=("/api/",), methods=("GET",))
    methods = ("GET", "HEAD", "POST")
    assert [limited.applies_to("/api/x", method) for method in methods] == [True, True, False]
    assert not limited.applies_to("/other")
