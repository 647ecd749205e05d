"""Whose data somebody asks for: those of an address, of a network, or of a user."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q

from tracking import conf, ipstorage
from tracking.engine.address import IPNetwork, network_of
from tracking.engine.limits import key_of_account, key_of_user
from tracking.engine.pseudonym import HASHED, PSEUDONYMS, is_pseudonym
from tracking.engine.redaction import ERASED, without_addresses
from tracking.engine.targets import target_of_network
from tracking.fields import bounds
from tracking.models import LoginAttempt, RequestLog, SuspiciousIP

LONGEST_NAME = 255
MOST_TRIED = 256  # addresses of a network whose pseudonyms are looked for


class SubjectError(ValueError):
    """This names nobody; the message says what to write."""


@dataclass(frozen=True)
class DataSubject:
    """A network (or an address as one), or a user: `name` as recorded, `pk` of an account."""

    network: IPNetwork | None = None
    name: str = ""
    pk: str = ""

    def __str__(self) -> str:
        """The name, as one writes it to ask for it."""
        return self.name if self.network is None else target_of_network(self.network).text

    @property
    def kind(self) -> str:
        """What it is, without saying who."""
        return "a user" if self.network is None else "an address or network"

    @cached_property
    def networks(self) -> tuple[IPNetwork, ...]:
        """The network, and what the record may have in its place: pseudonyms, old ones too."""
        if self.network is None:
            return ()
        return (self.network, *(_pseudonyms(self.network) if self._are_there_any else ()))

    @cached_property
    def _are_there_any(self) -> bool:
        """Whether there are pseudonyms on record: to look for those of a network takes long."""
        if conf.current().ip_storage == HASHED:
            return True
        named = bounds(PSEUDONYMS)
        return (
            RequestLog.objects.filter(address__range=named).exists()
            or LoginAttempt.objects.filter(address__range=named).exists()
            or SuspiciousIP.objects.filter(first__range=named).exists()
        )

    @property
    def is_complete(self) -> bool:
        """Whether rows under a pseudonym are found; those of a wide network are not."""
        network = self.network
        is_narrow = network is None or network.num_addresses <= MOST_TRIED or _is_client(network)
        return is_narrow or not self._are_there_any

    def at(self, column: str = "address") -> Q:
        """Return the condition on rows by their address; of a user, none fits."""
        if not self.networks:
            return Q(pk__in=[])
        wanted = Q()
        for network in self.networks:
            wanted |= Q((f"{column}__range", bounds(network)))
        return wanted

    def about(self) -> Q:
        """Return the condition on rows about a target (`first` and `prefix`)."""
        if not self.networks:
            return Q(pk__in=[])
        wanted = Q()
        for network in self.networks:
            wanted |= Q(first__range=bounds(network), prefix__gte=network.prefixlen)
        return wanted

    def signed_in(self) -> Q:
        """Return the condition on requests that the user made.

        A name without a number stands in other servers' logs; one with another number was that of
        another account.
        """
        if not self.name:
            return Q(pk__in=[])
        if not self.pk:
            return Q(username=self.name)
        return Q(user_pk=self.pk) | Q(username=self.name, user_pk="")

    def redacted(self, text: str) -> str:
        """Return a text without the addresses; one that names the user and nobody else, as "user
        eve" or by a key of limits, without the name. A bare word need not be his name."""
        if self.network is not None:
            return without_addresses(text, self.networks)
        return self._names.get(text, text)

    def redacted_name(self, text: str) -> str:
        """Do the same to a text that is the name of a user, if it is anything about somebody."""
        if self.network is not None:
            return self.redacted(text)
        return ERASED if text == self.name else text

    @cached_property
    def _names(self) -> dict[str, str]:
        names = {f"{word}{self.name}": f"{word}{ERASED}" for word in ("user ", "by ")}
        keys = [key_of_account(self.name), *([key_of_user(self.pk)] if self.pk else [])]
        names |= {key: key.partition(":")[0] + f":{ERASED}" for key in keys}
        for limit in conf.current().limits:
            names |= {f"{limit} {key}": f"{limit} {names[key]}" for key in keys}
        return names


def user(name: str) -> DataSubject:
    """Return a user by his name, in any spelling if there is such an account; there need be none.

    Who has another name by now is found by the number of his account. Raises SubjectError.
    """
    if not name or not name.isprintable() or len(name) > LONGEST_NAME:
        raise SubjectError(f"Write the name of a user, of at most {LONGEST_NAME} characters.")
    users: Any = get_user_model()
    try:
        found = users._default_manager.get_by_natural_key(name)  # noqa: SLF001
    except users.DoesNotExist:
        return DataSubject(name=name)
    return DataSubject(name=found.get_username(), pk=str(found.pk))


def _pseudonyms(network: IPNetwork) -> Iterator[IPNetwork]:
    if is_pseudonym(network):
        return
    prefix = conf.current().ipv6_prefix
    if network.version == 6 and _is_client(network):
        for name in ipstorage.pseudonyms(network[0]):
            yield network_of(name, prefix)
    elif network.num_addresses <= MOST_TRIED:
        for address in network:
            for name in ipstorage.pseudonyms(address):
                # A whole IPv4 address is one client, and nobody else has the network of its name.
                yield network_of(name, prefix if address.version == 4 else 128)


def _is_client(network: IPNetwork) -> bool:
    """Tell whether a network is what counts as one client, so that its pseudonym is known."""
    return network.prefixlen == (32 if network.version == 4 else conf.current().ipv6_prefix)
