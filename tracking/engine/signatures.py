"""Signatures: which families of attacks one visit belongs to.

Only what every server sees is looked at: method, path, query, agent and referer. The text is
decoded as attackers hope that somebody decodes it, then compared with payloads and probes; time
is linear in the length, and what is looked at has an end.

Searching one's own log carries attack strings too: `exempt` is for such requests.
"""

from __future__ import annotations

import html
import re
import unicodedata
from base64 import b64decode
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from tracking.engine.families import (
    CODE_INJECTION,
    COMMAND_INJECTION,
    FAMILIES,
    KNOWN_EXPLOIT,
    NOT_HTTP,
    OPEN_PROXY,
    PATH_TRAVERSAL,
    SCANNER_AGENT,
    SQL_INJECTION,
)
from tracking.engine.payloads import CHECKS, Check, Search
from tracking.engine.probes import AGENTS, probes
from tracking.engine.text import normal_path

LONGEST = 2048  # characters of path and query together; of a longer text both ends are looked at
LONGEST_HEADER = 1024
LONGEST_CACHED = 256  # characters: long texts do not come again, and would fill the memory
NOT_FOUND = frozenset({404, 410})

_ENOUGH = 4  # families in one text: more tell nothing more
_MOST_DECODINGS = 4  # the second to fourth are for those who hope that a proxy decodes too
_ORDER = {family.name: place for place, family in enumerate(FAMILIES)}

# What ordinary paths are made of, and what ordinary queries are made of besides. Of such text
# only the checks can say something whose literal has nothing else in it.
_PATH = re.compile(r"[a-z0-9/_.\-~,+@]*")
_TELLING_PATH = ("..", "/etc/", "/proc/")
_ORDINARY = re.compile(r"[a-z0-9/_.\-~,+@=&?: ]*")
_ORDINARY_CHECKS = tuple(check for check in CHECKS if _ORDINARY.fullmatch(check[0]))
# What databases make of comments, and shells of quotes, concerns these alone.
_DATABASE_CHECKS = tuple(
    check for check in CHECKS if check[1] in {SQL_INJECTION.name, CODE_INJECTION.name}
)
_SHELL_CHECKS = tuple(
    check for check in CHECKS if check[1] in {COMMAND_INJECTION.name, PATH_TRAVERSAL.name}
)
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_ESCAPE = re.compile(
    r"(?:%u|\\u)([0-9a-f]{4})|\\u\{0{0,6}([0-9a-f]{2,5})\}|\\x([0-9a-f]{2})", re.IGNORECASE
)
_ENTITY = re.compile(r"&(?:#(?:x[0-9a-f]{1,64}|[0-9]{1,64});?|[a-z]{2,8};)", re.IGNORECASE)
_OVERLONG = re.compile("[\udcc0\udcc1]([\udc80-\udcbf])")  # UTF-8 that uses two bytes for ASCII
# Letters in circles, wide ones, bold ones.
_DISGUISED = re.compile("[\u249c-\u24e9\uff01-\uff5e\U0001d400-\U0001d7ff]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
_SPACES = re.compile(r"[ \t\x0b\x0c\xa0]{2,}|[\t\x0b\x0c\xa0]")
_COMMENT = re.compile(r"/\*(?!!)[^*]{0,256}\*/")
_MARKED_COMMENT = re.compile(r"/\*!\d{0,6}|\*/")  # what MySQL executes
_SHELL_NOISE = re.compile(r"['\"\\^]|\$[@*!?$_-]|\$[0-9u](?![a-z0-9])|\$\{?ifs\}?(?:\$[0-9])?")
_SHORTEST_BASE64 = 12
_BASE64 = re.compile(rf"[A-Za-z0-9+/_-]{{{_SHORTEST_BASE64},{LONGEST}}}")
_MOST_BASE64 = 8  # words of one text that are looked into
_GREETINGS = ("gh0st", "lv|'|'|", "mstshash=", "mining.subscribe", "ssh-2.0", "\x00@rsync")


class _Found(NamedTuple):
    always: frozenset[str]
    when_absent: frozenset[str]


_NOTHING = _Found(frozenset(), frozenset())


def tags(
    *,
    method: str,
    path: str,
    query: str = "",
    user_agent: str = "",
    referer: str = "",
    status: int = 0,
    exempt: bool = False,
) -> tuple[str, ...]:
    """Return the names of the families that a visit belongs to, in the order of FAMILIES.

    `path` and `query` are as the client sent them, percent escapes included. Of an `exempt`
    visit (one of a signed-in person who searches the log, say) only the agent counts.
    """
    found: set[str] = set()
    if user_agent:
        found |= (_agent_cached if len(user_agent) <= LONGEST_CACHED else _agent)(user_agent)
    if not exempt:
        if referer:
            found |= (_referer_cached if len(referer) <= LONGEST_CACHED else _referer)(referer)
        short = len(path) + len(query) <= LONGEST_CACHED
        target = _target_cached(path, query) if short else _target(path, query)
        found |= target.always
        if status in NOT_FOUND:
            found |= target.when_absent
        if method == "CONNECT":
            found.add(OPEN_PROXY.name)
        elif method == "-" and path not in {"", "-"}:  # browsers open connections they do not use
            found.add(_protocol(path))
    if not found:
        return ()
    return tuple(sorted(found, key=_ORDER.__getitem__))


def _protocol(text: str) -> str:
    """Return what a first line is that no HTTP server understands."""
    text = unquote(text[:LONGEST_HEADER]).lower()
    return KNOWN_EXPLOIT.name if any(word in text for word in _GREETINGS) else NOT_HTTP.name


def _target(path: str, query: str) -> _Found:
    """Return what path and query tell."""
    target = (f"{path}?{query}" if query else path).replace("+", " ")
    always = _payloads(_both_ends(target, LONGEST))
    absent: set[str] = set()
    for family, when_absent in probes(normal_path(path[:LONGEST])):
        (absent if when_absent else always).add(family.name)
    return _Found(frozenset(always), frozenset(absent)) if always or absent else _NOTHING


_target_cached = lru_cache(maxsize=8192)(_target)


def _agent(agent: str) -> frozenset[str]:
    found = _header(agent)
    if AGENTS.search(agent[:LONGEST_HEADER].lower()):
        found.add(SCANNER_AGENT.name)
    return frozenset(found)


def _referer(referer: str) -> frozenset[str]:
    """Return what a referer tells.

    Browsers escape it, so an address is not decoded: what somebody searched for elsewhere is no
    attack here.
    """
    if referer.startswith(("http://", "https://", "android-app://")):
        text = referer[:LONGEST_HEADER].lower()
        if not any(sign in text for sign in '<>"'):
            return frozenset()
        found: set[str] = set()
        _check(text, CHECKS, found)
        return frozenset(found)
    return frozenset(_header(referer))


_agent_cached = lru_cache(maxsize=4096)(_agent)
_referer_cached = lru_cache(maxsize=4096)(_referer)


def _header(text: str) -> set[str]:
    # A header is a value of its own; the expressions know one by the sign of equality before it.
    return _payloads("=" + _both_ends(text, LONGEST_HEADER))


def _both_ends(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest // 2] + text[-longest // 2 :]


def _payloads(sent: str) -> set[str]:
    decoded = _decoded(sent)
    found: set[str] = set()
    for text, checks in _forms(decoded.lower()):
        _check(text, checks, found)
    for text in _from_base64(decoded):
        _check(_squeezed(text.lower()), CHECKS, found)
    return found


def _check(text: str, checks: tuple[Check, ...], found: set[str]) -> None:
    """Add the families of the payloads in a text."""
    tried: set[Search] = set()
    for literal, family, search in checks:
        if literal in text and family not in found and search not in tried:
            tried.add(search)
            if search(text):
                found.add(family)
                if len(found) >= _ENOUGH:
                    return


def _decoded(text: str) -> str:
    """Return text with every escape undone that some server undoes."""
    for _ in range(_MOST_DECODINGS):
        if not _PERCENT.search(text):
            break
        text = unquote(text, errors="surrogateescape")
    if not text.isascii():
        text = _OVERLONG.sub(lambda two: chr(ord(two[0][0]) % 2 << 6 | ord(two[1]) & 0x3F), text)
        text = _INVISIBLE.sub("", _DISGUISED.sub(_undisguised, text))
    if "\\" in text or "%u" in text.lower():
        text = _ESCAPE.sub(_character, text)
    if "&" in text:
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    return text


def _undisguised(letter: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", letter[0])


def _character(escape: re.Match[str]) -> str:
    code = int(escape[1] or escape[2] or escape[3], 16)
    return chr(code) if code < 0x110000 else ""


def _forms(lower: str) -> Iterator[tuple[str, tuple[Check, ...]]]:
    """Yield what others may make of a text, each with the checks that may say something of it."""
    if _PATH.fullmatch(lower) and not any(word in lower for word in _TELLING_PATH):
        return
    if _ORDINARY.fullmatch(lower):
        yield lower, _ORDINARY_CHECKS
        return
    squeezed = _squeezed(lower)
    yield squeezed, CHECKS
    if "*/" in squeezed or "\n" in squeezed:
        line = _MARKED_COMMENT.sub(" ", _COMMENT.sub(" ", squeezed.replace("\n", " ")))
        yield _SPACES.sub(" ", line), _DATABASE_CHECKS
    bare = _SHELL_NOISE.sub(lambda noise: " " if "ifs" in noise[0] else "", squeezed)
    if bare != squeezed:
        yield bare, _SHELL_CHECKS


def _squeezed(lower: str) -> str:
    text = lower.replace("\r\n", "\n").replace("\r", "\n")
    return _SPACES.sub(" ", _CONTROL.sub("", text))


def _from_base64(text: str) -> list[str]:
    """Return the values that are printable text in base64."""
    if len(text) < _SHORTEST_BASE64:
        return []
    words = _BASE64.findall(text)[:_MOST_BASE64]
    return ["=" + plain for plain in map(_plain, words) if plain]


def _plain(word: str) -> str:
    """Return the text that a word in base64 stands for, "" if it stands for none."""
    word = word.lstrip("/").replace("-", "+").replace("_", "/")
    if len(word) % 4 == 1:
        return ""
    plain = b64decode(word + "=" * (-len(word) % 4))
    if not plain.isascii() or plain.isalnum():
        return ""
    text = plain.decode("ascii")
    return text if text.replace("\r", "").replace("\n", "").isprintable() else ""
