"""Requests counted by the hour."""

from __future__ import annotations

import enum

from django.db import models


class Subject(enum.StrEnum):
    """What the requests of an hour are counted by."""

    VERDICT = "VERDICT"
    STATUS_CLASS = "STATUS_CLASS"
    ADDRESS = "ADDRESS"
    NETWORK = "NETWORK"
    COUNTRY = "COUNTRY"
    PATH = "PATH"
    LIMIT = "LIMIT"


class CountedHour(models.Model):
    """An hour in which requests were made, and which state of it has been counted.

    Whoever changes rows of an hour raises `changes`; the counts say what the rows say while
    `counted` is the same number. These rows stay, so that a number never comes twice.
    """

    start = models.DateTimeField(primary_key=True)
    changes = models.BigIntegerField(default=0)
    counted = models.BigIntegerField(default=-1)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H}h"


class HourlyCount(models.Model):
    """How many requests of an hour had one value of a subject; only the most frequent values.

    The row whose value is null stands for all that are left out, of which none has more than `most`
    requests; nor does any that is kept lack more. Its `requests` are those that were counted: of
    very many values the rarest are not (tracking.breakdown).
    """

    start = models.DateTimeField()
    subject = models.CharField(
        max_length=12, choices=[(name.value, name.value) for name in Subject]
    )
    value = models.CharField(max_length=255, null=True)  # noqa: DJ001 - "" is a value: unknown
    requests = models.BigIntegerField()
    refused = models.BigIntegerField()
    most = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["start", "subject", "value"], name="hourlycount_value")
        ]

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H}h {self.subject} {self.value}: {self.requests}"
