"""What detection found, and how it runs."""

from __future__ import annotations

from django.db import models

from tracking.engine.address import IPNetwork
from tracking.engine.findings import Mode, Severity
from tracking.engine.targets import texts_around
from tracking.fields import AddressField, bounds
from tracking.models.rules import AccessRule


class SuspiciousIPQuerySet(models.QuerySet["SuspiciousIP"]):
    def covering(self, network: IPNetwork) -> SuspiciousIPQuerySet:
        """Suspicions of this network or one that holds it, an address standing for itself."""
        return self.filter(target__in=texts_around(network))

    def inside(self, network: IPNetwork) -> SuspiciousIPQuerySet:
        """Suspicions of this network or a part of it."""
        return self.filter(first__range=bounds(network), prefix__gte=network.prefixlen)


class SuspiciousIP(models.Model):
    """An address, or a network that counts as one client, with a detector's findings under review.

    A finding that comes again while its row is open changes that row; `window_end` is when the
    newest request behind it was made. FALSE_POSITIVE and IGNORED rows keep their findings from
    having consequences, until somebody reviews them again.
    """

    class Status(models.TextChoices):
        OPEN = "OPEN"
        CONFIRMED = "CONFIRMED"
        FALSE_POSITIVE = "FALSE_POSITIVE"
        IGNORED = "IGNORED"

    target = models.CharField(max_length=49)
    first = AddressField(editable=False)
    prefix = models.PositiveSmallIntegerField(editable=False)
    detector = models.CharField(max_length=32)
    reason = models.CharField(max_length=500)
    severity = models.CharField(max_length=6, choices=[(one.value, one.value) for one in Severity])
    count = models.BigIntegerField()
    threshold = models.BigIntegerField()
    window_start = models.DateTimeField()
    window_end = models.DateTimeField()
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    evidence = models.JSONField(default=list)
    status = models.CharField(max_length=14, choices=Status.choices, default=Status.OPEN)
    note = models.CharField(max_length=1000, blank=True)
    reviewed_by = models.CharField(max_length=255, blank=True)
    reviewed_at = models.DateTimeField(null=True, blank=True)
    rule = models.ForeignKey(AccessRule, models.PROTECT, null=True, blank=True, db_index=False)
    # Of a suggestion: the block waits for a person, this is why, and so long would it last.
    is_suggested = models.BooleanField(default=False)
    because = models.CharField(max_length=255, blank=True)
    duration = models.DurationField(null=True, blank=True)

    objects = SuspiciousIPQuerySet.as_manager()

    class Meta:
        verbose_name = "suspicious IP"
        verbose_name_plural = "suspicious IPs"
        default_permissions = ("view", "change")
        indexes = [
            models.Index(fields=["last_seen", "id"], name="suspiciousip_last_seen"),
            models.Index(fields=["first", "prefix"], name="suspiciousip_first"),
            models.Index(fields=["target", "detector", "id"], name="suspiciousip_target"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["target", "detector"],
                condition=models.Q(status="OPEN"),
                name="suspiciousip_one_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.target}: {self.reason}"


class DetectionRun(models.Model):
    """One look at the record: which rows were new, what was found, and what was done about it."""

    now = models.DateTimeField()
    started_at = models.DateTimeField()
    duration_ms = models.FloatField(default=0)
    trigger = models.CharField(max_length=255)
    after_row = models.BigIntegerField()
    upto_row = models.BigIntegerField()
    examined_from = models.DateTimeField(null=True)
    examined_to = models.DateTimeField(null=True)
    findings = models.PositiveIntegerField(default=0)
    raised = models.PositiveIntegerField(default=0)
    blocked = models.PositiveIntegerField(default=0)
    suggested = models.PositiveIntegerField(default=0)

    class Meta:
        default_permissions = ("view",)
        permissions = [("run_detection", "Can run detection and change its modes")]
        indexes = [models.Index(fields=["started_at", "id"], name="detectionrun_started")]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M:%S}: {self.findings} findings"


class DetectorMode(models.Model):
    """What somebody set a detector to while the service runs; it wins over the settings."""

    detector = models.CharField(max_length=32, unique=True)
    mode = models.CharField(max_length=7, choices=[(one.value, one.value) for one in Mode])
    changed_by = models.CharField(max_length=255)
    changed_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.detector}: {self.mode}"
