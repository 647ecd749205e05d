"""The TRACKING_* settings, read once into one frozen, typed object.

Every setting is one line of SETTINGS: its name, how its value is read, and the id under which
`manage.py check` reports a wrong one. docs/settings.md describes each; a test holds it to that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from tracking.engine import sensitive
from tracking.engine.address import IPNetwork
from tracking.engine.endpoints import Endpoint, EventType, read_endpoints, read_event_types
from tracking.engine.forwarding import Proxies
from tracking.engine.geoaccounts import GeoAccounts, read_geo_accounts
from tracking.engine.limits import Limit
from tracking.engine.pseudonym import FULL, HASHED, TRUNCATED
from tracking.readers import (
    MAILBOX,
    MIB,
    detector_changes,
    duration,
    durations,
    folder,
    header,
    limit_table,
    networks,
    one_of,
    redis_url,
    seconds,
    switch,
    texts,
    whole,
)

HOUR = timedelta(hours=1)


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
    log_max_rows: int = 0
    log_query_string: bool = False
    ip_storage: str = FULL
    anonymize_days: int = 0
    redacted_names: tuple[str, ...] = ()
    query_time_budget: float = 2.0
    cache_ttl_statistics: float = 10.0
    cache_ttl_places: float = 3600.0
    redis_url: str = ""
    limits: Mapping[str, Limit] = field(default_factory=lambda: limit_table({}))
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


SETTINGS: tuple[tuple[str, str, Callable[[object], object]], ...] = (
    ("tracking.E001", "TRACKING_STATE_DIR", folder),
    ("tracking.E002", "TRACKING_TRUSTED_PROXIES", networks),
    ("tracking.E003", "TRACKING_TRUSTED_PROXY_HEADER", header),
    ("tracking.E004", "TRACKING_IPV6_PREFIX", whole(32, 128)),
    ("tracking.E005", "TRACKING_GEOIP_PATH", folder),
    ("tracking.E006", "TRACKING_BACKGROUND_THREAD", switch),
    ("tracking.E007", "TRACKING_DRAIN_INTERVAL", seconds(0.01, 0.5)),
    ("tracking.E008", "TRACKING_JOURNAL_SEGMENT_BYTES", whole(4096, 1024 * MIB)),
    ("tracking.E009", "TRACKING_JOURNAL_TOTAL_BYTES", whole(8192, 1024 * 1024 * MIB)),
    ("tracking.E010", "TRACKING_JOURNAL_UNLINK_DELAY", seconds(0, 86_400)),
    ("tracking.E011", "TRACKING_LOG_RETENTION_DAYS", whole(0, 36_500)),
    ("tracking.E012", "TRACKING_LOG_QUERY_STRING", switch),
    ("tracking.E013", "TRACKING_REDACTED_NAMES", texts("parameter names")),
    ("tracking.E014", "TRACKING_QUERY_TIME_BUDGET", seconds(0.05, 300)),
    ("tracking.E015", "TRACKING_TRUSTED_UNIX_SOCKET", switch),
    ("tracking.E016", "TRACKING_REDIS_URL", redis_url),
    ("tracking.E017", "TRACKING_LIMITS", limit_table),
    ("tracking.E018", "TRACKING_GRAPHQL_PATHS", texts("paths such as '/graphql/'")),
    ("tracking.E019", "TRACKING_ENFORCEMENT", one_of("enforce", "observe")),
    ("tracking.E023", "TRACKING_UNKNOWN_COUNTRY", one_of("exempt", "any")),
    ("tracking.E024", "TRACKING_SIGNATURES", switch),
    ("tracking.E025", "TRACKING_SENSITIVE_PATHS", texts("paths such as '/admin'")),
    ("tracking.E026", "TRACKING_SENSITIVE_FIELDS", texts("names of GraphQL fields")),
    ("tracking.E027", "TRACKING_DETECTORS", detector_changes),
    ("tracking.E028", "TRACKING_BLOCK_DURATIONS", durations),
    ("tracking.E029", "TRACKING_BLOCK_MEMORY", duration),
    ("tracking.E030", "TRACKING_ALERT_EMAILS", texts("e-mail addresses", MAILBOX)),
    ("tracking.E031", "TRACKING_ALERT_WEBHOOKS", read_endpoints),
    ("tracking.E032", "TRACKING_ALERT_INTERVAL", duration),
    ("tracking.E033", "TRACKING_ALERT_MUTE", read_event_types),
    ("tracking.E034", "TRACKING_ALERT_NETWORKS", networks),
    ("tracking.E036", "TRACKING_GEOIP_ACCOUNTS", read_geo_accounts),
    ("tracking.E037", "TRACKING_CACHE_TTL_STATISTICS", seconds(0, 3600)),
    ("tracking.E038", "TRACKING_CACHE_TTL_PLACES", seconds(0, 86_400)),
    ("tracking.E039", "TRACKING_LOG_MAX_ROWS", whole(0, 1_000_000_000_000)),
    ("tracking.E040", "TRACKING_IP_STORAGE", one_of(FULL, TRUNCATED, HASHED)),
    ("tracking.E041", "TRACKING_ANONYMIZE_DAYS", whole(0, 36_500)),
)

_current: Configuration | None = None


def _forget(*, setting: str, **_: object) -> None:
    global _current
    if setting.startswith("TRACKING_"):
        _current = None


setting_changed.connect(_forget)
