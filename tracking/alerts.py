"""Alerts: blocks and suspicions are written down as they happen, and told by webhook and e-mail.

What is to be told is written in the transaction of what it tells of: neither is there without the
other. The worker delivers (`tracking.tasks`). With nobody to tell, nothing is written.
"""

from __future__ import annotations

import json
import logging
import random
import time
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.dispatch import Signal, receiver
from django.utils import timezone

from tracking import conf, digest, signals, webhooks
from tracking.audit import Actor
from tracking.engine.endpoints import Endpoint, EventType, wait
from tracking.models import AccessRule, Counter, Delivery, SuspiciousIP
from tracking.webhooks import Answer

LEASE = timedelta(minutes=5)  # longer than a run and its last attempt
RUN_SECONDS = 40.0  # for all endpoints together; what is left is done by the next run
KEPT = timedelta(days=30)
NO_PAUSE, DISABLED = 0, 1  # values of an endpoint's counter; its time is the end of a pause
Status = Delivery.Status
logger = logging.getLogger(__name__)

_EVENTS: Mapping[Signal, EventType] = {
    signals.address_blocked: EventType.BLOCK_CREATED,
    signals.address_unblocked: EventType.BLOCK_REMOVED,
    signals.block_expired: EventType.BLOCK_EXPIRED,
    signals.suspicion_raised: EventType.SUSPICION_RAISED,
    signals.block_suggested: EventType.BLOCK_SUGGESTED,
}


@receiver(signals.committing, dispatch_uid="tracking.alerts")
def note(told: Signal, **facts: Any) -> None:
    """Write down what a transaction is about to do, if somebody is to be told of it."""
    event = _EVENTS.get(told)
    configuration = conf.current()
    if event is None or event in configuration.alert_mute:
        return
    names = [endpoint.name for endpoint in configuration.alert_webhooks]
    if configuration.alert_emails:
        names.append(digest.MAIL)
    if names:
        # Rows that cannot be written take nothing of the change with them.
        with transaction.atomic():
            _write(event, _data(facts), names)


def message(event: str, now: datetime, data: Mapping[str, object]) -> str:
    """Return the body that a webhook is sent."""
    return json.dumps({"type": event, "timestamp": now.isoformat(), "data": data})


def deliver(now: datetime) -> int:
    """Send to the webhooks what is due; return how many took it.

    Any number of processes may do so at once. An endpoint that fails is left alone until the next
    run, so that it delays no other.
    """
    endpoints = conf.current().alert_webhooks
    _drop_strangers(endpoints, now)
    share = RUN_SECONDS / max(len(endpoints), 1)
    return sum(_deliver_to(endpoint, now, time.monotonic() + share) for endpoint in endpoints)


def try_out(endpoint: Endpoint, now: datetime) -> Answer:
    """Send a test at once and return the answer; an endpoint that takes it is used (again)."""
    body = message("test", now, {"message": "This is a test: nothing has happened."})
    answer = webhooks.send(endpoint, _new_id(), body, now)
    if answer.is_success:
        _set(endpoint, NO_PAUSE, now)
    return answer


def redeliver(now: datetime, event_ids: list[str] | None = None) -> int:
    """Let events (by default all that were not delivered) be sent anew; return how many."""
    rows = Delivery.objects.exclude(endpoint=digest.MAIL).exclude(status=Status.PENDING)
    if event_ids is None:
        rows = rows.exclude(status=Status.SENT)
    else:
        rows = rows.filter(event_id__in=event_ids)
    return rows.update(status=Status.PENDING, attempts=0, next_attempt_at=now, finished_at=None)


def forget(now: datetime) -> None:
    """Let go of alerts that are a month old, delivered or not."""
    Delivery.objects.filter(at__lt=now - KEPT).delete()


def _data(facts: Mapping[str, Any]) -> dict[str, object]:
    if "suspicion" in facts:
        return _suspicion(facts["suspicion"])
    actor: Actor | None = facts["actor"]
    return {
        "count": facts["count"],
        "actor": actor.name if actor is not None else None,
        "rules": [_rule(row) for row in facts["rules"]],
    }


def _rule(row: AccessRule) -> dict[str, object]:
    return {
        "id": row.pk,
        "target": row.target,
        "kind": row.kind,
        "path": row.path,
        "methods": list(row.methods),
        "reason": row.reason,
        "origin": row.origin,
        "created_by": row.created_by,
        "created_at": _time(row.created_at),
        "expires_at": _time(row.expires_at),
    }


def _suspicion(row: SuspiciousIP) -> dict[str, object]:
    return {
        "id": row.pk,
        "target": row.target,
        "detector": row.detector,
        "reason": row.reason,
        "severity": row.severity,
        "count": row.count,
        "threshold": row.threshold,
        "first_seen": _time(row.first_seen),
        "last_seen": _time(row.last_seen),
        "rule": row.rule_id,
        "is_suggested": row.is_suggested,
        "because": row.because,
        "duration": row.duration.total_seconds() if row.duration is not None else None,
    }


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None


def _write(event: EventType, data: Mapping[str, object], names: list[str]) -> None:
    now = timezone.now()
    event_id, body = _new_id(), message(event, now, data)
    Delivery.objects.bulk_create(
        Delivery(
            event_id=event_id, event=event, at=now, endpoint=name, body=body, next_attempt_at=now
        )
        for name in names
    )
    transaction.on_commit(partial(signals.alerts_waiting.send_robust, Delivery), robust=True)


def _new_id() -> str:
    return f"msg_{uuid.uuid4().hex}"


def _deliver_to(endpoint: Endpoint, now: datetime, until: float) -> int:
    waiting = Delivery.objects.filter(endpoint=endpoint.name, status=Status.PENDING)
    state = Counter.objects.filter(name=_counter(endpoint)).first()
    if state is not None and state.value == DISABLED:
        _drop(waiting, "the endpoint has answered 410: send_test_alert takes it back", now)
        return 0
    if state is not None and now < state.updated_at <= now + webhooks.LONGEST_PAUSE:
        return 0
    sent = 0
    due = waiting.filter(next_attempt_at__lte=now).order_by("next_attempt_at", "pk")
    while time.monotonic() < until and (row := due.first()) is not None:
        if _claimed(row, now):
            answer = webhooks.send(endpoint, row.event_id, row.body, timezone.now())
            _note_answer(row, endpoint, answer, now)
            if not answer.is_success:
                break
            sent += 1
    return sent


def _claimed(row: Delivery, now: datetime) -> bool:
    """Take a row for one attempt; False when another process has taken it."""
    mine = Delivery.objects.filter(pk=row.pk, status=Status.PENDING, attempts=row.attempts)
    row.attempts += 1
    row.next_attempt_at = now + LEASE
    return bool(mine.update(attempts=row.attempts, next_attempt_at=row.next_attempt_at))


def _note_answer(row: Delivery, endpoint: Endpoint, answer: Answer, now: datetime) -> None:
    row.last_answer = answer.text
    pause = wait(row.attempts, random.random())  # noqa: S311 - to spread attempts, not to guard
    if answer.is_success:
        row.status, row.finished_at = Status.SENT, now
    elif answer.is_gone:
        row.status, row.finished_at = Status.DROPPED, now
        _set(endpoint, DISABLED, now)
        logger.error("%s answers 410 and is told of nothing any more", endpoint.name)
    elif pause is None:
        row.status, row.finished_at = Status.FAILED, now
        logger.error("%s was not told of %s: %s", endpoint.name, row.event_id, answer.text)
    else:
        row.next_attempt_at = now + max(pause, answer.retry_after or timedelta(0))
        if answer.retry_after:
            _set(endpoint, NO_PAUSE, now + answer.retry_after)
    row.save(update_fields=["status", "next_attempt_at", "last_answer", "finished_at"])


def _drop_strangers(endpoints: tuple[Endpoint, ...], now: datetime) -> None:
    names = [digest.MAIL, *(endpoint.name for endpoint in endpoints)]
    strangers = Delivery.objects.filter(status=Status.PENDING).exclude(endpoint__in=names)
    _drop(strangers, "the endpoint stands in the settings no more", now)


def _drop(rows: QuerySet[Delivery], why: str, now: datetime) -> None:
    rows.update(status=Status.DROPPED, last_answer=why, finished_at=now)


def _counter(endpoint: Endpoint) -> str:
    return f"alerts.{endpoint.mark}"


def _set(endpoint: Endpoint, value: int, moment: datetime) -> None:
    Counter.objects.update_or_create(
        name=_counter(endpoint), defaults={"value": value, "updated_at": moment}
    )
