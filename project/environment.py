"""What the text of each environment variable may be, and what it becomes (read by settings.py)."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError as InvalidAddress
from django.core.validators import validate_email
from environs import Env, ValidationError

from tracking.engine.address import AddressError, parse_network
from tracking.engine.endpoints import read_endpoints, read_event_types
from tracking.engine.findings import read_change
from tracking.engine.limits import LIMITS, ClientClass, Key, LimitError, parse_rates
from users.keys import make_file, parse_keys

BASE_DIR = Path(__file__).resolve().parent.parent
SHORTEST_KEY = 50
FEWEST_CHARACTERS = 5  # different ones, in a key that is random
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def refuse(sentence: str) -> NoReturn:
    """End the start with a sentence instead of a traceback."""
    sys.exit(f"error: {sentence}")


def private_folder(path: Path) -> Path:
    """Return `path` as an existing folder, readable by its owner alone (0700) unless it was full.

    A folder that somebody has filled elsewhere may be shared (/srv, a home): it stays as it is.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(13, "no permission to write")
        if path.is_relative_to(BASE_DIR) or not any(path.iterdir()):
            path.chmod(0o700)
    except OSError as error:
        refuse(f"STATE_DIR={path} cannot be used ({error.strerror}): name a folder you can write.")
    return path


def development_key(path: Path, debug: bool) -> str:
    """Return the key that `make run` made for this machine, once; elsewhere a key must be given.

    It counts with DEBUG off too, so that the commands find what the running service uses.
    """
    if not path.exists() and not debug:
        refuse(
            "SECRET_KEY is not set, and with DEBUG off the service does not invent one: set it to"
            f" {SHORTEST_KEY} or more random characters, or set DEBUG=true on your own machine."
        )
    if not path.exists():
        # Written whole, then linked: of two processes one makes the key, and none reads half of it.
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:
            file.write(os.urandom(48).hex())
            file.flush()
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)
    return path.read_text().strip()


def content(path: str) -> str:
    """Return the text of a file that holds a secret, without its line end; of no file, nothing."""
    try:
        return (BASE_DIR / path).read_text().strip() if path else ""
    except (OSError, UnicodeDecodeError):
        refuse(f"{path} cannot be read: name a file that holds the secret and nothing else.")


def zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValidationError("not a time zone; write one such as UTC or Africa/Nairobi") from None


def hosts(names: list[str]) -> None:
    for name in names:
        if "/" in name or " " in name:
            raise ValidationError(
                f"{name!r} is not the name of a host; write one such as example.org."
            )


def networks(values: list[str]) -> None:
    try:
        for value in values:
            parse_network(value)
    except AddressError as error:
        raise ValidationError(str(error)) from None


def detector_changes(values: list[str]) -> None:
    try:
        by_detector(values)
    except ValueError as error:
        raise ValidationError(str(error)) from None


def by_detector(values: list[str]) -> dict[str, dict[str, object]]:
    """Return what texts such as flood.requests=200 change, as TRACKING_DETECTORS has it."""
    changes: dict[str, dict[str, object]] = {}
    for name, threshold, value in map(read_change, values):
        changes.setdefault(name, {})[threshold] = value
    return changes


def origins(values: list[str]) -> None:
    for value in values:
        parts = urlsplit(value)
        if parts.username is not None:
            raise ValidationError("an origin has no user; write one such as https://example.org.")
        more = parts.path or parts.query or parts.fragment
        if parts.scheme not in {"http", "https"} or not parts.netloc or more:
            raise ValidationError(
                f"{value!r} is not an origin; write one such as https://example.org."
            )


def frontends(values: list[str]) -> None:
    origins(values)
    for value in values:
        if "*" in value:
            raise ValidationError(f"{value!r} names no single origin: write each one.")


def redis_url(text: str) -> None:
    if text and urlsplit(text).scheme not in {"redis", "rediss", "unix"}:
        raise ValidationError("not of the form redis://host:6379/0")


def rates(text: str) -> str:
    """Return rates such as "5/m" or "5/m,50/h", or "off", or nothing, as they are."""
    try:
        parse_rates(text or "off")
    except LimitError as error:
        raise ValidationError(str(error)) from None
    return text


def limit_changes(env: Env) -> dict[str, dict[str, object]]:
    """Return what the variables LIMIT_<NAME>[_<CLASS>] and LIMIT_<NAME>_OBSERVED change."""
    changes: dict[str, dict[str, object]] = {}
    for limit in LIMITS:
        name = f"LIMIT_{limit.name.upper()}"
        classes = list(ClientClass) if limit.key is Key.CALLER else []
        said = {"all": env.rates(name, "")}
        said |= {who: env.rates(f"{name}_{who.upper()}", "") for who in classes}
        said |= {"observed": env.bool(f"{name}_OBSERVED", False)}
        changes[limit.name] = {what: value for what, value in said.items() if value}
    return changes


def mailboxes(addresses: list[str]) -> None:
    for address in addresses:
        try:
            validate_email(address)
        except InvalidAddress:
            raise ValidationError(f"{address!r} is not an e-mail address") from None


def webhooks(texts: list[str]) -> None:
    try:
        read_endpoints(texts)
    except ValueError as error:
        raise ValidationError(str(error)) from None


def event_types(names: list[str]) -> None:
    try:
        read_event_types(names)
    except ValueError as error:
        raise ValidationError(str(error)) from None


def words(text: str, check: Callable[[list[str]], None]) -> list[str]:
    """Return comma-separated values that `check` accepts, without spaces and empty ones."""
    values = [word.strip() for word in text.split(",") if word.strip()]
    check(values)
    return values


def span(text: str, *, longest: str) -> timedelta:
    """Return the length of time in a text such as 10m or 14d."""
    lengths = []
    for part in (text, longest):
        match = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", part, re.ASCII)
        if match is None:
            raise ValidationError("write a length of time such as 90s, 10m, 12h or 14d")
        lengths.append(timedelta(seconds=int(match[1]) * SECONDS[match[2]]))
    if lengths[0] > lengths[1]:
        raise ValidationError(f"{text} is too long: at most {longest}")
    return lengths[0]


def lifetime(text: str, *, longest: str) -> float:
    """Return the seconds in a text such as 10s or 1h; 0 stands for not at all."""
    return 0.0 if text == "0" else span(text, longest=longest).total_seconds()


def token(text: str) -> str:
    """Return a secret that programs send, or nothing, as it is."""
    if text and not (re.fullmatch(r"[!-~]{32,512}", text) and len(set(text)) >= FEWEST_CHARACTERS):
        raise ValidationError("take 32 or more random characters without spaces")
    if text and find_spec("prometheus_client") is None:
        raise ValidationError("install the package prometheus-client, or leave it empty")
    return text


def signing_keys(texts: list[str]) -> None:
    try:
        keys = parse_keys(tuple(texts))
    except ValueError as error:
        raise ValidationError(str(error)) from None
    for key in keys:
        if len(set(key.secret)) < FEWEST_CHARACTERS:
            raise ValidationError(f"the secret of key {key.kid} is not random")


def token_keys(path: Path, debug: bool) -> None:
    """See to a key for access tokens: in the file made for this machine, once."""
    if not path.exists() and not debug:
        refuse(
            "JWT_SIGNING_KEYS is not set, and with DEBUG off the service does not invent one: set"
            " it to id:secret, the secret of 32 or more random characters."
        )
    make_file(path)
