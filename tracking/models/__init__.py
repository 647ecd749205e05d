"""The rows: what was recorded, the rules, what was found, who did what, and counters."""

from tracking.models.alerts import Delivery
from tracking.models.people import AuditEntry, LoginAttempt, LoginAttemptQuerySet
from tracking.models.positions import BATCH, WATERMARK, Counter, ReadPosition
from tracking.models.requests import LIVE, RequestLog, RequestLogQuerySet
from tracking.models.rollups import CountedHour, HourlyCount, Subject
from tracking.models.rules import (
    RULES_VERSION,
    AccessRule,
    AccessRuleQuerySet,
    AllowedTarget,
    BlockedIP,
    BlockedPlace,
)
from tracking.models.suspicions import (
    DetectionRun,
    DetectorMode,
    SuspiciousIP,
    SuspiciousIPQuerySet,
)

__all__ = [
    "BATCH",
    "LIVE",
    "RULES_VERSION",
    "WATERMARK",
    "AccessRule",
    "AccessRuleQuerySet",
    "AllowedTarget",
    "AuditEntry",
    "BlockedIP",
    "BlockedPlace",
    "CountedHour",
    "Counter",
    "Delivery",
    "DetectionRun",
    "DetectorMode",
    "HourlyCount",
    "LoginAttempt",
    "LoginAttemptQuerySet",
    "ReadPosition",
    "RequestLog",
    "RequestLogQuerySet",
    "Subject",
    "SuspiciousIP",
    "SuspiciousIPQuerySet",
]
