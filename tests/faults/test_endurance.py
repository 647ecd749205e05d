"""A minute of as much as 64 connections ask, with a long log and many rules.

FAULTS_ROWS=100000 makes the log shorter.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.faults.conftest import Survive, running
from tests.faults.deployment import Deployment
from tests.faults.load import Fault
from tests.faults.servers import OWNER, PostgreSQL
from tests.redis_server import Server as Redis

ROWS = int(os.environ.get("FAULTS_ROWS", "5000000"))
SECONDS = 60
KINDS = "page=30,blocked=10,graphql=12,limited=4,database=8"

INDEXES = """
    SELECT indexname, replace(indexdef, ' ON ONLY ', ' ON ') FROM pg_indexes
    WHERE tablename = 'tracking_requestlog' AND indexname NOT LIKE '%_pkey'
"""
FILL = """
    INSERT INTO tracking_requestlog (at, address, counting_key, method, host, path, normal_path,
      query, status, duration_ms, user_pk, username, user_agent, referer, request_id, operations,
      country, city, asn, verdict, "limit", tags, source, recorded_at)
    SELECT moment, address, host(address), 'GET', 'example.org', '/articles/' || i % 5000,
      '/articles/' || i % 5000, '', 200, 12.5, '', '', 'Mozilla/5.0 (X11; Linux x86_64)', '',
      md5(i::text), '', 'DE', 'Somewhere', 64500, 'ALLOWED', '', '', 'live', moment
    FROM generate_series(1, {rows}) AS i,
      LATERAL (SELECT now() - ({rows} - i) * interval '0.5 second' AS moment,
                      '10.0.0.0'::inet + i::bigint * 7919 % 20000 AS address) AS one
"""

RULES = """
    INSERT INTO tracking_accessrule (kind, target, first, prefix, action, observed, path, methods,
      reason, origin, created_by, created_at, version, hits)
    SELECT 'NETWORK', network, network::inet, 24, 'BLOCK', false, '', '', '', 'IMPORT', 'tests',
      now(), 0, 0
    FROM generate_series(0, 99999) AS i,
      LATERAL (SELECT host('20.0.0.0'::inet + i * 256) || '/24' AS network) AS one
"""


def fill(deployment: Deployment) -> None:
    """Put rules and rows on record; indexes made afterwards take a quarter of the time."""
    assert deployment.postgresql is not None
    with deployment.postgresql.connect(deployment.database, OWNER) as connection:
        connection.execute(RULES)
        indexes = connection.execute(INDEXES).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}".encode())
        connection.execute(FILL.format(rows=ROWS).encode())
        for _, definition in indexes:
            connection.execute(str(definition).encode())
        connection.execute("VACUUM ANALYZE tracking_requestlog")


def test_a_minute_of_64_connections(
    tmp_path: Path, postgresql: PostgreSQL, redis: Redis, survive: Survive
) -> None:
    postgresql.execute(f"CREATE DATABASE endurance OWNER {OWNER}")
    deployment = Deployment(tmp_path, 2, postgresql, "endurance", redis)
    deployment.command("setup")
    fill(deployment)
    with running(deployment):
        nothing = Fault(lambda deployment: None, SECONDS, is_over=lambda deployment: True)
        outcome = survive("60 s of 64 connections", deployment, nothing, kinds=KINDS, pause=0.0)
        assert outcome.failures == 0
        assert outcome.needed_database == 0
    postgresql.execute("DROP DATABASE endurance WITH (FORCE)")
