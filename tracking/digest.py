"""Alerts by e-mail: the first at once, then at most one message in an interval, about all the rest.

It is plain text: numbers first, then the newest of each kind. What clients have sent is escaped.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import Count, F, Max, Min, Q, QuerySet
from django.utils import timezone

from tracking import conf
from tracking.engine.text import printable
from tracking.models import Counter, Delivery

MAIL = "mail"  # the endpoint of these deliveries
LAST = "alerts.mail"  # the counter whose time is that of the last message
MOST_SHOWN = 10  # of each kind of event
NEXT_TRY = timedelta(minutes=1)  # after one that could not be sent
Status = Delivery.Status
logger = logging.getLogger(__name__)


def send(now: datetime) -> int:
    """Mail what is waiting, if it is time; return how many events it was about."""
    configuration = conf.current()
    if not _waiting().exists() or not _turn(now, configuration.alert_interval):
        return 0
    # What is written from here on stands in the next message, not in this one.
    mark = f"in the message of {now.isoformat()}"
    _waiting().update(attempts=F("attempts") + 1, last_answer=mark)
    told = _waiting().filter(last_answer=mark)
    if not configuration.alert_emails:
        told.update(status=Status.DROPPED, finished_at=now, last_answer="nobody is to be told")
        return 0
    subject, text = compose(told)
    try:
        mail(subject, text)
    except (OSError, SMTPException, ValueError) as error:
        _come_back(now, configuration.alert_interval)
        why = printable(f"{type(error).__name__}: {error}", 255)
        logger.error("The e-mail about alerts could not be sent: %s", why)
        told.update(last_answer=why)
        return 0
    return told.update(status=Status.SENT, finished_at=now)


def mail(subject: str, text: str) -> None:
    """Send one message to everybody who is to be told. Raises what the mail backend does."""
    EmailMessage(
        settings.EMAIL_SUBJECT_PREFIX + subject,
        text,
        from_email=settings.SERVER_EMAIL,
        to=conf.current().alert_emails,
    ).send()


def compose(told: QuerySet[Delivery]) -> tuple[str, str]:
    """Return the subject and the text about these deliveries."""
    kinds = list(told.order_by().values("event").annotate(number=Count("pk")).order_by("event"))
    span = told.aggregate(first=Min("at"), last=Max("at"))
    total = sum(kind["number"] for kind in kinds)
    subject = ", ".join(f"{kind['number']} {kind['event']}" for kind in kinds)
    alerts = "1 alert" if total == 1 else f"{total} alerts"
    lines = [f"{alerts} from {_clock(span['first'])} to {_clock(span['last'])} UTC"]
    for kind in kinds:
        lines += ["", f"{kind['event']}: {kind['number']}"]
        newest = told.filter(event=kind["event"]).order_by("-pk")[:MOST_SHOWN]
        lines += [f"  {line}" for row in newest for line in _lines(row)]
        if kind["number"] > MOST_SHOWN:
            lines.append(f"  and {kind['number'] - MOST_SHOWN} before these")
    return subject, "\n".join(lines) + "\n"


def _waiting() -> QuerySet[Delivery]:
    return Delivery.objects.filter(endpoint=MAIL, status=Status.PENDING)


def _turn(now: datetime, interval: timedelta) -> bool:
    """Take this interval's turn to write; False when it is taken. A clock set back takes none."""
    Counter.objects.get_or_create(
        name=LAST, defaults={"updated_at": datetime(1971, 1, 1, tzinfo=UTC)}
    )
    free = Q(updated_at__lte=now - interval) | Q(updated_at__gt=now + interval)
    return bool(Counter.objects.filter(free, name=LAST).update(updated_at=now))


def _come_back(now: datetime, interval: timedelta) -> None:
    Counter.objects.filter(name=LAST).update(updated_at=now - interval + NEXT_TRY)


def _lines(row: Delivery) -> Iterator[str]:
    data = json.loads(row.body)["data"]
    if "rules" not in data:
        yield _line(f"{data['target']} ({data['severity']}) {data['detector']}: {data['reason']}")
        if data["because"]:
            yield _line(f"  not blocked: {data['because']}")
        return
    who = f" by {data['actor']}" if data["actor"] else ""
    for rule in data["rules"][:MOST_SHOWN]:
        until = f" until {rule['expires_at']}" if rule["expires_at"] else ""
        yield _line(f"{rule['target']}{who}{until}: {rule['reason']}")
    if data["count"] > MOST_SHOWN:
        yield f"and {data['count'] - MOST_SHOWN} more{_line(who)} at the same time"


def _line(text: str) -> str:
    return printable(text, 300)


def _clock(moment: datetime) -> str:
    return f"{timezone.localtime(moment, UTC):%Y-%m-%d %H:%M:%S}"
