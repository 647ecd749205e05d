"""One request as facts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from tracking.engine.address import IPAddress
from tracking.engine.limits import State
from tracking.engine.place import NOWHERE, Place
from tracking.engine.pseudonym import FULL
from tracking.engine.verdict import ALLOWED, Verdict


@dataclass(slots=True)
class Visit:
    """What is known of one request while it is answered.

    `at` is UTC; `started` is a monotonic clock in seconds, for the duration. Texts are as the
    client sent them, secrets taken out; they are escaped when they are recorded. `query` stays
    empty unless it is to be recorded. `path_info` is the path as it is routed, decoded; `place` is
    looked up only when a rule asks for it. `operations` are the GraphQL operation and its root
    fields. `login` is what the limits said of the last attempt to log in, until the client is told.
    `decision_seconds` is how long it took to know the client and to decide by the rules.
    """

    at: datetime
    started: float
    request_id: str
    address: IPAddress
    method: str
    host: str
    path: str
    path_info: str = ""
    place: Place = NOWHERE
    query: str = ""
    user_agent: str = ""
    referer: str = ""
    operations: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    verdict: Verdict = ALLOWED
    limits: tuple[State, ...] = ()
    login: Verdict = ALLOWED
    decision_seconds: float = 0.0


class Record(NamedTuple):
    """A visit that is over: what the log keeps of it, before places and tags are looked up.

    `storage` says what is kept of the address (tracking.ipstorage). Where that is not all of it,
    country and system were looked up while it was known.

    `at` is UTC as `datetime.isoformat(" ")` writes it without offset: the form in which Django
    stores times in SQLite, so that rows written past the ORM compare with its parameters.
    New fields go to the end, with a default: a journal may be older than the code that reads it.
    `operations` and `tags` are words with a space between.
    """

    at: str
    address: str
    method: str
    host: str
    path: str
    query: str
    status: int
    duration_ms: float
    user_pk: str
    username: str
    user_agent: str
    referer: str
    request_id: str
    operations: str
    tags: str
    verdict: str
    source: str
    limit: str = ""
    rule: int | None = None
    storage: str = FULL
    country: str = ""
    asn: int | None = None
