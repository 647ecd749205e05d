"""Signed links to an export: what a browser can open that has no token to send.

A link names its user, his filter and a format, ends after a few minutes or with his password, and
can be read but not altered. Whoever holds it can use it, so rights are asked for when it is opened.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core import signing
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from strawberry.schema.config import StrawberryConfig
from strawberry.types.base import get_object_definition

from schema.filters import RequestLogFilter
from schema.keyset import stated
from schema.scalars import written_time
from tracking.export import Format
from users.models import User
from users.tokens import password_version

LIFETIME = timedelta(minutes=5)
LONGEST = 6_000  # characters; web servers take 8,190 bytes for method and URL together

_SALT = "schema.links"
_NAMES = StrawberryConfig().name_converter


class LinkError(Exception):
    """The link is none of ours, or its user cannot use it any more."""


class OldLinkError(LinkError):
    """The link was good, and is too old."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a good link asks for: its filter as a caller of GraphQL would write it in JSON."""

    user: User
    filter: dict[str, Any]
    format: Format


def sign(user: User, asked: RequestLogFilter | None, form: Format) -> tuple[str, datetime]:
    """Return the token of a link, and when it ends."""
    facts = [user.pk, password_version(user), form.value, written(asked) if asked else {}]
    return signing.dumps(facts, salt=_SALT, compress=True), timezone.now() + LIFETIME


def read(token: str) -> Link:
    """Return what a link asks for. Raises LinkError; whether the user may is for the caller."""
    if len(token) > LONGEST:
        raise LinkError
    try:
        pk, version, form, asked = signing.loads(token, salt=_SALT, max_age=LIFETIME)
    except signing.SignatureExpired:
        raise OldLinkError from None
    except signing.BadSignature:
        raise LinkError from None
    user = User.objects.filter(pk=pk).first()
    if user is None or not constant_time_compare(version, password_version(user)):
        raise LinkError
    return Link(user, asked, Format(form))


def written(value: Any) -> Any:
    """Return an input as a caller would write it in JSON, without what asks nothing."""
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, datetime):
        return written_time(value)
    if isinstance(value, list):
        return [written(each) for each in value]
    definition = get_object_definition(value)
    if definition is None:
        return value
    members = ((each, getattr(value, each.python_name)) for each in definition.fields)
    return {
        _NAMES.get_graphql_name(each): written(member)
        for each, member in members
        if stated(member) is not None
    }
