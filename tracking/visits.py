"""What a request says about itself, as it comes in and as it is put on record."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from urllib.parse import quote

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import LazyObject, empty

from tracking import conf
from tracking.engine.forwarding import client_address
from tracking.engine.text import redacted_query, redacted_url, split_target
from tracking.engine.visit import Record, Visit
from tracking.models import LIVE

# Tags of requests whose forwarding header names no client, or comes from a peer nobody trusts.
MALFORMED_HEADER = "malformed_forwarding"
UNTRUSTED_HEADER = "untrusted_forwarding"
# Tag of requests to which a page led a browser that says so: the page's author chose what they ask.
FROM_A_PAGE = "from_a_page"
_PAGES = {
    "cross-site",
    "same-site",
    "same-origin",
}  # of Sec-Fetch-Site; "none": typed, or a bookmark
_LONGEST = 4096  # of any one text in the journal; the table cuts further, after escaping


def arrived(request: HttpRequest) -> Visit:
    """Return what a request says when it comes in, secrets taken out."""
    configuration = conf.current()
    meta = request.META
    header = meta.get(configuration.proxy_header_key)
    client = client_address(configuration.proxies, meta.get("REMOTE_ADDR", ""), header)
    tags = (MALFORMED_HEADER,) if client.flagged else ()
    if not client.trusted_peer:
        # Django believes this header from anybody, and with it that a request was encrypted.
        meta.pop("HTTP_X_FORWARDED_PROTO", None)
        if header is not None:
            tags = (UNTRUSTED_HEADER,)
    if meta.get("HTTP_SEC_FETCH_SITE") in _PAGES:
        tags = (*tags, FROM_A_PAGE)
    path, query = _target(request)
    names = configuration.redacted_names
    return Visit(
        at=datetime.now(UTC),
        started=time.perf_counter(),
        request_id=os.urandom(16).hex(),
        address=client.address,
        method=(request.method or "")[:_LONGEST],
        host=meta.get("HTTP_HOST", "")[:_LONGEST],
        path=redacted_url(path[:_LONGEST], names),
        path_info=request.path_info,
        query=redacted_query(query[:_LONGEST], names) if configuration.keeps_query else "",
        user_agent=meta.get("HTTP_USER_AGENT", "")[:_LONGEST],
        referer=redacted_url(meta.get("HTTP_REFERER", "")[:_LONGEST], names),
        tags=tags,
    )


def finished(visit: Visit, request: HttpRequest, response: HttpResponseBase) -> Record:
    """Return what goes on record of a visit and its answer."""
    user_pk, username = _known_user(request)
    return Record(
        visit.at.isoformat(" ").removesuffix("+00:00"),
        str(visit.address),
        visit.method,
        visit.host,
        visit.path,
        visit.query,
        response.status_code,
        round((time.perf_counter() - visit.started) * 1000, 3),
        user_pk,
        username,
        visit.user_agent,
        visit.referer,
        visit.request_id,
        " ".join(visit.operations),
        " ".join(visit.tags),
        visit.verdict.kind.value,
        LIVE,
        visit.verdict.limit,
        visit.verdict.rule,
    )


def _known_user(request: HttpRequest) -> tuple[str, str]:
    """Return the key and name of the user, if the request looked at him; asking would cost SQL."""
    user = getattr(request, "user", None)
    if isinstance(user, LazyObject):
        user = vars(user)["_wrapped"]
    if user is None or user is empty:
        user = getattr(request, "_cached_user", None) or getattr(request, "_acached_user", None)
    if user is None or not user.is_authenticated:
        return "", ""
    return str(user.pk), str(user.get_username() or "")[:_LONGEST]


def _target(request: HttpRequest) -> tuple[str, str]:
    """Return path and query as the client sent them, as far as the server hands them on."""
    raw = request.META.get("RAW_URI") or request.META.get("REQUEST_URI")
    if raw is None:
        sent = getattr(request, "scope", {}).get("raw_path")
        path = sent.decode("latin-1") if sent else quote(request.path, safe="/!$&'()*+,;=:@~")
        return path, request.META.get("QUERY_STRING", "")
    return split_target(raw)
