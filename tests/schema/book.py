"""Rules to ask about, and an operator who may change them."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Permission
from django.test import Client

from tests.schema.record import told
from tracking import blocklist, policy
from tracking.audit import COMMAND_LINE
from tracking.engine.address import parse_network
from tracking.engine.rules import RuleAction
from tracking.engine.targets import Target, target_of_asn, target_of_country, target_of_network
from tracking.models import AccessRule
from tracking.proposals import Proposal
from users.models import User

OPERATOR = "192.0.2.200"  # where the operator comes from


def target(text: str) -> Target:
    if text.startswith("AS") and text[2:].isdigit():
        return target_of_asn(text)
    return target_of_country(text) if len(text) <= 2 else target_of_network(parse_network(text))


def rule(text: str, action: RuleAction = RuleAction.BLOCK, **facts: Any) -> AccessRule:
    """Put a rule in the book, and in force in this process."""
    made = blocklist.block(COMMAND_LINE, Proposal(target=target(text), action=action, **facts))
    policy.refresh()
    return made


def client_with(*permissions: str, superuser: bool = False) -> Client:
    """Return a client whose user holds these permissions (by their code names)."""
    user, _ = User.objects.get_or_create(username="operator")
    User.objects.filter(pk=user.pk).update(is_superuser=superuser)
    found = Permission.objects.filter(content_type__app_label="tracking", codename__in=permissions)
    assert len(found) == len(permissions)
    user.user_permissions.set(found)
    client = Client(REMOTE_ADDR=OPERATOR)
    client.force_login(user)
    return client


def operator() -> Client:
    """Return one who may do to rules all that may be done without being a superuser."""
    return client_with("view_requestlog", "view_accessrule", "add_accessrule", "change_accessrule")


def superuser() -> Client:
    return client_with(superuser=True)


def change(client: Client, name: str, selection: str, **asked: Any) -> Any:
    """Return the payload of a mutation."""
    kind = f"{name[0].upper()}{name[1:]}Input!"
    query = f"mutation M($i: {kind}) {{ {name}(input: $i) {{ {selection} }} }}"
    return told(client, query, i=asked)[name]
