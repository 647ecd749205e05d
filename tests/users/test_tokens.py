"""A token that is not whole, ours, fresh and of a live session opens nothing and breaks nothing."""

from __future__ import annotations

import base64
import json
import string
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as rsa_key
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from pytest_django import Settings

from tests.users.front import LOG_OUT, RIGHT, access, ask, log_in, mistake, refresh, who
from tracking.models import AuditEntry
from users import keys, tokens
from users.models import RefreshToken, Session, User

pytestmark = pytest.mark.django_db

KID, SECRET = "tests", "0123456789abcdef" * 4  # as the environment of the tests has them
CLAIMS = ("sub", "sid", "sv", "typ", "iss", "aud", "jti", "iat", "exp")
NOW = 1_800_000_000
Claims = dict[str, Any]


def claims_of(token: str) -> Claims:
    claims: Claims = jwt.decode(token, options={"verify_signature": False})
    return claims


def signed(claims: Claims, key: Any = SECRET, algorithm: str = "HS256", **header: Any) -> str:
    return jwt.encode(claims, key, algorithm, {"kid": KID, **header})


def part(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def resigned(header: object, payload: object) -> str:
    """Sign any text whatever, as only the holder of the key could."""
    body = f"{part(header)}.{part(payload)}"
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = algorithm.sign(body.encode(), SECRET.encode())
    return f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def public_text(private: Ed25519PrivateKey) -> str:
    encoding, form = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    return private.public_key().public_bytes(encoding, form).hex()


HEADER = {"alg": "HS256", "typ": "JWT", "kid": KID}
DEEP = "[" * 1400 + "]" * 1400
ED = Ed25519PrivateKey.from_private_bytes(bytes(32))
Forgery = Callable[[Claims, str], str]

# Made without the key: none of these may reach the database.
WITHOUT_KEY: dict[str, Forgery] = {
    "empty": lambda c, t: "",
    "spaces": lambda c, t: "   ",
    "one part": lambda c, t: t.split(".")[0],
    "two parts": lambda c, t: t.rpartition(".")[0],
    "no signature": lambda c, t: t.rpartition(".")[0] + ".",
    "four parts": lambda c, t: t + ".AAAA",
    "only dots": lambda c, t: "..",
    "many dots": lambda c, t: "." * 4000,
    "huge": lambda c, t: t + "A" * 100_000,
    "huge claim": lambda c, t: signed({**c, "more": "x" * 10_000}, "k" * 64),
    "binary": lambda c, t: "\x80\xff\xfe.\x01\x7f.\xc3\x28",
    "NUL": lambda c, t: "\0" + t,
    "unicode digits": lambda c, t: t.replace(t[5], "\xb2"),
    "two tokens": lambda c, t: f"{t} {t}",
    "comma after it": lambda c, t: t + ", Bearer x",
    "quoted": lambda c, t: f'"{t}"',
    "not base64": lambda c, t: "!!!.???.***",
    "not JSON": lambda c, t: f"{part('hello')}.{part('world')}.AAAA",
    "header a list": lambda c, t: f"{part([HEADER])}.{part(c)}.AAAA",
    "header null": lambda c, t: f"{part(None)}.{part(c)}.AAAA",
    "header nested deeply": lambda c, t: f"{part(DEEP)}.e30.AAAA",
    "header not UTF-8": lambda c, t: "_____w.e30.AAAA",
    "alg none": lambda c, t: jwt.encode(c, None, "none", {"kid": KID}),
    "alg None": lambda c, t: f"{part({**HEADER, 'alg': 'None'})}.{part(c)}.",
    "alg nOnE, signature kept": lambda c, t: (
        f"{part({**HEADER, 'alg': 'nOnE'})}.{part(c)}.{t.rpartition('.')[2]}"
    ),
    "alg missing": lambda c, t: f"{part({'typ': 'JWT', 'kid': KID})}.{part(c)}.AAAA",
    "alg a number": lambda c, t: f"{part({**HEADER, 'alg': 256})}.{part(c)}.AAAA",
    "another key": lambda c, t: signed(c, "k" * 64),
    "empty key": lambda c, t: resigned(HEADER, c)[:-43] + "A" * 43,
    "HS384 with our key": lambda c, t: signed(c, algorithm="HS384"),
    "HS512 with our key": lambda c, t: signed(c, algorithm="HS512"),
    "RS256": lambda c, t: signed(c, rsa_key(65537, 2048), "RS256"),
    "PS256": lambda c, t: signed(c, rsa_key(65537, 2048), "PS256"),
    "ES256": lambda c, t: signed(c, ec_key(SECP256R1()), "ES256"),
    "EdDSA": lambda c, t: signed(c, ED, "EdDSA"),
    "EdDSA with the secret as its seed": lambda c, t: signed(
        c, Ed25519PrivateKey.from_private_bytes(SECRET[:32].encode()), "EdDSA"
    ),
    "a key in the header": lambda c, t: signed(
        c,
        ED,
        "EdDSA",
        jwk={"kty": "OKP", "crv": "Ed25519", "x": "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik"},
    ),
    "an address of keys in the header": lambda c, t: signed(
        c, "k" * 64, jku="http://127.0.0.1:9/keys", x5u="http://127.0.0.1:9/keys"
    ),
    "kid unknown": lambda c, t: signed(c, kid="other"),
    "kid of another case": lambda c, t: signed(c, kid=KID.upper()),
    "kid a path": lambda c, t: signed(c, "\0" * 32, kid="../../../../dev/null"),
    "kid SQL": lambda c, t: signed(c, kid="' OR 1=1 --"),
    "kid empty": lambda c, t: signed(c, kid=""),
    "kid missing": lambda c, t: jwt.encode(c, SECRET, "HS256"),
    "kid a number": lambda c, t: resigned({**HEADER, "kid": 1}, c),
    "kid null": lambda c, t: resigned({**HEADER, "kid": None}, c),
    "kid a list": lambda c, t: resigned({**HEADER, "kid": [KID]}, c),
    "critical extension": lambda c, t: resigned({**HEADER, "crit": ["x"], "x": 1}, c),
    "detached payload": lambda c, t: resigned({**HEADER, "b64": False, "crit": ["b64"]}, c),
    "payload changed": lambda c, t: ".".join(
        (t.split(".")[0], part({**c, "sub": "1"}), t.split(".")[2])
    ),
    "signature of another token": lambda c, t: ".".join(
        (*t.split(".")[:2], signed({**c, "jti": "x"}).split(".")[2])
    ),
}

# Signed with our key: it must still say all that our tokens say, and nothing else.
WITH_KEY: dict[str, Forgery] = {
    **{
        f"{name} missing": lambda c, t, name=name: signed({k: v for k, v in c.items() if k != name})
        for name in CLAIMS
    },
    **{
        f"{name} null": lambda c, t, name=name: signed({**c, name: None})
        for name in CLAIMS
        if name not in {"iss", "aud"}
    },
    "typ refresh": lambda c, t: signed({**c, "typ": "refresh"}),
    "typ of other case": lambda c, t: signed({**c, "typ": "ACCESS"}),
    "typ a list": lambda c, t: signed({**c, "typ": ["access"]}),
    "iss of another": lambda c, t: resigned(HEADER, {**c, "iss": "https://example.org"}),
    "iss a list": lambda c, t: resigned(HEADER, {**c, "iss": ["another"]}),
    "aud of another": lambda c, t: signed({**c, "aud": "another"}),
    "aud empty list": lambda c, t: signed({**c, "aud": []}),
    "aud a number": lambda c, t: resigned(HEADER, {**c, "aud": 1}),
    "iat in the future": lambda c, t: signed({**c, "iat": c["iat"] + 3600}),
    "iat a word": lambda c, t: resigned(HEADER, {**c, "iat": "yesterday"}),
    "nbf in the future": lambda c, t: signed({**c, "nbf": c["iat"] + 3600}),
    "exp a word": lambda c, t: resigned(HEADER, {**c, "exp": "never"}),
    "exp without end": lambda c, t: resigned(HEADER, {**c, "exp": float("inf")}),
    "exp no number": lambda c, t: resigned(HEADER, {**c, "exp": float("nan")}),
    "exp a list": lambda c, t: resigned(HEADER, {**c, "exp": [2_000_000_000]}),
    "iat without end": lambda c, t: resigned(HEADER, {**c, "iat": float("inf")}),
    "sub another account": lambda c, t: signed({**c, "sub": str(int(c["sub"]) + 1)}),
    "sub the username": lambda c, t: signed({**c, "sub": "ada"}),
    "sub a number": lambda c, t: resigned(HEADER, {**c, "sub": int(c["sub"])}),
    "sub with a zero": lambda c, t: signed({**c, "sub": "0" + c["sub"]}),
    "sid unknown": lambda c, t: signed({**c, "sid": "0" * 32}),
    "sid a number": lambda c, t: signed({**c, "sid": 1}),
    "sid a list": lambda c, t: signed({**c, "sid": [c["sid"]]}),
    "sid an object": lambda c, t: signed({**c, "sid": {"$ne": ""}}),
    "sid SQL": lambda c, t: signed({**c, "sid": "' OR 1=1 --"}),
    "sid empty": lambda c, t: signed({**c, "sid": ""}),
    "sv of another password": lambda c, t: signed({**c, "sv": "0" * 16}),
    "sv empty": lambda c, t: signed({**c, "sv": ""}),
    "sv a number": lambda c, t: signed({**c, "sv": 0}),
    "sv true": lambda c, t: signed({**c, "sv": True}),
    "payload a list": lambda c, t: resigned(HEADER, [c]),
    "payload a text": lambda c, t: resigned(HEADER, json.dumps("text")),
    "payload empty": lambda c, t: resigned(HEADER, ""),
    "payload nested deeply": lambda c, t: resigned(HEADER, DEEP),
    "sub twice, the last another's": lambda c, t: resigned(
        HEADER, json.dumps(c)[:-1] + ', "sub": "999"}'
    ),
    "sid twice, the last unknown": lambda c, t: resigned(
        HEADER, json.dumps(c)[:-1] + f', "sid": "{"0" * 32}"}}'
    ),
}


def test_a_token_of_a_login_says_all_it_must_and_nothing_else(ada: User) -> None:
    token = access("ada")
    claims = claims_of(token)
    assert sorted(claims) == sorted(CLAIMS)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT", "kid": KID}
    assert claims["sub"] == str(ada.pk)
    assert claims["exp"] - claims["iat"] <= 600
    assert who(token) == "ada"
    assert "ada" not in str(claims)


def test_there_are_forgeries_enough() -> None:
    assert len(WITHOUT_KEY) + len(WITH_KEY) >= 40


@pytest.mark.parametrize("name", WITHOUT_KEY)
def test_a_token_made_without_the_key_opens_nothing_and_costs_no_query(
    ada: User, name: str
) -> None:
    token = access("ada")
    forged = WITHOUT_KEY[name](claims_of(token), token)
    with CaptureQueriesContext(connection) as queries:
        assert who(forged) == "UNAUTHENTICATED"
    assert len(queries) == 0


@pytest.mark.parametrize("name", WITH_KEY)
def test_a_token_signed_with_our_key_must_still_be_one_of_ours(ada: User, name: str) -> None:
    token = access("ada")
    forged = WITH_KEY[name](claims_of(token), token)
    with CaptureQueriesContext(connection) as queries:
        assert who(forged) == "UNAUTHENTICATED"
    assert len(queries) <= 1


def test_the_session_of_another_account_is_not_ones_own(ada: User, bob: User) -> None:
    mine, theirs = claims_of(access("ada")), claims_of(access("bob"))
    assert who(signed({**mine, "sid": theirs["sid"]})) == "UNAUTHENTICATED"
    assert who(signed({**mine, "sub": theirs["sub"]})) == "UNAUTHENTICATED"
    assert who(signed({**mine, "sid": theirs["sid"], "sub": theirs["sub"]})) == "UNAUTHENTICATED"


def test_public_fields_answer_whatever_the_token_is(ada: User) -> None:
    for token in ("", "x.y.z", None):
        answer = ask("{ serverInfo { __typename } }", token)
        assert answer == {"data": {"serverInfo": {"__typename": "ServerInfo"}}}


def test_a_request_with_a_good_token_costs_one_query(ada: User) -> None:
    token = access("ada")
    with CaptureQueriesContext(connection) as queries:
        assert who(token) == "ada"
    assert len(queries) == 1


def test_a_token_ends_at_its_time_and_says_so(ada: User) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        token = access("ada")
        clock.shift(604)
        assert who(token) == "ada"  # clocks of two nodes may differ by five seconds
        clock.shift(2)
        assert who(token) == "TOKEN_EXPIRED"


def test_a_forged_token_does_not_become_an_expired_one(ada: User) -> None:
    old = claims_of(access("ada")) | {"exp": NOW - 1_000_000_000, "iat": NOW - 1_000_000_600}
    assert who(signed(old)) == "TOKEN_EXPIRED"
    assert who(signed(old, "k" * 64)) == "UNAUTHENTICATED"
    assert who(signed(old, kid="other")) == "UNAUTHENTICATED"


# -- Refresh tokens


def test_a_refresh_brings_new_tokens_of_the_same_session(ada: User) -> None:
    first = log_in("ada")
    second = refresh(first["refreshToken"])
    assert second["refreshToken"] != first["refreshToken"]
    assert who(second["accessToken"]) == who(first["accessToken"]) == "ada"
    assert claims_of(second["accessToken"])["sid"] == claims_of(first["accessToken"])["sid"]


def test_only_the_hash_of_a_refresh_token_is_kept(ada: User) -> None:
    token = log_in("ada")["refreshToken"]
    assert token not in str(RefreshToken.objects.values_list())
    assert len(token) >= 43  # 256 bits
    assert mistake(refresh(RefreshToken.objects.get().digest)) == "INVALID_TOKEN"


def test_a_refresh_token_used_twice_ends_the_family_and_is_put_on_record(
    ada: User, bob: User
) -> None:
    first, bystander = log_in("ada"), log_in("ada")
    second = refresh(first["refreshToken"])
    assert mistake(refresh(first["refreshToken"])) == "INVALID_TOKEN"
    assert who(first["accessToken"]) == who(second["accessToken"]) == "UNAUTHENTICATED"
    assert mistake(refresh(second["refreshToken"])) == "INVALID_TOKEN"
    assert who(bystander["accessToken"]) == "ada"
    entry = AuditEntry.objects.get(action="session_reused")
    assert entry.target == "user ada"


@pytest.mark.parametrize(
    "token", ["", "x", "\0", "\u202e", "é" * 50, "x" * 30_000, "0" * 64, "null"], ids=ascii
)
def test_what_is_no_refresh_token_is_refused(ada: User, token: str) -> None:
    log_in("ada")
    assert mistake(refresh(token)) == "INVALID_TOKEN"


def test_an_access_token_does_not_refresh_and_a_refresh_token_does_not_open(ada: User) -> None:
    tokens = log_in("ada")
    assert mistake(refresh(tokens["accessToken"])) == "INVALID_TOKEN"
    assert who(tokens["refreshToken"]) == "UNAUTHENTICATED"


def test_a_refresh_token_ends_at_its_time_and_a_session_at_its_own(ada: User) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        left_alone = log_in("ada")["refreshToken"]
        used = log_in("ada")["refreshToken"]
        for _ in range(7):  # 91 days, one day before each token's end
            clock.shift(timedelta(days=12, hours=20))
            used = refresh(used)["refreshToken"]
        assert mistake(refresh(left_alone)) == "INVALID_TOKEN"
        clock.shift(timedelta(days=1))
        assert mistake(refresh(used)) == "INVALID_TOKEN"


def test_a_session_that_is_over_cannot_be_refreshed(ada: User) -> None:
    tokens = log_in("ada")
    assert ask(LOG_OUT, tokens["accessToken"])["data"]["logout"]["sessionsEnded"] == 1
    assert mistake(refresh(tokens["refreshToken"])) == "INVALID_TOKEN"


@pytest.mark.django_db(transaction=True)
def test_of_fifty_refreshes_at_once_with_one_token_one_wins(ada: User) -> None:
    token = log_in("ada")["refreshToken"]

    def once(_: int) -> dict[str, Any]:
        try:
            return refresh(token)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(50) as pool:
        payloads = list(pool.map(once, range(50)))
    won = [payload for payload in payloads if payload["accessToken"]]
    assert len(won) == 1
    assert {mistake(payload) for payload in payloads if payload not in won} == {"INVALID_TOKEN"}
    assert AuditEntry.objects.filter(action="session_reused").count() == 1
    assert Session.objects.get().end_reason == "reused"
    assert who(won[0]["accessToken"]) == "UNAUTHENTICATED"
    assert RefreshToken.objects.count() == 2


# -- Keys


@pytest.fixture
def key_file(settings: Settings, tmp_path: Path) -> Path:
    settings.JWT_SIGNING_KEYS = []
    settings.JWT_KEYS_FILE = tmp_path / "jwt-keys"
    keys.make_file(settings.JWT_KEYS_FILE)
    return tmp_path / "jwt-keys"


def test_tokens_of_a_retired_key_are_good_for_a_grace_time(ada: User, key_file: Path) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        old = access("ada")
        keys.rotate_file(key_file)
        new = access("ada")
        assert who(old) == who(new) == "ada"
        assert jwt.get_unverified_header(old)["kid"] != jwt.get_unverified_header(new)["kid"]
        late = claims_of(old) | {"exp": NOW + 9000}
        kid, secret, _ = key_file.read_text().splitlines()[1].split(":")
        stolen = signed(late, secret, kid=kid)
        clock.shift(keys.GRACE_SECONDS - 1)
        assert who(stolen) == "ada"
        clock.shift(1)
        assert who(stolen) == "UNAUTHENTICATED"


def test_a_key_that_is_taken_away_ends_its_tokens_at_once(ada: User, key_file: Path) -> None:
    old = access("ada")
    replacement = key_file.with_name("new")
    keys.make_file(replacement)
    replacement.replace(key_file)
    assert who(old) == "UNAUTHENTICATED"
    assert who(access("ada")) == "ada"


def test_the_file_of_keys_is_its_owners_alone(key_file: Path) -> None:
    keys.rotate_file(key_file)
    assert key_file.stat().st_mode & 0o777 == 0o600


def test_two_processes_that_start_at_once_make_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keys.make_file, [tmp_path / "jwt-keys"] * 8))
    assert len((tmp_path / "jwt-keys").read_text().splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["jwt-keys"]


def test_keys_of_the_environment_rotate_by_their_order(ada: User, settings: Settings) -> None:
    old = access("ada")
    settings.JWT_SIGNING_KEYS = ["new:" + "n" * 32, *settings.JWT_SIGNING_KEYS]
    assert who(old) == "ada"
    assert jwt.get_unverified_header(access("ada"))["kid"] == "new"
    settings.JWT_SIGNING_KEYS = settings.JWT_SIGNING_KEYS[:1]
    assert who(old) == "UNAUTHENTICATED"


def test_tokens_are_signed_by_an_edwards_curve_where_the_settings_say_so(
    ada: User, settings: Settings
) -> None:
    shared = access("ada")
    settings.JWT_ALGORITHM = "EdDSA"
    token = access("ada")
    assert jwt.get_unverified_header(token)["alg"] == "EdDSA"
    assert who(token) == "ada"
    assert who(shared) == "UNAUTHENTICATED"
    private = keys.signing_keys()[0].private("EdDSA")
    for secret in (SECRET, public_text(private), bytes.fromhex(public_text(private))):
        assert who(signed(claims_of(token), secret)) == "UNAUTHENTICATED"
    settings.JWT_ALGORITHM = "HS256"
    assert who(token) == "UNAUTHENTICATED"


# -- Ends of access


def test_a_name_that_changes_hands_takes_no_token_along(ada: User, bob: User) -> None:
    token = access("ada")
    User.objects.filter(pk=ada.pk).update(username="was-ada", canonical="was-ada")
    bob.username = "ada"
    bob.save()
    assert who(token) == "was-ada"


def test_time_is_what_it_was(ada: User) -> None:
    """Forged tokens of the list are fresh: they fail for what is wrong with them alone."""
    claims = claims_of(access("ada"))
    assert claims["iat"] <= time.time() < claims["exp"]
    assert who(signed(claims)) == "ada"
    assert who(resigned(HEADER, claims)) == "ada"
    assert RIGHT not in str(claims)


# -- Any text whatever

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
PARTS = st.text(string.ascii_letters + string.digits + "-_=.", max_size=60)
HEADERS = st.fixed_dictionaries({}, optional=dict.fromkeys(("alg", "kid", "typ", "crit"), JSON))
PAYLOADS = st.fixed_dictionaries({}, optional=dict.fromkeys(CLAIMS, JSON))
TEXTS = st.one_of(
    st.text(),
    st.binary().map(lambda raw: raw.decode("latin-1")),
    st.lists(PARTS, max_size=5).map(".".join),
    st.builds(lambda header, payload: f"{part(header)}.{part(payload)}.AAAA", HEADERS, PAYLOADS),
    st.builds(lambda header, payload: resigned({**HEADER, **header}, payload), HEADERS, PAYLOADS),
    st.builds(lambda payload: resigned(HEADER, payload), JSON | PAYLOADS),
)


@settings_of_hypothesis(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=TEXTS)
def test_no_text_is_taken_for_a_token_or_breaks_its_reader(text: str) -> None:
    with pytest.raises(tokens.TokenError):
        tokens.read_access(text)


def test_text_that_utf8_cannot_write_has_a_digest_of_its_own() -> None:
    assert len({tokens.digest(text) for text in ("\ud800", "\ud801", "?")}) == 3
