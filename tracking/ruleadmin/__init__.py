"""The rules in Django's admin: who is blocked, who is let in, which countries and networks.

A rule that was lifted or has expired stays on its list as history.
"""

from __future__ import annotations

from django.db.models import Q

from tracking.engine.rules import RuleAction
from tracking.engine.targets import RuleKind
from tracking.ruleadmin.pages import RuleAdmin

_BLOCKS = {"lift": "Unblock", "extend": "Extend", "again": "Block again"}


class BlockedIPAdmin(RuleAdmin):
    action = RuleAction.BLOCK
    shows = Q(action=RuleAction.BLOCK, prefix__isnull=False)
    kinds = (RuleKind.ADDRESS, RuleKind.NETWORK)
    about = "An address (192.0.2.1) or a network (192.0.2.0/24, 2001:db8::/48)."
    words = _BLOCKS


class AllowedTargetAdmin(RuleAdmin):
    action = RuleAction.ALLOW
    shows = Q(action=RuleAction.ALLOW)
    kinds = tuple(RuleKind)
    about = "An address, a network, a country (DE) or an autonomous system (AS64496)."
    words = {"lift": "No longer allow", "extend": "Extend", "again": "Allow again"}


class BlockedPlaceAdmin(RuleAdmin):
    action = RuleAction.BLOCK
    shows = Q(action=RuleAction.BLOCK, prefix__isnull=True)
    kinds = (RuleKind.COUNTRY, RuleKind.ASN)
    about = "A country by its two letters (DE; * means every one) or a system (AS64496)."
    words = _BLOCKS
