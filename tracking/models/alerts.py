"""What is to be told to whom, and what became of it."""

from __future__ import annotations

from django.db import models


class Delivery(models.Model):
    """One event on its way to one endpoint: a webhook, or "mail" for the administrators.

    It is written with what it tells of, in one transaction. An attempt first moves
    `next_attempt_at`, so that of two workers one sends, and a worker's death only delays.
    """

    class Status(models.TextChoices):
        PENDING = "PENDING"
        SENT = "SENT"
        FAILED = "FAILED"  # every attempt failed
        DROPPED = "DROPPED"  # nobody is there any more to tell it to

    event_id = models.CharField(max_length=64)
    event = models.CharField(max_length=32)
    at = models.DateTimeField()
    endpoint = models.CharField(max_length=280)
    body = models.TextField()
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    last_answer = models.CharField(max_length=255, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "alert"
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["at", "id"], name="delivery_at"),
            models.Index(fields=["endpoint", "status", "next_attempt_at"], name="delivery_due"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["event_id", "endpoint"], name="delivery_once")
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.endpoint}: {self.status}"
