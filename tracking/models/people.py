"""What people did: attempts to log in, and administrative changes."""

from __future__ import annotations

from django.db import models

from tracking.engine.address import IPNetwork
from tracking.engine.limits import account_key
from tracking.engine.text import account_name
from tracking.fields import AddressField, bounds


class LoginAttemptQuerySet(models.QuerySet["LoginAttempt"]):
    def to_account(self, typed: str) -> LoginAttemptQuerySet:
        """Rows of the account that is meant by this name, as typed or in its one spelling."""
        return self.filter(account__in={account_name(typed), account_name(account_key(typed))})

    def inside(self, network: IPNetwork) -> LoginAttemptQuerySet:
        """Rows whose address belongs to the network."""
        return self.filter(address__range=bounds(network))


class LoginAttempt(models.Model):
    """One attempt to log in, by whatever door.

    `account` is as typed, or the name of the user who was logged in, cut and escaped.
    """

    class Outcome(models.TextChoices):
        SUCCEEDED = "SUCCEEDED"
        FAILED = "FAILED"
        LIMITED = "LIMITED"

    at = models.DateTimeField()
    address = AddressField()
    account = models.CharField(max_length=255)
    outcome = models.CharField(max_length=9, choices=Outcome.choices)
    door = models.CharField(max_length=255)

    objects = LoginAttemptQuerySet.as_manager()

    class Meta:
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["at", "id"], name="loginattempt_at"),
            models.Index(fields=["account", "address", "at"], name="loginattempt_account"),
            models.Index(fields=["address", "at"], name="loginattempt_address"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.account} from {self.address}: {self.outcome}"


class AuditEntry(models.Model):
    """One administrative change: who made it, when, from where, why, and what it changed."""

    at = models.DateTimeField()
    actor = models.CharField(max_length=255)
    actor_pk = models.CharField(max_length=64, blank=True)
    address = AddressField(null=True)
    action = models.CharField(max_length=64)
    target = models.CharField(max_length=255)
    reason = models.CharField(max_length=500, blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)

    class Meta:
        verbose_name_plural = "audit entries"
        default_permissions = ("view",)
        permissions = [
            ("reset_limit", "Can reset rate limits"),
            ("manage_personal_data", "Can export and erase personal data"),
        ]
        indexes = [models.Index(fields=["at", "id"], name="auditentry_at")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.actor}: {self.action} {self.target}"
