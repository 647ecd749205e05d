"""The rows: what was recorded, how far each source of records has been read, and counters."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models.functions import Now

from tracking.engine.address import IPAddress, IPNetwork, Scope, holding, network_of, scope_of
from tracking.engine.limits import account_key
from tracking.engine.place import Place
from tracking.engine.rules import ANY_COUNTRY, RuleAction, RuleKind, target_of_network
from tracking.engine.text import account_name
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


class ReadPosition(models.Model):
    """How far one journal segment or log file has been moved into the record.

    The offset moves in the transaction that inserts the rows, so a line becomes exactly one row
    however often the file is read again.
    """

    name = models.CharField(max_length=120, unique=True)
    offset = models.BigIntegerField(default=0)
    # Of a log: a digest of the line before the offset, to notice that the log is another one.
    tail = models.CharField(max_length=32, default="")
    updated_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} at {self.offset}"


class Counter(models.Model):
    """A named number with the time of its last change: lines lost, a worker's heartbeat."""

    name = models.CharField(max_length=64, unique=True)
    value = models.BigIntegerField(default=0)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} = {self.value}"


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
        return self.filter(target__in=[target_of_network(each).text for each in holding(network)])

    def about(self, address: IPAddress, place: Place) -> AccessRuleQuerySet:
        """Rules about an address, a network that holds it, or its country or system."""
        texts = [target_of_network(each).text for each in holding(network_of(address, 128))]
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
        permissions = [("reset_limit", "Can reset rate limits")]
        indexes = [models.Index(fields=["at", "id"], name="auditentry_at")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.actor}: {self.action} {self.target}"
