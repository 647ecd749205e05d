"""Fetch one file over HTTPS, with limits on its size, its time and where it may lead; unpack it.

Plain http is allowed to this machine itself only (a mirror on loopback, tests).
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import ipaddress
import os
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from tracking.engine.address import shown
from tracking.readers import MIB

SILENCE_SECONDS = 30.0  # the longest wait for the next bytes
TOTAL_SECONDS = 1800.0
CHUNK = MIB // 4
GZIP = b"\x1f\x8b"

# Validators an answer may carry, and the header that sends each back.
_CONDITIONS = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}

Advance = Callable[[int, int | None], None]  # so many bytes more (0 at the start), of so many


class DownloadError(Exception):
    """The file did not come; the message says why."""


class RefusedError(Exception):
    """What is asked or sent is not acceptable; the message says what would be."""


@dataclass(frozen=True, slots=True)
class Received:
    """What came, and the validators that let the next request ask for something newer only."""

    size: int
    validators: dict[str, str]


def fetch(
    url: str,
    into: IO[bytes],
    limit: int,
    validators: Mapping[str, str],
    advance: Advance,
    authorization: str = "",
) -> Received | None:
    """Write what `url` gives, at most `limit` bytes, to `into`; None when it has not changed.

    `authorization` goes to that host alone, nowhere else it may lead.

    Raises DownloadError, RefusedError, or OSError when it cannot be written.
    """
    deadline = time.monotonic() + TOTAL_SECONDS
    with _answer(url, "GET", validators, authorization) as answer:
        if answer is None:
            return None
        total = _length(answer)
        if total is not None and total > limit:
            raise RefusedError(f"{host(url)} offers {total} bytes; at most {limit} are taken")
        advance(0, total)
        size = 0
        while chunk := _next(answer, url):
            size += len(chunk)
            if size > limit:
                raise RefusedError(f"{host(url)} sends more than {limit} bytes; stopped there")
            if time.monotonic() > deadline:
                raise DownloadError(f"{host(url)} took more than {TOTAL_SECONDS:.0f} seconds")
            into.write(chunk)
            advance(len(chunk), total)
        if total is not None and size != total:
            raise DownloadError(f"{host(url)} broke off after {size} of {total} bytes")
        kept = {name: answer.headers[name] for name in _CONDITIONS if answer.headers[name]}
        return Received(size, kept)


def has_changed(url: str, validators: Mapping[str, str], authorization: str = "") -> bool:
    """Tell whether `url` has something else than what the validators came with."""
    with _answer(url, "HEAD", validators, authorization) as answer:
        return answer is not None


def unpack(sent: IO[bytes], into: Path, limit: int, expected: str | None) -> str:
    """Write the file that was sent, plain or as gzip, to the path `into`; return its SHA-256.

    Raises RefusedError for a damaged archive, for more than `limit` bytes, and when neither what
    was sent nor what was in it has the SHA-256 that is expected.
    """
    outer, inner = hashlib.sha256(), hashlib.sha256()
    sent.seek(0)
    packed = sent.read(len(GZIP)) == GZIP
    sent.seek(0)
    into.unlink(missing_ok=True)
    with into.open("xb") as file:
        for chunk in _chunks(gzip.GzipFile(fileobj=sent) if packed else sent):
            if file.tell() + len(chunk) > limit:
                raise RefusedError(f"unpacked it has more than {limit} bytes; stopped there")
            inner.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    sent.seek(0)
    for chunk in _chunks(sent):
        outer.update(chunk)
    if expected and expected.lower() not in {outer.hexdigest(), inner.hexdigest()}:
        raise RefusedError(f"the SHA-256 is {outer.hexdigest()}, not the expected one")
    return inner.hexdigest()


def put_in_place(part: Path, target: Path) -> None:
    """Let `part` be `target` from one moment to the next, also after a power cut."""
    part.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checked(url: str) -> str:
    """Return a URL that may be asked. Raises RefusedError for any other."""
    try:
        parts = urlsplit(url)
        name, _ = parts.hostname or "", parts.port
    except ValueError:
        raise RefusedError(f"{shown(url)} is not a URL") from None
    if not name or any(not "!" <= character <= "~" for character in url):
        raise RefusedError(f"{shown(url)} is not a URL: write it like https://host/file")
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(name)):
        return url
    raise RefusedError(f"{shown(host(url))}: only https is asked, http on this machine alone")


def host(url: str) -> str:
    """Return the host of a URL: all of it that may stand in a message (the rest holds secrets)."""
    return urlsplit(url).hostname or ""


def without_secrets(url: str) -> str:
    """Return a URL without user, password, query and fragment, where tokens stand."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        try:
            if urlsplit(checked(newurl)).scheme != urlsplit(req.full_url).scheme:
                raise RefusedError(f"{host(req.full_url)} leads to another scheme; not followed")
        except RefusedError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _answer(
    url: str, method: str, validators: Mapping[str, str], authorization: str
) -> Iterator[http.client.HTTPResponse | None]:
    headers = {sent: validators[name] for name, sent in _CONDITIONS.items() if name in validators}
    headers["User-Agent"] = "update_geoip"
    request = urllib.request.Request(checked(url), headers=headers, method=method)  # noqa: S310
    if authorization:
        request.add_unredirected_header("Authorization", authorization)
    handlers: list[urllib.request.BaseHandler] = [_Redirects()]
    if _is_loopback(host(url)):
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        answer = urllib.request.build_opener(*handlers).open(request, timeout=SILENCE_SECONDS)
    except HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.NOT_MODIFIED:
            yield None
            return
        if authorization and error.code in {401, 403}:
            raise RefusedError(
                f"{host(url)} refuses the account or its key ({error.code})"
            ) from None
        raise DownloadError(f"{host(url)} answers {error.code}") from None
    except (URLError, OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{host(url)}: {_why(error)}") from None
    with answer:
        yield answer


def _next(answer: http.client.HTTPResponse, url: str) -> bytes:
    try:
        return answer.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{host(url)} broke off: {_why(error)}") from None


def _chunks(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    try:
        while chunk := stream.read(CHUNK):
            yield chunk
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise RefusedError(f"the gzip file is damaged ({error})") from None


def _length(answer: http.client.HTTPResponse) -> int | None:
    written = answer.headers["Content-Length"] or ""
    return int(written) if written.isascii() and written.isdigit() and len(written) < 20 else None


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _why(error: Exception) -> str:
    cause = getattr(error, "reason", error)  # URLError wraps what happened
    return shown(getattr(cause, "strerror", None) or str(cause) or type(cause).__name__, 120)
