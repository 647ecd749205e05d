"""Access tokens (signed, short-lived) and refresh tokens (random, hashed at rest, used once).

The only module that knows django-graphql-jwt. The package signs and reads through handlers of ours:
its own accept expired tokens, name the user by a name that can change hands, and require no claim.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from users.keys import signing_keys
from users.models import RefreshToken, Session, User

PACKAGES = (
    "The packages that are installed do not fit together: django-graphql-jwt 0.4 needs graphene"
    " 3.4.3 or later, and a newer Strawberry makes pip choose an old graphene that cannot be"
    " imported. Run pip install -r requirements.txt."
)
try:
    from graphql_jwt.exceptions import JSONWebTokenError, JSONWebTokenExpired
    from graphql_jwt.shortcuts import get_token
    from graphql_jwt.utils import get_payload
except ImportError as error:
    raise ImproperlyConfigured(PACKAGES) from error

ISSUER = "alx-backend-security"
AUDIENCE = "alx-backend-security/api"
ACCESS = "access"
REQUIRED = ("sub", "sid", "sv", "typ", "iss", "aud", "jti", "iat", "exp")
LONGEST_TOKEN = 4096  # characters; ours have some 500
LEEWAY = 5  # seconds that the clocks of two nodes may differ


class TokenError(Exception):
    """The token is not one of ours, or its session is over."""


class ExpiredError(TokenError):
    """The token was good and is too old; a refresh brings a new one."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed token and when it ends."""

    text: str
    expires_at: datetime


def issue_access(session: Session) -> AccessToken:
    """Return a token for a session; it names the account by key and dies with its password."""
    now = timezone.now()
    expires_at = min(now + settings.JWT_ACCESS_TTL, session.expires_at)
    text = get_token(
        session.user,
        sub=str(session.user_id),
        sid=session.pk.hex,
        sv=session.version,
        typ=ACCESS,
        iss=ISSUER,
        aud=AUDIENCE,
        jti=uuid.uuid4().hex,
        iat=int(now.timestamp()),
        exp=int(expires_at.timestamp()),
    )
    return AccessToken(text, expires_at.replace(microsecond=0))


def read_access(token: str) -> Session:
    """Return the live session of a token, with its user, in one query.

    Raises ExpiredError for one that was good, TokenError for everything else.
    """
    if not token.isascii() or len(token) > LONGEST_TOKEN:
        raise TokenError("not a token")
    try:
        claims = get_payload(token)
        session_id = uuid.UUID(claims["sid"])
    except JSONWebTokenExpired:
        raise ExpiredError("expired") from None
    except (JSONWebTokenError, ValueError, TypeError, AttributeError):
        raise TokenError("not a token of ours") from None
    session = Session.objects.live().select_related("user").filter(pk=session_id).first()
    if session is None or claims["sub"] != str(session.user_id):
        raise TokenError("the session is over")
    if claims["sv"] != session.version or not is_bound(session):
        raise TokenError("the password was changed")
    return session


def is_bound(session: Session) -> bool:
    """Tell whether the account still has the password that it had when the session began."""
    return constant_time_compare(session.version, password_version(session.user))


def password_version(user: User) -> str:
    """Return what changes with the password, through whatever door it is changed."""
    return salted_hmac("users.tokens", user.get_session_auth_hash()).hexdigest()[:16]


def issue_refresh(session: Session) -> tuple[str, datetime]:
    """Return a new refresh token for a session, and when it ends."""
    text = secrets.token_urlsafe(32)
    expires_at = min(timezone.now() + settings.JWT_REFRESH_TTL, session.expires_at)
    RefreshToken.objects.create(session=session, digest=digest(text), expires_at=expires_at)
    return text, expires_at


def digest(text: str) -> str:
    """Return what is stored of a refresh token; 256 random bits need no salt."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def no_payload(_user: User, _context: object = None) -> dict[str, Any]:
    """Return no claims: `issue_access` says them (the package's JWT_PAYLOAD_HANDLER)."""
    return {}


def encode(claims: dict[str, Any], _context: object = None) -> str:
    """Sign claims with the newest key (the package's JWT_ENCODE_HANDLER)."""
    key = signing_keys()[0]
    return jwt.encode(
        claims, key.private(settings.JWT_ALGORITHM), settings.JWT_ALGORITHM, {"kid": key.kid}
    )


def decode(token: str, _context: object = None) -> dict[str, Any]:
    """Return the claims of a token, all of them required (the package's JWT_DECODE_HANDLER).

    The algorithm is the configured one, whatever the token says of itself. Raises
    jwt.InvalidTokenError.
    """
    kid = jwt.get_unverified_header(token).get("kid")
    key = next((key for key in signing_keys() if key.kid == kid), None)
    if key is None:
        raise jwt.InvalidTokenError("no key of ours has this id")
    claims: dict[str, Any] = jwt.decode(
        token,
        key.public(settings.JWT_ALGORITHM),
        [settings.JWT_ALGORITHM],
        options={"require": list(REQUIRED)},
        audience=AUDIENCE,
        issuer=ISSUER,
        leeway=LEEWAY,
    )
    if claims["typ"] != ACCESS:
        raise jwt.InvalidTokenError("this is not an access token")
    return claims
