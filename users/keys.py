"""The keys that sign access tokens: the first signs, the others verify what they signed before.

They come from the setting JWT_SIGNING_KEYS, for several nodes; or from the file JWT_KEYS_FILE,
which `manage.py rotate_signing_key` renews while everything runs.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

SHORTEST_SECRET = 32  # characters
GRACE_SECONDS = 3600  # a retired key goes on verifying: longer than any access token lives


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A secret and the id by which tokens name it; retired at a Unix time, or 0 for not yet."""

    kid: str
    secret: str
    retired_at: int = 0

    def private(self, algorithm: str) -> Any:
        """Return the key in the form that signs with this algorithm (HS256 or EdDSA)."""
        if algorithm == "EdDSA":
            seed = hashlib.sha256(b"Ed25519 " + self.secret.encode()).digest()
            return Ed25519PrivateKey.from_private_bytes(seed)
        return self.secret.encode()

    def public(self, algorithm: str) -> Any:
        """Return the key in the form that verifies."""
        private = self.private(algorithm)
        return private.public_key() if algorithm == "EdDSA" else private


def signing_keys() -> tuple[SigningKey, ...]:
    """Return the keys in force, the one that signs first."""
    if settings.JWT_SIGNING_KEYS:
        return parse_keys(tuple(settings.JWT_SIGNING_KEYS))
    path = Path(settings.JWT_KEYS_FILE)
    now = time.time()
    keys = _read(path, path.stat().st_mtime_ns)
    return tuple(key for key in keys if not key.retired_at or now < key.retired_at + GRACE_SECONDS)


@lru_cache(maxsize=4)
def parse_keys(texts: tuple[str, ...]) -> tuple[SigningKey, ...]:
    """Return keys written as `id:secret`. Raises ValueError with a sentence."""
    keys = []
    for text in texts:
        kid, colon, secret = text.partition(":")
        if not (colon and kid.isalnum() and kid.isascii()):
            raise ValueError("write each key as id:secret, the id of letters and digits")
        if len(secret) < SHORTEST_SECRET:
            raise ValueError(f"the secret of key {kid} has less than {SHORTEST_SECRET} characters")
        keys.append(SigningKey(kid, secret))
    if len({key.kid for key in keys}) < len(keys):
        raise ValueError("two keys have the same id")
    return tuple(keys)


def make_file(path: Path) -> None:
    """Write the first key, unless there is one already; of two processes one makes it."""
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:
            file.write(_line(new_key()))
            file.flush()
            try:
                os.link(file.name, path)
            except FileExistsError:
                return


def rotate_file(path: Path, *, keep_old: bool = True) -> SigningKey:
    """Put a new key first and retire the others; processes notice at their next token.

    Without `keep_old` what the others signed ends at once. Raises OSError, ValueError when the
    file cannot be read or written.
    """
    now = int(time.time())
    before = path.stat()
    new = new_key()
    old = [
        SigningKey(key.kid, key.secret, key.retired_at or now)
        for key in _read(path, before.st_mtime_ns)
        if keep_old and (not key.retired_at or now < key.retired_at + GRACE_SECONDS)
    ]
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write("".join(map(_line, [new, *old])))
        file.flush()
        os.fsync(file.fileno())
        os.fchown(file.fileno(), before.st_uid, before.st_gid)  # root may rotate for the service
    Path(file.name).replace(path)
    return new


@lru_cache(maxsize=4)
def _read(path: Path, _changed: int) -> tuple[SigningKey, ...]:
    keys = []
    for line in path.read_text("ascii").splitlines():
        kid, secret, retired_at = line.split(":")
        keys.append(SigningKey(kid, secret, int(retired_at)))
    return tuple(keys)


def new_key() -> SigningKey:
    """Return a key that nobody has seen yet."""
    return SigningKey(secrets.token_hex(4), secrets.token_hex(32))


def _line(key: SigningKey) -> str:
    return f"{key.kid}:{key.secret}:{key.retired_at}\n"
