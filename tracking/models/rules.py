"""The book of rules."""

from __future__ import annotations

from datetime import datetime

from django.db import models

from tracking.engine.address import IPAddress, IPNetwork, Scope, network_of, scope_of
from tracking.engine.place import Place
from tracking.engine.rules import RuleAction
from tracking.engine.targets import ANY_COUNTRY, RuleKind, texts_around
from tracking.fields import AddressField, WordsField, bounds

RULES_VERSION = "rules.version"  # the counter that every change of the rules raises, and so locks


class AccessRuleQuerySet(models.QuerySet["AccessRule"]):
    def live(self, now: datetime) -> AccessRuleQuerySet:
        """Rules in force at a moment: neither lifted nor expired."""
        return self.filter(
            models.Q(expires_at=None) | models.Q(expires_at__gt=now), ended_at__isnull=True
        )

    def blocked_ips(self, now: datetime) -> AccessRuleQuerySet:
        """Live rules that block an address or a network."""
        kinds = (RuleKind.ADDRESS, RuleKind.NETWORK)
        return self.live(now).filter(action=RuleAction.BLOCK, kind__in=kinds)

    def covering(self, network: IPNetwork) -> AccessRuleQuerySet:
        """Rules about this network or one that holds it, an address standing for itself."""
        return self.filter(target__in=texts_around(network))

    def about(self, address: IPAddress, place: Place) -> AccessRuleQuerySet:
        """Rules about an address, a network that holds it, or its country or system."""
        texts = list(texts_around(network_of(address, 128)))
        if scope_of(address) is Scope.GLOBAL:
            texts += [ANY_COUNTRY, place.country or "", f"AS{place.asn}"]
        return self.filter(target__in=texts)

    def inside(self, network: IPNetwork) -> AccessRuleQuerySet:
        """Rules about this network or a part of it."""
        return self.filter(first__range=bounds(network), prefix__gte=network.prefixlen)


class AccessRule(models.Model):
    """A rule in the book. Only `tracking.blocklist` writes rows, and none is ever deleted.

    `version` is that of the whole book at the rule's last change; `hits` counts the requests it
    decided, or would have, as they come into the record.
    """

    class Origin(models.TextChoices):
        MANUAL = "MANUAL"
        AUTOMATIC = "AUTOMATIC"
        IMPORT = "IMPORT"

    kind = models.CharField(max_length=7, choices=[(kind.value, kind.value) for kind in RuleKind])
    target = models.CharField(max_length=49)
    first = AddressField(null=True, editable=False)
    prefix = models.PositiveSmallIntegerField(null=True, editable=False)
    action = models.CharField(
        max_length=5, choices=[(each.value, each.value) for each in RuleAction]
    )
    observed = models.BooleanField(default=False)
    path = models.CharField(max_length=255, blank=True)
    methods = WordsField(blank=True)
    reason = models.CharField(max_length=500, blank=True)
    origin = models.CharField(max_length=9, choices=Origin.choices, default=Origin.MANUAL)
    created_by = models.CharField(max_length=255)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)
    version = models.BigIntegerField(editable=False)
    hits = models.BigIntegerField(default=0, editable=False)
    last_hit_at = models.DateTimeField(null=True, editable=False)

    objects = AccessRuleQuerySet.as_manager()

    class Meta:
        default_permissions = ("view", "add", "change")
        indexes = [
            models.Index(fields=["version"], name="accessrule_version"),
            models.Index(fields=["first", "prefix"], name="accessrule_first"),
            models.Index(fields=["created_at", "id"], name="accessrule_created"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["target", "action", "observed", "path", "methods"],
                condition=models.Q(ended_at=None),
                name="accessrule_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target}"

    def is_live(self, now: datetime) -> bool:
        return self.ended_at is None and (self.expires_at is None or now < self.expires_at)


class BlockedIP(AccessRule):
    """A rule that blocks an address or a network, as the admin lists it."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = "blocked IP"
        verbose_name_plural = "Blocked IPs"


class AllowedTarget(AccessRule):
    """A rule that allows, as the admin lists it."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = "allowed target"
        verbose_name_plural = "Allowed"


class BlockedPlace(AccessRule):
    """A rule that blocks a country or an autonomous system, as the admin lists it."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = "blocked country or network"
        verbose_name_plural = "Countries and networks (ASN)"
