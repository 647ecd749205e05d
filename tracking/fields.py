"""Columns that read and sort the same on SQLite and PostgreSQL."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from tracking.engine.address import IPAddress, IPNetwork, parse_address


def sortable(address: str) -> str:
    """Return hexadecimal text that sorts like the address: IPv4 before IPv6, then by number."""
    if ":" in address:
        return "6" + socket.inet_pton(socket.AF_INET6, address).hex()
    return "4" + socket.inet_pton(socket.AF_INET, address).hex()


class AddressField(models.Field):  # type: ignore[type-arg]
    """A canonical address: `inet` on PostgreSQL, sortable text elsewhere, `str` in Python.

    Either way a network is one range of an index: `filter(address__range=bounds(network))`.
    """

    description = "IP address"

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "inet" if connection.vendor == "postgresql" else "varchar(33)"

    def to_python(self, value: Any) -> str | None:
        return None if value is None else str(parse_address(str(value)))

    def get_prep_value(self, value: Any) -> str | None:
        return self.to_python(super().get_prep_value(value))

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> Any:
        text = value if prepared else self.get_prep_value(value)
        if text is None or connection.vendor == "postgresql":
            return connection.ops.adapt_ipaddressfield_value(text)
        return sortable(text)

    def from_db_value(
        self, value: str | None, expression: object, connection: BaseDatabaseWrapper
    ) -> str | None:
        if value is None or connection.vendor == "postgresql":
            return value
        return str(ipaddress.ip_address(bytes.fromhex(value[1:])))


def bounds(network: IPNetwork) -> tuple[IPAddress, IPAddress]:
    """Return the first and last address of a network, for a range lookup."""
    return network[0], network[-1]


class WordsField(models.TextField):  # type: ignore[type-arg]
    """A few short words without spaces (tags, GraphQL names), stored as one text.

    Each has a space on either side, so that one whole word is found as a part of the text.
    """

    def to_python(self, value: Any) -> tuple[str, ...]:
        if isinstance(value, str):
            return tuple(value.split())
        return tuple(value or ())

    def get_prep_value(self, value: str | Iterable[str] | None) -> str:
        return joined(self.to_python(value))

    def from_db_value(
        self, value: str, expression: object, connection: BaseDatabaseWrapper
    ) -> tuple[str, ...]:
        return self.to_python(value)


def joined(words: Iterable[str]) -> str:
    """Return the stored form of words: a space on either side of each, nothing for none."""
    text = " ".join(words)
    return f" {text} " if text else ""
