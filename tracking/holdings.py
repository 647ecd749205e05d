"""Where data about somebody stand, and how they are taken out: one Holding for each table.

What only says something about a person goes. What is kept for another reason (who changed what,
which rule was in force) stays, and loses the addresses and names that lead to him.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Max, Min, Model, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from tracking import rollups
from tracking.datasubject import DataSubject
from tracking.engine.forwarding import UNKNOWN
from tracking.engine.redaction import ERASED
from tracking.engine.targets import RuleKind
from tracking.mentions import InEntry, Mention
from tracking.models import (
    WATERMARK,
    AccessRule,
    AuditEntry,
    Counter,
    Delivery,
    DetectionRun,
    DetectorMode,
    LoginAttempt,
    RequestLog,
    SuspiciousIP,
)

WINDOW_KEYS = 100_000  # of a table that are looked through at once
KEYS_AT_ONCE = 100_000  # that are read at once
BATCH_ROWS = 500  # of one transaction, so that writers hardly wait
DELETED, REDACTED, KEPT = "deleted", "redacted", "kept"

Rows = QuerySet[Any]


@dataclass(frozen=True, slots=True)
class Holding:
    """What one table has of somebody.

    `parts` are the rows that may be about him, in parts of bounded size; `is_meant` looks at each
    where no query can tell. `fate` is what becomes of them, and `take_out` does it, in the
    transaction of the caller; `why` says why they stay.
    """

    label: str
    fate: str
    parts: Callable[[DataSubject], Iterable[Rows]]
    take_out: Callable[[DataSubject, Rows], None]
    is_meant: Callable[[DataSubject, Any], bool] | None = None
    why: str = ""

    @property
    def table(self) -> str:
        return self.label.partition(".")[2]

    def rows(self, subject: DataSubject) -> Iterator[Any]:
        """Yield the rows of somebody, which nobody changes meanwhile."""
        for part in self.parts(subject):
            for row in part.order_by("pk").iterator(1000):
                if self.is_meant is None or self.is_meant(subject, row):
                    yield row

    def batches(self, subject: DataSubject) -> Iterator[list[Any]]:
        """Yield the keys of the rows of somebody, a few at a time; each batch may be taken out
        before the next one is asked for."""
        for part in self.parts(subject):
            last, batch = None, part.order_by("pk")
            while True:
                rows = batch if last is None else batch.filter(pk__gt=last)
                keys = list(rows.values_list("pk", flat=True)[:KEYS_AT_ONCE])
                if not keys:
                    break
                last = keys[-1]
                for first in range(0, len(keys), BATCH_ROWS):
                    yield self._meant(subject, rows.model, keys[first : first + BATCH_ROWS])

    def erase(self, subject: DataSubject, keys: Sequence[Any]) -> None:
        """Take somebody out of the rows with these keys, all together."""
        rows = apps.get_model(self.label)._default_manager.filter(pk__in=keys)  # noqa: SLF001
        with transaction.atomic():
            self.take_out(subject, rows)

    def _meant(self, subject: DataSubject, model: type[Model], keys: list[Any]) -> list[Any]:
        if self.is_meant is None:
            return keys
        rows = model._default_manager.filter(pk__in=keys)  # noqa: SLF001
        return [row.pk for row in rows if self.is_meant(subject, row)]


def _forget(_: DataSubject, rows: Rows) -> None:
    rows.delete()


def _forget_requests(_: DataSubject, rows: Rows) -> None:
    rollups.mark(rows)
    rows.delete()


def _requests(subject: DataSubject) -> Iterator[Rows]:
    if subject.networks:
        yield RequestLog.objects.filter(subject.at())
    else:
        for part in _windows(RequestLog):
            yield part.filter(subject.signed_in())


def _attempts(subject: DataSubject) -> Iterator[Rows]:
    rows = LoginAttempt.objects.all()
    yield rows.filter(subject.at()) if subject.networks else rows.to_account(subject.name)


def _forget_suspicions(_: DataSubject, rows: Rows) -> None:
    # Else a run of detection that is under way would write them anew.
    Counter.objects.filter(name=WATERMARK).update(updated_at=Now())
    rows.delete()


def _suspicions(subject: DataSubject) -> Iterator[Rows]:
    yield SuspiciousIP.objects.filter(subject.about())


def _reviewed(subject: DataSubject) -> Iterator[Rows]:
    if subject.name:
        yield SuspiciousIP.objects.filter(reviewed_by=subject.name)


def _past_rules(subject: DataSubject) -> Iterator[Rows]:
    yield AccessRule.objects.filter(subject.about(), ended_at__isnull=False)


def _rules_in_force(subject: DataSubject) -> Iterator[Rows]:
    yield AccessRule.objects.live(timezone.now()).filter(subject.about())


def _forget_target(_: DataSubject, rows: Rows) -> None:
    # None of these is in force, so no process that knows the rules has to hear of it.
    nobody = str(UNKNOWN)
    rows.update(target=nobody, first=nobody, prefix=32, kind=RuleKind.ADDRESS, reason="")


def _made_by(model: type[Model], column: str) -> Callable[[DataSubject], Iterator[Rows]]:
    def parts(subject: DataSubject) -> Iterator[Rows]:
        if subject.name:
            yield model._default_manager.filter(Q((column, subject.name)))  # noqa: SLF001

    return parts


def _rules_made(subject: DataSubject) -> Iterator[Rows]:
    # Detection's own rules carry its name, which a user may have, too.
    for rows in _made_by(AccessRule, "created_by")(subject):
        yield rows.exclude(origin=AccessRule.Origin.AUTOMATIC)


def _forget_name(column: str, _: DataSubject, rows: Rows) -> None:
    rows.update(**{column: ERASED})


def _windows(model: type[Model]) -> Iterator[Rows]:
    rows = model._default_manager.all()  # noqa: SLF001
    keys = rows.aggregate(first=Min("pk"), last=Max("pk"))
    for first in range(keys["first"] or 1, (keys["last"] or 0) + 1, WINDOW_KEYS):
        yield rows.filter(pk__gte=first, pk__lt=first + WINDOW_KEYS)


def _all_of(model: type[Model]) -> Callable[[DataSubject], Iterator[Rows]]:
    return lambda _: _windows(model)


_ENTRY = InEntry(texts=("target", "reason"), values=("before", "after"))
_RUN = Mention(texts=("trigger",))
_ALERT = Mention(texts=("last_answer",), documents=("body",))
_LINE = Mention(names=("object_repr",))


def _entries(subject: DataSubject) -> Iterator[Rows]:
    """Yield the audit entries but those that made or changed a rule which is in force."""
    kept = [row.pk for part in _kept_entries(subject) for row in part.only("pk")]
    for part in _windows(AuditEntry):
        yield part.exclude(pk__in=kept)


def _kept_entries(subject: DataSubject) -> Iterator[Rows]:
    yield AuditEntry.objects.filter(_about_rules_in_force(subject))


def _about_rules_in_force(subject: DataSubject) -> Q:
    numbers = [row.pk for part in _rules_in_force(subject) for row in part.only("pk")]
    return Q(after__rule__in=numbers) | Q(before__rule__in=numbers) if numbers else Q(pk__in=[])


def _alerts(_: DataSubject) -> Iterator[Rows]:
    for part in _windows(Delivery):
        yield part.exclude(status=Delivery.Status.PENDING)


def _waiting_alerts(_: DataSubject) -> Iterator[Rows]:
    yield Delivery.objects.filter(status=Delivery.Status.PENDING)


def _admin_lines(_: DataSubject) -> Iterator[Rows]:
    """Yield the lines of the admin's own history, where that is installed."""
    if apps.is_installed("django.contrib.admin"):
        users = get_user_model()._meta  # noqa: SLF001
        ours = Q(content_type__app_label="tracking")
        ours |= Q(content_type__app_label=users.app_label, content_type__model=users.model_name)
        for part in _windows(apps.get_model("admin", "LogEntry")):
            yield part.filter(ours)


def _leave(_: DataSubject, __: Rows) -> None:
    """Nothing: these rows are kept."""


HOLDINGS: tuple[Holding, ...] = (
    Holding("tracking.RequestLog", DELETED, _requests, _forget_requests),
    Holding("tracking.LoginAttempt", DELETED, _attempts, _forget),
    Holding("tracking.SuspiciousIP", DELETED, _suspicions, _forget_suspicions),
    Holding("tracking.SuspiciousIP", REDACTED, _reviewed, partial(_forget_name, "reviewed_by")),
    Holding("tracking.AccessRule", REDACTED, _past_rules, _forget_target),
    Holding(
        "tracking.AccessRule", REDACTED, _rules_made, partial(_forget_name, "created_by"),
    ),
    Holding(
        "tracking.DetectorMode", REDACTED, _made_by(DetectorMode, "changed_by"),
        partial(_forget_name, "changed_by"),
    ),
    Holding("tracking.DetectionRun", REDACTED, _all_of(DetectionRun), _RUN.redact, _RUN.is_made),
    Holding("tracking.AuditEntry", REDACTED, _entries, _ENTRY.redact, _ENTRY.is_made),
    Holding("tracking.Delivery", REDACTED, _alerts, _ALERT.redact, _ALERT.is_made),
    Holding("admin.LogEntry", REDACTED, _admin_lines, _LINE.redact, _LINE.is_made),
    Holding(
        "tracking.AccessRule", KEPT, _rules_in_force, _leave,
        why="these rules are in force: lift them, and erase again",
    ),
    Holding(
        "tracking.AuditEntry", KEPT, _kept_entries, _leave, _ENTRY.is_made,
        why="they say who made the rules that are in force",
    ),
    Holding(
        "tracking.Delivery", KEPT, _waiting_alerts, _leave, _ALERT.is_made,
        why="these alerts are still to be delivered: erase again later",
    ),
)  # fmt: skip
