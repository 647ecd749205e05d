"""What clients send, made fit to keep: secrets taken out, every byte storable, paths comparable."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from urllib.parse import unquote

REDACTED = "[redacted]"

# A parameter is a secret when its name, letters and digits only, contains one of the first or is
# one of the second: "user_password", "X-Amz-Signature", "login[pin]", but not "spinner".
SECRET_PARTS = (
    "password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "privatekey",
    "signature", "credential", "authorization", "session", "cookie", "jwt",
)  # fmt: skip
SECRET_NAMES = (
    "pwd", "pass", "pw", "key", "auth", "code", "otp", "pin", "sid", "sig", "cvv", "cvc", "ssn",
    "variables",
)  # fmt: skip

_NOT_PRINTABLE_ASCII = re.compile(r"[^!-~]")
_USERINFO = re.compile(r"^([a-z][a-z0-9+.-]*:)?//[^/]*@", re.IGNORECASE)
_MOST_PARTS = 100  # of one query or path that are looked at each; the rest counts as one
_MOST_DECODINGS = 3  # an attacker who encodes twice hopes that somebody decodes twice


def escaped(text: str, longest: int) -> str:
    """Return header text as one printable line of at most `longest` characters.

    Servers hand headers over as Latin-1; UTF-8 is read where it is valid.
    """
    return printable(text if text.isascii() else _as_utf8(text), longest)


def printable(text: str, longest: int) -> str:
    """Return text as one line of at most `longest` characters.

    What cannot be printed (controls, NUL, lone surrogates, direction marks) becomes a backslash
    escape.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _backslash(c) for c in text[:longest])
    return text[:longest]


def account_name(typed: str, longest: int = 255) -> str:
    """Return the name of an account as it was typed, in the one form that Unicode prefers."""
    return printable(unicodedata.normalize("NFKC", typed[:longest]), longest)


def path_as_sent(raw: str, longest: int = 2048) -> str:
    """Return a request path as it came, with percent escapes for everything but printable ASCII."""
    if not (raw.isascii() and raw.isprintable() and " " not in raw):
        raw = _NOT_PRINTABLE_ASCII.sub(_percent, raw[:longest])
    return raw[:longest]


def normal_path(path: str, longest: int = 2048) -> str:
    """Return the path for matching: decoded, lower case, slashes merged, dots resolved.

    `/ADMIN`, `//admin/`, `/%61dmin`, `/x/../admin`, `/admin;x` and `/admin/.` are all `/admin`.
    """
    kept: list[str] = []
    for segment in _decoded(path).replace("\\", "/").lower().split("/"):
        name = segment.partition(";")[0]
        if name == "..":
            del kept[-1:]
        elif name not in {"", "."}:
            kept.append(name)
    return escaped("/" + "/".join(kept), longest)


def redacted_query(query: str, more_names: tuple[str, ...] = ()) -> str:
    """Return a query string with the values of secret parameters replaced.

    A value that itself names a secret (another URL, JSON, a GraphQL document) goes as a whole.
    """
    return _redacted(query, "&", _secret(more_names, "=:"))


def redacted_url(url: str, more_names: tuple[str, ...] = ()) -> str:
    """Return a URL (a referer, a path) without its user's password and its secret parameters."""
    url, hash_mark, fragment = url.partition("#")
    url, question, query = url.partition("?")
    if "@" in url:
        url = _USERINFO.sub(r"\1//", url)
    if "=" in url or "%" in url:
        url = _redacted(url, "/;", _secret(more_names, "="))
    query = redacted_query(query, more_names) if query else ""
    fragment = redacted_query(fragment, more_names) if fragment else ""
    return url + question + query + hash_mark + fragment


def split_target(target: str) -> tuple[str, str]:
    """Return path and query of a request target, which proxies are sent in absolute form."""
    if not target.startswith("/") and "://" in target:
        target = "/" + target.partition("://")[2].partition("/")[2]
    path, _, query = target.partition("?")
    return path, query


@lru_cache(maxsize=8)
def _secret(more_names: tuple[str, ...], signs: str) -> re.Pattern[str]:
    """Return what finds, in `_plain` text, a value assigned to a secret name by one of `signs`.

    Every repetition has an end, so that no text takes more than linear time.
    """
    parts = "|".join(SECRET_PARTS)
    names = "|".join((*SECRET_NAMES, *(re.escape(_plain(name)) for name in more_names)))
    name = rf"(?:(?:{parts})[a-z0-9.\[\]]{{0,32}}|(?<![a-z0-9])(?:{names})\]?)"
    userinfo = r"|//[^/?#\s]{1,256}@" if ":" in signs else ""
    return re.compile(rf"{name}[\"'\\]{{0,4}}\s{{0,4}}[{signs}].{userinfo}", re.DOTALL)


def _plain(text: str) -> str:
    """Return text as a name in it is compared: decoded, lower case, without what joins words."""
    return _decoded(text).lower().replace("_", "").replace("-", "").replace("+", "")


def _redacted(text: str, separators: str, secret: re.Pattern[str]) -> str:
    if not secret.search(_plain(text)):
        return text
    parts = re.split(f"([{separators}])", text, maxsplit=_MOST_PARTS)
    return "".join(_redacted_part(part, secret) for part in parts)


def _redacted_part(part: str, secret: re.Pattern[str]) -> str:
    if not secret.search(_plain(part)):
        return part
    name, equals, _ = part.partition("=")
    return f"{name}={REDACTED}" if equals and not secret.search(_plain(name)) else REDACTED


def _decoded(text: str) -> str:
    for _ in range(_MOST_DECODINGS):
        if "%" not in text:
            break
        text = unquote(text, errors="surrogateescape")
    return text


def _as_utf8(text: str) -> str:
    try:
        return text.encode("latin-1").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text


def _backslash(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # a byte that was no UTF-8
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )


def _percent(match: re.Match[str]) -> str:
    character = match.group()
    encoded = character.encode("latin-1" if character < "\u0100" else "utf-8", "surrogatepass")
    return "".join(f"%{byte:02X}" for byte in encoded)
