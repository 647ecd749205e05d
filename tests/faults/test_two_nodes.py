"""Two nodes: each with its folder, web server and worker, over one PostgreSQL and one Redis."""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from itertools import pairwise

import pytest

from tests.faults.conftest import running
from tests.faults.deployment import Deployment
from tests.faults.servers import OWNER, PostgreSQL
from tests.mmdb import CITY, NETWORK, write
from tests.redis_server import Server as Redis

ROUNDS = int(os.environ.get("NODES_ROUNDS", "50"))
WITHIN = 1.0  # seconds
IN_A_ROW = 24  # refusals, each on a connection of its own: no web worker is left that lets in
LIMIT = 20  # of one address, in a day: no window ends in the middle of a test
AT_ONCE = 80
ADDRESSES = 20
BLOCK = "mutation($input: BlockIpInput!) {blockIp(input: $input) {rule {id} errors {message}}}"
LIFT = "mutation($input: UnblockIpInput!) {unblockIp(input: $input) {rule {id} errors {message}}}"
RUNS = """
    SELECT after_row, upto_row, started_at, duration_ms FROM tracking_detectionrun
    WHERE upto_row > after_row ORDER BY started_at
"""
Nodes = tuple[Deployment, Deployment]


@pytest.fixture(scope="module")
def nodes(
    tmp_path_factory: pytest.TempPathFactory, postgresql: PostgreSQL, redis: Redis
) -> Iterator[Nodes]:
    postgresql.execute(f"CREATE DATABASE nodes OWNER {OWNER}")
    first, second = (
        Deployment(
            tmp_path_factory.mktemp(f"node{number}"),
            2,
            postgresql,
            "nodes",
            redis,
            settings={"LIMIT_GRAPHQL_ANONYMOUS": f"{LIMIT}/d"},
        )
        for number in (1, 2)
    )
    with running(first), joined(second):
        second.token = first.token
        yield first, second


@contextmanager
def joined(node: Deployment) -> Iterator[None]:
    """Start one more node where the database is set up already."""
    write(node.state / "geoip" / "places.mmdb", "GeoLite2-City", {NETWORK: CITY})
    try:
        node.serve()
        yield
    finally:
        node.stop()


def change(node: Deployment, document: str, address: str) -> None:
    body = json.dumps({"query": document, "variables": {"input": {"address": address}}})
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {node.token}"}
    answer = node.ask("POST", "/graphql/", body.encode(), headers, 20)
    said = json.loads(answer.body)
    (payload,) = said["data"].values()
    assert payload["rule"], said


def status(node: Deployment, address: str) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", node.port, timeout=20)) as connection:
        connection.request("GET", "/nowhere/", headers={"X-Forwarded-For": address})
        return connection.getresponse().status


def seconds_until(node: Deployment, address: str, wanted: int) -> float:
    """Return how long after now some web worker of a node still answered otherwise."""
    begun = otherwise = time.monotonic()
    in_a_row = 0
    while in_a_row < IN_A_ROW:
        asked = time.monotonic()
        in_a_row = in_a_row + 1 if status(node, address) == wanted else 0
        if not in_a_row:
            otherwise = asked
        assert asked - begun < 10
    return otherwise - begun


def percentiles(seconds: list[float]) -> str:
    seconds = sorted(seconds)
    p50, p99 = (seconds[int(len(seconds) * share)] for share in (0.5, 0.99))
    return f"p50 {p50:.2f} s, p99 {p99:.2f} s, max {seconds[-1]:.2f} s"


def tell(capsys: pytest.CaptureFixture[str], sentence: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\ntwo nodes: {sentence}\n")


def test_a_block_made_on_one_node_is_in_force_on_the_other(
    nodes: Nodes, capsys: pytest.CaptureFixture[str]
) -> None:
    waits: dict[str, list[float]] = {"block": [], "lift": []}
    for number in range(ROUNDS):
        here, there = nodes if number % 2 else nodes[::-1]
        address = f"203.0.113.{number + 1}"
        assert status(there, address) == 404
        change(here, BLOCK, address)
        waits["block"].append(seconds_until(there, address, 403))
        change(here, LIFT, address)
        waits["lift"].append(seconds_until(there, address, 404))

    for verb, seconds in waits.items():
        tell(capsys, f"{verb}, {ROUNDS} times, in force on the other: {percentiles(seconds)}")
        assert max(seconds) <= WITHIN


def test_limits_are_exact_across_both(nodes: Nodes, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number in range(ADDRESSES):
            headers = {
                "Content-Type": "application/json",
                "X-Forwarded-For": f"198.51.100.{number + 1}",
            }
            parallel: Callable[[int], tuple[int, str]] = lambda which, headers=headers: outcome(  # noqa: E731
                nodes[which % 2], headers
            )
            answers = list(pool.map(parallel, range(AT_ONCE)))
            assert Counter(code for code, _ in answers) == {200: LIMIT, 429: AT_ONCE - LIMIT}
            asked += [request_id for _, request_id in answers]

    assert len(set(asked)) == ADDRESSES * AT_ONCE
    rows = rows_of(nodes[0], set(asked))
    tell(
        capsys,
        f"{ADDRESSES} times {AT_ONCE} at once against a limit of {LIMIT}: {LIMIT} passed each time;"
        f" {len(rows)} of {len(asked)} requests on record, none twice",
    )
    assert rows == Counter(asked)


def outcome(node: Deployment, headers: dict[str, str]) -> tuple[int, str]:
    answer = node.ask("POST", "/graphql/", b'{"query":"{__typename}"}', headers, 30)
    return answer.status, answer.request_id


def rows_of(node: Deployment, request_ids: set[str]) -> Counter[str]:
    """Return how many rows each of these requests has, once all have one."""
    end = time.monotonic() + 30
    while time.monotonic() < end and not request_ids <= node.rows().keys():
        time.sleep(0.1)
    time.sleep(0.5)  # a second row of one would come with the next batches
    return Counter({key: count for key, count in node.rows().items() if key in request_ids})


def test_one_detection_at_a_time_whatever_node_it_runs_on(
    nodes: Nodes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both nodes have a worker that runs it; the command runs it on both at once besides."""
    told_off = 0
    with ThreadPoolExecutor(4) as pool:
        for _ in range(6):
            list(pool.map(lambda which: status(nodes[which % 2], "10.1.2.3"), range(60)))
            told_off += sum(not ran for ran in pool.map(detect, nodes))

    runs = nodes[0].query(RUNS)
    tell(
        capsys,
        f"{len(runs)} runs of detection on new rows, one after the other;"
        f" {told_off} of 12 commands were told that one is under way",
    )
    assert len(runs) > 4
    for (_, upto, started, took), (after, _, following, _) in pairwise(runs):
        assert after == upto, "rows are looked at once, and none is passed by"
        assert following >= started + timedelta(milliseconds=took)


def detect(node: Deployment) -> bool:
    """Tell whether it ran, or was told that another run is under way."""
    try:
        node.command("detect")
    except AssertionError as error:
        assert "Another process is looking already" in str(error), error
        return False
    return True
