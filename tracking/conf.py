"""The TRACKING_* settings, read once into one frozen, typed object.

Every setting is one line of SETTINGS: its name, how its value is read, and the id under which
`manage.py check` reports a wrong one. docs/settings.md describes each; a test holds it to that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from tracking.engine import sensitive
from tracking.engine.address import AddressError, IPNetwork, parse_network
from tracking.engine.endpoints import Endpoint, EventType, read_endpoints, read_event_types
from tracking.engine.forwarding import Proxies
from tracking.engine.geoaccounts import GeoAccounts, read_geo_accounts
from tracking.engine.limits import LIMITS, Key, Limit, changed, for_all

MIB = 1024 * 1024
HOUR = timedelta(hours=1)
_MAILBOX = r"[^@\s,;<>\"]+@[^@\s,;<>\"]+"
_LIMIT_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What the settings say. Times are in seconds and sizes in bytes unless the name says else."""

    state_dir: Path
    trusted_proxies: tuple[IPNetwork, ...] = ()
    trusted_proxy_header: str = "X-Forwarded-For"
    trusted_unix_socket: bool = False
    ipv6_prefix: int = 64
    geoip_path: Path | None = None
    geoip_accounts: GeoAccounts = field(default_factory=GeoAccounts)
    background_thread: bool = True
    drain_interval: float = 0.25
    journal_segment_bytes: int = 16 * MIB
    journal_total_bytes: int = 1024 * MIB
    journal_unlink_delay: float = 60.0
    log_retention_days: int = 30
    log_query_string: bool = False
    redacted_names: tuple[str, ...] = ()
    query_time_budget: float = 2.0
    redis_url: str = ""
    limits: Mapping[str, Limit] = field(default_factory=lambda: _limits({}))
    graphql_paths: tuple[str, ...] = ("/graphql/",)
    enforcement: str = "enforce"
    unknown_country: str = "exempt"
    signatures: bool = True
    sensitive_paths: tuple[str, ...] = sensitive.PATHS
    sensitive_fields: tuple[str, ...] = sensitive.FIELDS
    detectors: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    block_durations: tuple[timedelta, ...] = (HOUR, 4 * HOUR, 24 * HOUR, 7 * 24 * HOUR)
    block_memory: timedelta = timedelta(days=30)
    alert_emails: tuple[str, ...] = ()
    alert_webhooks: tuple[Endpoint, ...] = ()
    alert_interval: timedelta = HOUR / 4
    alert_mute: frozenset[EventType] = frozenset()
    alert_networks: tuple[IPNetwork, ...] = ()

    @property
    def enforces(self) -> bool:
        """Whether anything is refused; else what would have been is only put on record."""
        return self.enforcement == "enforce"

    @property
    def keeps_query(self) -> bool:
        """Whether queries go into the journal: to be recorded, or only to be looked at."""
        return self.log_query_string or self.signatures

    @property
    def journal_dir(self) -> Path:
        return self.state_dir / "journal"

    @property
    def geoip(self) -> Path:
        return self.geoip_path or self.state_dir / "geoip"

    @cached_property
    def proxies(self) -> Proxies:
        return Proxies(self.trusted_proxies, self.trusted_unix_socket, self.trusted_proxy_header)

    @cached_property
    def proxy_header_key(self) -> str:
        """The trusted header's name as a key of `request.META`."""
        return "HTTP_" + self.trusted_proxy_header.upper().replace("-", "_")


def current() -> Configuration:
    """Return the configuration in force; it is read again only when tests change a setting.

    Raises ImproperlyConfigured with the first wrong setting's sentence.
    """
    global _current
    if _current is None:
        wrong = list(problems())
        if wrong:
            raise ImproperlyConfigured(wrong[0][1])
        _current = Configuration(**dict(_values()))  # type: ignore[arg-type]
    return _current


def problems() -> Iterable[tuple[str, str]]:
    """Yield (check id, sentence) for every TRACKING_* setting that cannot be used."""
    for check_id, name, read in SETTINGS:
        try:
            value = getattr(settings, name, None)
            if value is not None:
                read(value)
            elif name == "TRACKING_STATE_DIR":
                raise ValueError("name a folder of its own that only this application can write")
        except ValueError as error:
            yield check_id, f"{name}: {error}."


def _values() -> Iterable[tuple[str, object]]:
    for _, name, read in SETTINGS:
        value = getattr(settings, name, None)
        if value is not None:
            yield name.removeprefix("TRACKING_").lower(), read(value)


def _folder(value: object) -> Path:
    if not isinstance(value, str | os.PathLike) or not str(value):
        raise ValueError(f"{value!r} is not the path of a folder")
    return Path(value).absolute()


def _networks(value: object) -> tuple[IPNetwork, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(f"{value!r} is not a list of addresses and networks")
    try:
        return tuple(parse_network(str(item)) for item in value)
    except AddressError as error:
        raise ValueError(str(error)) from None


def _header(value: object) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.replace("-", "").isalnum():
        raise ValueError(f"{value!r} is not the name of one HTTP header")
    return value


def _texts(what: str, form: str = ".*") -> Callable[[object], tuple[str, ...]]:
    def read(value: object) -> tuple[str, ...]:
        is_list = isinstance(value, Iterable) and not isinstance(value, str)
        texts = tuple(map(str, value)) if is_list else ()  # type: ignore[call-overload]
        if not is_list or not all(re.fullmatch(form, text) for text in texts):
            raise ValueError(f"{value!r} is not a list of {what}")
        return texts

    return read


def _redis_url(value: object) -> str:
    """Return the address of a Redis; it may hold a password, which no message repeats."""
    if not value and isinstance(value, str):
        return value
    try:
        parts = urlsplit(str(value))
        if parts.scheme not in {"redis", "rediss", "unix"} or parts.port == 0:
            raise ValueError
    except ValueError:
        raise ValueError("write an address such as redis://host:6379/0") from None
    if find_spec("redis") is None:
        raise ValueError("install the package redis, or count in memory with an empty address")
    return str(value)


def _limits(value: object) -> dict[str, Limit]:
    """Return the table of limits with the changes of the settings made to it, by name."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is not a mapping of names to limits")
    limits = {limit.name: limit for limit in LIMITS}
    for name, change in value.items():
        if not isinstance(name, str) or not _LIMIT_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a limit, such as graphql or reports_2")
        unchanged = limits.get(name, Limit(name, Key.CALLER, for_all("off")))
        limits[name] = changed(unchanged, change)
    return limits


def _one_of(*words: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"{value!r} is not one of {', '.join(words)}")
        return value

    return read


def _settings_of_detectors(value: object) -> dict[str, dict[str, object]]:
    """Return changes to the detectors by name; tracking.checks looks at what stands in them."""
    if not isinstance(value, Mapping) or not all(
        isinstance(one, Mapping) for one in value.values()
    ):
        raise ValueError(f"{value!r} is not a mapping such as {{'flood': {{'requests': 200}}}}")
    return {str(name): dict(change) for name, change in value.items()}


def _durations(value: object) -> tuple[timedelta, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(f"{value!r} is not a list of times such as timedelta(hours=1)")
    times = tuple(_duration(each) for each in value)
    if not times:
        raise ValueError("name at least one time")
    return times


def _duration(value: object) -> timedelta:
    if not isinstance(value, timedelta) or not timedelta(minutes=1) <= value <= timedelta(days=366):
        raise ValueError(f"{value!r} is not a time from a minute to a year")
    return value


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither True nor False")
    return value


def _whole(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"{value!r} is not a whole number from {low} to {high}")
        return value

    return read


def _seconds(low: float, high: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not low <= value <= high
        ):
            raise ValueError(f"{value!r} is not a number of seconds from {low} to {high}")
        return float(value)

    return read


SETTINGS: tuple[tuple[str, str, Callable[[object], object]], ...] = (
    ("tracking.E001", "TRACKING_STATE_DIR", _folder),
    ("tracking.E002", "TRACKING_TRUSTED_PROXIES", _networks),
    ("tracking.E003", "TRACKING_TRUSTED_PROXY_HEADER", _header),
    ("tracking.E004", "TRACKING_IPV6_PREFIX", _whole(32, 128)),
    ("tracking.E005", "TRACKING_GEOIP_PATH", _folder),
    ("tracking.E006", "TRACKING_BACKGROUND_THREAD", _switch),
    ("tracking.E007", "TRACKING_DRAIN_INTERVAL", _seconds(0.01, 0.5)),
    ("tracking.E008", "TRACKING_JOURNAL_SEGMENT_BYTES", _whole(4096, 1024 * MIB)),
    ("tracking.E009", "TRACKING_JOURNAL_TOTAL_BYTES", _whole(8192, 1024 * 1024 * MIB)),
    ("tracking.E010", "TRACKING_JOURNAL_UNLINK_DELAY", _seconds(0, 86_400)),
    ("tracking.E011", "TRACKING_LOG_RETENTION_DAYS", _whole(0, 36_500)),
    ("tracking.E012", "TRACKING_LOG_QUERY_STRING", _switch),
    ("tracking.E013", "TRACKING_REDACTED_NAMES", _texts("parameter names")),
    ("tracking.E014", "TRACKING_QUERY_TIME_BUDGET", _seconds(0.05, 300)),
    ("tracking.E015", "TRACKING_TRUSTED_UNIX_SOCKET", _switch),
    ("tracking.E016", "TRACKING_REDIS_URL", _redis_url),
    ("tracking.E017", "TRACKING_LIMITS", _limits),
    ("tracking.E018", "TRACKING_GRAPHQL_PATHS", _texts("paths such as '/graphql/'")),
    ("tracking.E019", "TRACKING_ENFORCEMENT", _one_of("enforce", "observe")),
    ("tracking.E023", "TRACKING_UNKNOWN_COUNTRY", _one_of("exempt", "any")),
    ("tracking.E024", "TRACKING_SIGNATURES", _switch),
    ("tracking.E025", "TRACKING_SENSITIVE_PATHS", _texts("paths such as '/admin'")),
    ("tracking.E026", "TRACKING_SENSITIVE_FIELDS", _texts("names of GraphQL fields")),
    ("tracking.E027", "TRACKING_DETECTORS", _settings_of_detectors),
    ("tracking.E028", "TRACKING_BLOCK_DURATIONS", _durations),
    ("tracking.E029", "TRACKING_BLOCK_MEMORY", _duration),
    ("tracking.E030", "TRACKING_ALERT_EMAILS", _texts("e-mail addresses", _MAILBOX)),
    ("tracking.E031", "TRACKING_ALERT_WEBHOOKS", read_endpoints),
    ("tracking.E032", "TRACKING_ALERT_INTERVAL", _duration),
    ("tracking.E033", "TRACKING_ALERT_MUTE", read_event_types),
    ("tracking.E034", "TRACKING_ALERT_NETWORKS", _networks),
    ("tracking.E036", "TRACKING_GEOIP_ACCOUNTS", read_geo_accounts),
)

_current: Configuration | None = None


def _forget(*, setting: str, **_: object) -> None:
    global _current
    if setting.startswith("TRACKING_"):
        _current = None


setting_changed.connect(_forget)
