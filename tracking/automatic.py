"""What nothing automatic may block: shared addresses, and those of colleagues."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib.auth import get_user_model
from django.db.models import Q

from tracking import ipstorage
from tracking.engine.address import Scope, scope_of
from tracking.engine.targets import Target
from tracking.models import RequestLog
from tracking.proposals import ProtectedTargetError

APP = "tracking"
SIGNED_IN_FOR = timedelta(hours=24)
NEVER_AUTOMATIC = {Scope.PRIVATE, Scope.CGNAT, Scope.LINK_LOCAL, Scope.LOOPBACK}


def check_automatic(target: Target, now: datetime) -> None:
    """Return when nobody need look before a target is blocked. Raises ProtectedTargetError.

    Behind a proxy nobody told of, all clients look like one private address; and a colleague who
    tried something strange is not an attacker.
    """
    if not ipstorage.is_full():
        raise ProtectedTargetError(
            "The record does not say whose address this is (TRACKING_IP_STORAGE): a person decides."
        )
    network = target.network
    if network is None:
        raise ProtectedTargetError(f"Only a person may block {target.text}.")
    if {scope_of(network[0]), scope_of(network[-1])} & NEVER_AUTOMATIC:
        raise ProtectedTargetError(
            f"{target.text} is not a public address: many may share it, behind a proxy for example."
        )
    signed_in = set(
        RequestLog.objects.inside(network)
        .filter(at__gte=now - SIGNED_IN_FOR, at__lt=now)
        .exclude(user_pk="")
        .values_list("user_pk", flat=True)
        .order_by()
        .distinct()[:1000]
    )
    if signed_in and not holders().isdisjoint(signed_in):
        raise ProtectedTargetError(
            f"Somebody who may see the record was signed in from {target.text} within a day."
        )


def holders() -> frozenset[str]:
    """Return the keys of the users who may see or change anything of the record."""
    users = get_user_model()
    ours = "permissions__content_type__app_label"
    may = Q(is_superuser=True) | Q(**{f"groups__{ours}": APP}) | Q(**{f"user_{ours}": APP})
    found = users._default_manager.filter(may, is_active=True)  # noqa: SLF001
    return frozenset(map(str, found.values_list("pk", flat=True).distinct()))
