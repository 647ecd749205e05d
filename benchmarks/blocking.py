"""What blocking costs: one decision, the list behind it, and whole requests beside other packages.

Decisions are measured on lists of four sizes (60 % IPv4 addresses, 20 % IPv4 networks, 20 % IPv6
networks), half of the clients on the list. Whole requests run over 100,000 rules in one process, in
interleaved rounds; the figures are CPU time of the thread that asks. The peers are left out where
they are not installed (`make bench` does it):

    pip install --target var/peers --requirement requirements-peers.txt
    python -m benchmarks.blocking [--rounds 15] [--requests 400] [--largest 1000000]
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import ipaddress
import logging
import math
import random
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.utils import timezone

from benchmarks.limits import FINISH, OFTEN, limits
from benchmarks.recording import STARTPROJECT, compare, environ
from benchmarks.tables import goal, show
from tests import redis_server
from tracking import policy
from tracking.engine.address import IPAddress, IPNetwork
from tracking.engine.rules import Rule, RuleAction, RuleSet
from tracking.engine.targets import target_of_network
from tracking.engine.visit import Visit
from tracking.models import AccessRule, Counter

SIZES = (1000, 10_000, 100_000, 1_000_000)
LISTED = 100_000
NOW = datetime.now(UTC)
DECISIONS = 20_000  # more clients than are remembered
GOALS_US = {100_000: 3, 1_000_000: 5}
DECISION = (
    *("rules on the list", "a new client, CPU us: min", "median", "a client that came before: min"),
    *("median", "put one and drop it, us", "made in s"),
)
BARE = "bare Django"
PEERS = ("django_blocklist", "request")
OURS = "this service"
REFUSED = f"{OURS}, refused"
IN_REDIS = f"{OURS}, limit in Redis"
LAST_BLOCKED = "203.0.113.9"


class ExistsMiddleware:
    """The plain way: one ORM query per request, for the very address."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        address = request.META["REMOTE_ADDR"]
        live = AccessRule.objects.filter(target=address, action="BLOCK", ended_at=None)
        if live.exists():
            return HttpResponseForbidden(b"no")
        return self.get_response(request)


def network(dice: random.Random) -> IPNetwork:
    kind = dice.random()
    if kind < 0.6:
        return ipaddress.IPv4Network((dice.getrandbits(32), 32))
    if kind < 0.8:
        length = dice.choice([16, 20, 22, 23, *[24] * 8, 25, 26, 28, 29, 30])
        return ipaddress.IPv4Network((dice.getrandbits(32), length), strict=False)
    length = dice.choice([32, 36, 40, 44, *[48] * 6, 56, *[64] * 6, 112, 128])
    number = (0x2000 << 112) | dice.getrandbits(125)
    return ipaddress.IPv6Network((number, length), strict=False)


def networks(size: int) -> list[IPNetwork]:
    dice = random.Random(5)
    found: dict[IPNetwork, None] = {}
    while len(found) < size:
        found[network(dice)] = None
    return list(found)


def entries(listed: list[IPNetwork]) -> Iterator[tuple[str, str, Rule]]:
    for number, each in enumerate(listed, 1):
        target = target_of_network(each)
        yield target.kind, target.text, Rule(number, RuleAction.BLOCK)


def visits(listed: list[IPNetwork], number: int) -> list[Visit]:
    """Return visits of different clients, half of them from what is listed."""
    dice = random.Random(7)
    clients: list[IPAddress] = []
    for hit in range(number):
        held = dice.choice(listed) if hit % 2 else network(dice)
        clients.append(held[dice.randrange(min(held.num_addresses, 1 << 60))])
    dice.shuffle(clients)
    return [
        Visit(NOW, 0.0, "0" * 32, client, "GET", "localhost", "/", path_info="/")
        for client in clients
    ]


def decide(rules: RuleSet, asked: list[Visit]) -> float:
    """Return microseconds of CPU for each decision."""
    before = time.thread_time()
    for visit in asked:
        rules.decide(visit, NOW)
    return (time.thread_time() - before) / len(asked) * 1e6


def change(rules: RuleSet, number: int = 1000) -> float:
    """Return microseconds of CPU for a rule put and taken away again."""
    addresses = [f"198.18.{each // 250}.{each % 250}" for each in range(number)]
    rule = Rule(-1, RuleAction.BLOCK)
    before = time.thread_time()
    for text in addresses:
        rules.put("ADDRESS", text, rule)
        rules.drop("ADDRESS", text, rule.id)
    return (time.thread_time() - before) / number * 1e6


def compare_decisions(sizes: list[int], rounds: int) -> None:
    rows = []
    for size in sizes:
        listed = networks(size)
        asked = visits(listed, DECISIONS)
        rules = RuleSet()
        before = time.thread_time()
        rules.put_all(entries(listed))
        built = time.thread_time() - before
        gc.collect()
        fresh = [decide(rules, asked) for _ in range(rounds)]
        again = [decide(rules, asked[:100] * 200) for _ in range(rounds)]
        changed = min(change(rules) for _ in range(rounds))
        middle = statistics.median(fresh), statistics.median(again)
        rows.append((size, min(fresh), middle[0], min(again), middle[1], changed, built))
        if size in GOALS_US:
            goal(f"a decision on {size:,} rules", min(fresh), GOALS_US[size], "us")
    show("decisions", DECISION, rows)


def fill_database(size: int) -> None:
    """Write the list to the tables of all who keep one there."""
    listed = [*networks(size - 1), ipaddress.IPv4Network(LAST_BLOCKED)]
    rows = []
    for each in listed:
        target = target_of_network(each)
        rows.append(
            AccessRule(
                kind=target.kind, target=target.text, first=str(each[0]), prefix=each.prefixlen,
                action="BLOCK", created_by="benchmark", created_at=timezone.now(), version=1,
            )
        )  # fmt: skip
    AccessRule.objects.bulk_create(rows, batch_size=1000)
    Counter.objects.update_or_create(name=policy.VERSION, defaults={"value": 1})
    if "django_blocklist" in settings.INSTALLED_APPS:
        blocked = apps.get_model("django_blocklist", "BlockedIP")
        hosts = [blocked(ip=str(each[0])) for each in listed]
        blocked.objects.bulk_create(hosts, batch_size=1000, ignore_conflicts=True)


def read_snapshot() -> None:
    """Show what it takes to read all rules from the database, as a process does at its start."""
    before = time.thread_time()
    policy.refresh()
    seconds = time.thread_time() - before
    policy.forget()
    gc.collect()
    tracemalloc.start()
    policy.refresh()
    mebibytes = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    policy._next_look = math.inf  # as where a thread watches
    rows = [(len(policy.current()), seconds, mebibytes)]
    show("snapshot", ("rules read from the database", "CPU s", "MiB kept"), rows)


def from_new_client(number: int) -> dict[str, Any]:
    asked = environ(number)
    return asked | {"REMOTE_ADDR": asked["HTTP_X_FORWARDED_FOR"]}


def from_known_client(number: int) -> dict[str, Any]:
    return environ(number) | {"REMOTE_ADDR": f"198.18.7.{number % 100}"}


def from_blocked_client(number: int) -> dict[str, Any]:
    return environ(number) | {"REMOTE_ADDR": LAST_BLOCKED}


def stacks(redis_url: str) -> dict[str, dict[str, Any]]:
    ours = {"MIDDLEWARE": FINISH, **limits(OFTEN)}
    found: dict[str, dict[str, Any]] = {
        BARE: {"MIDDLEWARE": STARTPROJECT},
        OURS: ours,
        f"{OURS}, new clients": ours,
        REFUSED: ours,
        "ORM exists()": {"MIDDLEWARE": [f"{__name__}.ExistsMiddleware", *STARTPROJECT]},
        "ORM exists(), refused": {"MIDDLEWARE": [f"{__name__}.ExistsMiddleware", *STARTPROJECT]},
    }
    if redis_url:
        found[IN_REDIS] = {"MIDDLEWARE": FINISH, **limits(OFTEN, redis_url)}
    if "django_blocklist" in settings.INSTALLED_APPS:
        peer = ["django_blocklist.middleware.BlocklistMiddleware", *STARTPROJECT]
        found["django-blocklist"] = found["django-blocklist, refused"] = {"MIDDLEWARE": peer}
    if "request" in settings.INSTALLED_APPS:
        peer = [*STARTPROJECT, "request.middleware.RequestMiddleware"]
        found["django-request"] = {"MIDDLEWARE": peer}
    if importlib.util.find_spec("djangoapi_guard"):
        found |= guard_stacks()
    return found


def guard_stacks() -> dict[str, dict[str, Any]]:
    config = importlib.import_module("guard_core.models").SecurityConfig
    plain = {"enable_penetration_detection": False, "enable_redis": False, "rate_limit": 10**9}
    peer = ["djangoapi_guard.DjangoAPIGuard", *STARTPROJECT]
    admits = config(**plain)
    refuses = config(**plain, blacklist=[LAST_BLOCKED])
    return {
        "djapi-guard, detection off, empty list": {
            "MIDDLEWARE": peer,
            "GUARD_SECURITY_CONFIG": admits,
        },
        "djapi-guard, detection off, list of one, refused": {
            "MIDDLEWARE": peer,
            "GUARD_SECURITY_CONFIG": refuses,
        },
    }


def asking(name: str) -> Callable[[int], dict[str, Any]]:
    if name.endswith("refused"):
        return from_blocked_client
    return from_new_client if name.endswith("new clients") else from_known_client


def install_peers() -> None:
    """Add what is there of the peers' applications, and make their tables.

    What they share with us, Django say, stays ours: their folder comes last.
    """
    sys.path.append(str(Path(__file__).parents[1] / "var" / "peers"))
    there = [name for name in PEERS if importlib.util.find_spec(name)]
    if missing := set(PEERS) - set(there):
        print(f"Without {', '.join(sorted(missing))}: not installed.")
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django.contrib.humanize", *there]
    settings.BLOCKLIST_CONFIG = {}
    apps.set_installed_apps(settings.INSTALLED_APPS)
    call_command("migrate", verbosity=0)
    logging.disable(logging.ERROR)  # a peer tells of every refusal; writing that is not measured


def judge(least: dict[str, float]) -> None:
    bare = least[BARE]
    goal("all protections add to a request", least[OURS] - bare, 80, "us")
    if IN_REDIS in least:
        goal("all protections add, limits in Redis", least[IN_REDIS] - bare, 250, "us")
    goal("a refused request, of a bare one", least[REFUSED] / bare, 0.8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--largest", type=int, default=1_000_000)
    options = parser.parse_args()
    sizes = [size for size in SIZES if size <= options.largest]
    compare_decisions(sizes, options.rounds)
    gc.collect()
    install_peers()
    fill_database(min(LISTED, options.largest))
    read_snapshot()
    with ExitStack() as stack:
        redis_url = ""
        try:
            redis_url = stack.enter_context(redis_server.running()).url
        except redis_server.CannotStartError as error:
            print(f"Without Redis: {error}")
        chosen = stacks(redis_url)
        asks = {name: asking(name) for name in chosen}
        judge(compare(chosen, options.rounds, options.requests, asks))


if __name__ == "__main__":
    main()
