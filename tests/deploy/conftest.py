"""One service and one nginx in front of it, for all tests of this folder."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from tests.deploy.site import Site, find_nginx, make_certificate, nginx, service


@pytest.fixture(scope="session")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Path:
    """The folder of a service whose database is as `migrate` makes it."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "state").mkdir(mode=0o700)
    with (
        django_db_blocker.unblock(),
        closing(sqlite3.connect(folder / "state" / "db.sqlite3")) as ours,
    ):
        connection.ensure_connection()
        connection.connection.backup(ours)  # quicker than to migrate once more
    make_certificate(folder)
    static = folder / "static" / "admin"
    static.mkdir(parents=True)
    (static / "base.css").write_text("body { color: black }")
    challenge = folder / "acme" / ".well-known" / "acme-challenge"
    challenge.mkdir(parents=True)
    (challenge / "token").write_text("proof")
    return folder


@pytest.fixture(scope="session")
def site(folder: Path) -> Iterator[Site]:
    find_nginx()
    with service(folder), nginx(folder) as site:
        yield site


@pytest.fixture(scope="session")
def behind_a_proxy(folder: Path, site: Site) -> Iterator[Site]:
    """The same service, behind an nginx that stands behind a proxy at 127.0.0.7."""
    with nginx(folder, proxy="127.0.0.7") as other:
        yield other
