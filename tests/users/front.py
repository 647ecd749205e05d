"""The front door: accounts over GraphQL, as a client uses them."""

from __future__ import annotations

from typing import Any

from django.test import Client

RIGHT = "correct horse battery staple"
ME = "{ me { username } }"
PAYLOAD = "{ accessToken refreshToken user { username } errors { code message path } }"
LOG_IN = f"mutation ($input: LoginInput!) {{ login(input: $input) {PAYLOAD} }}"
REFRESH = f"mutation ($input: RefreshTokenInput!) {{ refreshToken(input: $input) {PAYLOAD} }}"
SIGN_UP = """mutation ($input: SignupInput!) {
    signup(input: $input) { user { username } errors { code message path } } }"""
LOG_OUT = """mutation ($input: LogoutInput) {
    logout(input: $input) { sessionsEnded errors { code } } }"""
CHANGE = """mutation ($input: ChangePasswordInput!) {
    changePassword(input: $input) { errors { code message path } } }"""
Json = dict[str, Any]


def ask(
    document: str, token: str | None = None, _client: Client | None = None, **given: Any
) -> Json:
    """Return the answer to a document, asked with a token as the caller; `given` is its input."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    body = {"query": document, "variables": {"input": given} if given else {}}
    answer = (_client or Client()).post(
        "/graphql/", body, content_type="application/json", headers=headers
    )
    assert answer.status_code == 200, answer.content
    said: Json = answer.json()
    return said


def code(answer: Json) -> str:
    """Return the code of the one error of an answer, or that there is none."""
    errors = answer.get("errors", [])
    assert len(errors) < 2
    return errors[0]["extensions"]["code"] if errors else "ALLOWED"


def who(token: str | None) -> str:
    """Return whom a token makes the caller: a username, or the code of the refusal."""
    answer = ask(ME, token)
    refusal = code(answer)
    return str(answer["data"]["me"]["username"]) if refusal == "ALLOWED" else refusal


def log_in(username: str, password: str = RIGHT) -> Json:
    """Return the payload of a login."""
    payload: Json = ask(LOG_IN, username=username, password=password)["data"]["login"]
    return payload


def refresh(token: str) -> Json:
    payload: Json = ask(REFRESH, refreshToken=token)["data"]["refreshToken"]
    return payload


def access(username: str) -> str:
    """Return an access token after a login that succeeds."""
    token: str = log_in(username)["accessToken"]
    return token


def mistake(payload: Json) -> str:
    """Return the code of the one error in a payload, or nothing."""
    return " ".join(error["code"] for error in payload["errors"])
