"""The request log."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models.functions import Now

from tracking.engine.address import IPNetwork
from tracking.engine.verdict import VerdictKind
from tracking.fields import AddressField, WordsField, bounds

LIVE = "live"


class RequestLogQuerySet(models.QuerySet["RequestLog"]):
    def window(self, start: datetime | None, end: datetime | None) -> RequestLogQuerySet:
        """Rows with start <= at < end; None leaves that side open."""
        rows = self if start is None else self.filter(at__gte=start)
        return rows if end is None else rows.filter(at__lt=end)

    def inside(self, network: IPNetwork) -> RequestLogQuerySet:
        """Rows whose address belongs to the network."""
        return self.filter(address__range=bounds(network))


class RequestLog(models.Model):
    """One request: the visit, what was decided about it, and how it was answered."""

    at = models.DateTimeField()
    address = AddressField()
    counting_key = models.CharField(max_length=43)
    method = models.CharField(max_length=32)
    host = models.CharField(max_length=255)
    path = models.CharField(max_length=2048)
    normal_path = models.CharField(max_length=2048)
    query = models.CharField(max_length=2048, blank=True)
    status = models.PositiveSmallIntegerField()
    duration_ms = models.FloatField()
    user_pk = models.CharField(max_length=64, blank=True)
    username = models.CharField(max_length=255, blank=True)
    user_agent = models.CharField(max_length=512, blank=True)
    referer = models.CharField(max_length=1024, blank=True)
    request_id = models.CharField(max_length=32)
    operations = WordsField(blank=True)
    country = models.CharField(max_length=2, blank=True)
    city = models.CharField(max_length=128, blank=True)
    asn = models.BigIntegerField(null=True, blank=True)
    verdict = models.CharField(
        max_length=8, choices=[(kind.value, kind.value) for kind in VerdictKind]
    )
    limit = models.CharField(max_length=64, blank=True)
    # Rules are never deleted; to check that on every insert would cost the drainer dearly.
    rule = models.ForeignKey(
        "AccessRule", models.DO_NOTHING, null=True, blank=True, db_constraint=False, db_index=False
    )
    tags = WordsField(blank=True)
    source = models.CharField(max_length=64, default=LIVE)
    recorded_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = RequestLogQuerySet.as_manager()

    class Meta:
        verbose_name = "request"
        verbose_name_plural = "request log"
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["at", "id"], name="requestlog_at"),
            models.Index(fields=["address", "at"], name="requestlog_address_at"),
            models.Index(fields=["request_id"], name="requestlog_request_id"),
            models.Index(fields=["at"], name="requestlog_tagged_at", condition=~models.Q(tags="")),
            models.Index(
                fields=["at"], name="requestlog_refused_at", condition=~models.Q(verdict="ALLOWED")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.address} {self.method} {self.path} {self.status}"
