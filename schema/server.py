"""What anybody may know about this service."""

from __future__ import annotations

import tomllib
from datetime import datetime
from functools import cache

import strawberry
from django.conf import settings
from django.utils import timezone

from schema.keyset import LARGEST_PAGE
from tracking import conf


@strawberry.type(description="What anybody may know about this service.")
class ServerInfo:
    name: str = strawberry.field(description="What runs here.")
    version: str = strawberry.field(description="Its release.")
    time: datetime = strawberry.field(description="What this server's clock says now.")
    retention_days: int | None = strawberry.field(
        description="For how many days requests are kept on record; null for no end."
    )
    query_string_recorded: bool = strawberry.field(
        description="Whether the record keeps query strings, with secrets redacted."
    )
    largest_page: int = strawberry.field(
        description="The most that first and last of a list may ask for."
    )


@strawberry.type
class ServerQueries:
    @strawberry.field(description="What anybody may know about this service.")
    def server_info(self) -> ServerInfo | None:
        configuration = conf.current()
        name, version = release()
        return ServerInfo(
            name=name,
            version=version,
            time=timezone.now(),
            retention_days=configuration.log_retention_days or None,
            query_string_recorded=configuration.log_query_string,
            largest_page=LARGEST_PAGE,
        )


@cache
def release() -> tuple[str, str]:
    """Return the name and version that pyproject.toml states: the service is not installed."""
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())["project"]
    return project["name"], project["version"]
