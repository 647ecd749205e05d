"""How fast records reach the database: journal lines drained, log lines ingested, with places.

    python -m benchmarks.draining [--records 60000] [--log-mb 50]

The database is SQLite in a temporary folder unless DATABASE_URL names another (it is then filled
with the benchmark's rows: give it an empty one). Places come from a generated database of 20,000
networks; 5,000 clients visit. Wall-clock figures: the drainer's limit is one core and the disk.
"""

from __future__ import annotations

import argparse
import io
import ipaddress
import os
import random
import resource
import time
from pathlib import Path

from mmdb_writer import MMDBWriter
from netaddr import IPSet

from benchmarks.environment import prepare
from benchmarks.tables import goal, show

FOLDER = prepare(DATABASE_URL=os.environ.get("DATABASE_URL", ""))

from django.db import connection

from tracking import drainer, geo, journal
from tracking.engine.address import parse_address
from tracking.engine.visit import Record
from tracking.ingest import Ingest
from tracking.models import RequestLog

CLIENTS = 5000
GOAL = 15_000  # rows a second
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def clients() -> list[str]:
    """Return addresses spread over the networks of the places database."""
    chosen = random.Random(1).sample(range(20_000), CLIENTS)
    return [str(ipaddress.ip_address((20 << 24) + (number << 8) + 7)) for number in chosen]


def make_places(path: Path) -> None:
    """Write a city database in MaxMind's layout: 20,000 networks, 2,000 cities."""
    writer = MMDBWriter(ip_version=4, database_type="GeoLite2-City", languages=["en"])
    for number in range(20_000):
        network = ipaddress.ip_network(((20 << 24) + (number << 8), 24))
        city = {"names": {"en": f"City {number % 2000}"}}
        writer.insert_network(IPSet([str(network)]), {"city": city, "country": {"iso_code": "KE"}})
    path.parent.mkdir(parents=True, exist_ok=True)
    writer.to_db_file(str(path))


def drained(records: int, addresses: list[str]) -> float:
    """Return rows per second from journal to database."""
    own = journal.mine()
    for number in range(records):
        own.append(record(number, addresses[number * 7919 % CLIENTS]))
    journal.close()
    before = time.perf_counter()
    rows = drainer.drain()
    assert rows == records, rows
    return rows / (time.perf_counter() - before)


def record(number: int, address: str) -> Record:
    return Record(
        f"2026-11-22 10:{number // 60 % 60:02}:{number % 60:02}.{number % 1_000_000:06}",
        address, "GET", "example.org", f"/articles/{number % 3000}/", "", 200, 1.234, "", "", AGENT,
        "https://example.org/articles/", f"{number:032x}", "", "sqli" if number % 50 == 0 else "",
        "ALLOWED", "live",
    )  # fmt: skip


def ingested(megabytes: int, addresses: list[str]) -> tuple[float, int]:
    """Return lines per second from an access log to the database, and the lines."""
    log, lines = FOLDER / "access.log", 0
    with log.open("w") as file:
        while file.tell() < megabytes * 1_000_000:
            for _ in range(1000):
                lines += 1
                file.write(
                    f"{addresses[lines * 7919 % CLIENTS]} - - [22/Nov/2026:10:{lines // 60 % 60:02}"
                    f':{lines % 60:02} +0000] "GET /articles/{lines % 3000}/ HTTP/1.1" 200 5123'
                    f' "https://example.org/articles/" "{AGENT}"\n'
                )
    before = time.perf_counter()
    with io.FileIO(log) as stream:
        summary = Ingest("benchmark", on_bad=print).run(stream)
    assert summary.rows == lines, summary
    return lines / (time.perf_counter() - before), lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=60_000)
    parser.add_argument("--log-mb", type=int, default=50)
    options = parser.parse_args()
    make_places(FOLDER / "geoip" / "city.mmdb")
    addresses = clients()
    assert geo.locate(parse_address(addresses[0])).country == "KE"
    drained_rate = drained(options.records, addresses)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rate, lines = ingested(options.log_mb, addresses)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows: list[tuple[str | int | float, ...]] = [
        (connection.vendor, "from the journal", options.records, drained_rate, base / 1024),
        (connection.vendor, "from an access log", lines, rate, peak / 1024),
    ]
    show("rates", ("database", "what", "rows", "rows/s", "memory at most, MiB"), rows)
    indexes = len(RequestLog._meta.indexes) + 1
    print(f"{RequestLog.objects.count():,} rows in a table with {indexes} indexes")
    goal(f"rows drained in a second, {connection.vendor}", drained_rate, GOAL, at_least=True)


if __name__ == "__main__":
    main()
