"""Redis in trouble, under load: nothing fails, little waits, limits hold, and it ends by itself.

Each fault is made and mended while four threads use limits without a pause.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pytest
from pytest_django import Settings

from tests import redis_server
from tests.redis_server import Server
from tracking import conf, limiter, readers
from tracking.counters import PREFIX
from tracking.engine.limits import ClientClass, Key, Limit, for_all

MOST = 5
LIMIT = Limit("tested", Key.CALLER, for_all(f"{MOST}/d"))
LONGEST_DELAY = 0.2  # seconds
LONGEST_RECOVERY = 10.0  # seconds; the breaker's longest pause is 5
THREADS = 4


@dataclass(frozen=True)
class Fault:
    """How to break a server, and how to mend it."""

    make: Callable[[Server], object]
    mend: Callable[[Server], object]


def run_out_of_memory(server: Server) -> None:
    server.client.config_set("maxmemory-policy", "noeviction")
    server.client.config_set("maxmemory", "1mb")


def refuse_new_clients(server: Server) -> None:
    server.client.config_set("maxclients", "1")
    server.client.client_kill_filter(_type="normal", skipme=True)


FAULTS = {
    "stopped": Fault(Server.kill, Server.start),
    "hung": Fault(Server.hang, Server.go_on),
    "replica": Fault(
        lambda server: server.client.replicaof("127.0.0.1", "1"),
        lambda server: server.client.replicaof("NO", "ONE"),
    ),
    "without the replicas it wants": Fault(
        lambda server: server.client.config_set("min-replicas-to-write", 1),
        lambda server: server.client.config_set("min-replicas-to-write", 0),
    ),
    "out of memory": Fault(
        run_out_of_memory, lambda server: server.client.config_set("maxmemory", 0)
    ),
    "full of clients": Fault(
        refuse_new_clients, lambda server: server.client.config_set("maxclients", 1000)
    ),
}


@pytest.fixture
def redis(settings: Settings) -> Iterator[Server]:
    with redis_server.running() as server:
        settings.TRACKING_REDIS_URL = server.url
        forget_everything()
        yield server
    forget_everything()


def forget_everything() -> None:
    limiter._redis_at.cache_clear()
    limiter._memory.clear()


def passes(key: str, times: int) -> int:
    """Use the limit so often, and return how often it let through."""
    return sum(
        not limiter.check(LIMIT, ClientClass.ANONYMOUS, key)[0].refused for _ in range(times)
    )


def in_redis(server: Server) -> bool:
    """Return whether what is counted now is counted there."""
    before = number_of_keys(server)
    passes(f"seen {time.monotonic()}", 1)
    return number_of_keys(server) == before + 1


def number_of_keys(server: Server) -> int:
    return len(list(server.client.scan_iter(PREFIX + "*")))


def wait_until_in_redis(server: Server) -> None:
    end = time.monotonic() + LONGEST_RECOVERY
    while limiter._redis_at(server.url).breaker._pause:
        assert time.monotonic() < end, "it did not recover"
        passes(f"waiting {time.monotonic()}", 1)
        time.sleep(0.02)


@dataclass
class Load:
    """What the uses of a limit under load came to; delays in seconds."""

    delays: list[float] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)

    def longest_delay(self) -> float:
        """Return the longest use of a limit, less what this machine kept all waiting at worst."""
        return max(self.delays) - max(self.stalls)


@contextmanager
def load() -> Iterator[Load]:
    """Use limits in several threads as long as the block runs."""
    seen = Load()
    stop = threading.Event()
    threads = [threading.Thread(target=use_limits, args=(seen, stop)) for _ in range(THREADS)]
    threads.append(threading.Thread(target=watch_stalls, args=(seen, stop)))
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def use_limits(seen: Load, stop: threading.Event) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        key = f"{threading.get_ident()} {number}"
        before = time.monotonic()
        try:
            passes(key, 1)
        except Exception as error:  # noqa: BLE001 - whatever it is, a request would have got it
            seen.errors.append(error)
        seen.delays.append(time.monotonic() - before)
        time.sleep(0.001)


def watch_stalls(seen: Load, stop: threading.Event) -> None:
    """Note by how much a short sleep takes longer than asked: nobody could run meanwhile."""
    while not stop.is_set():
        before = time.monotonic()
        time.sleep(0.005)
        seen.stalls.append(time.monotonic() - before - 0.005)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_redis_in_trouble_neither_fails_nor_delays_nor_opens_anything(
    redis: Server, fault: Fault
) -> None:
    assert passes("before", MOST + 2) == MOST
    with load() as seen:
        time.sleep(0.2)
        fault.make(redis)
        time.sleep(0.3)
        assert passes("during", MOST + 20) == MOST
        assert passes("before", MOST + 20) <= MOST  # what this process had not counted itself
        time.sleep(1)
        fault.mend(redis)
        wait_until_in_redis(redis)
    assert in_redis(redis)
    assert passes("after", MOST + 20) == MOST
    assert seen.errors == []
    assert seen.longest_delay() < LONGEST_DELAY
    # Each trial of the breaker makes one wait, all others answer at once.
    slow = [delay for delay in seen.delays if delay > 0.04 + max(seen.stalls)]
    assert len(slow) <= THREADS + 8


def test_a_redis_killed_and_started_again_is_used_again(redis: Server) -> None:
    passes("before", 1)  # the first use imports the client
    with load() as seen:
        for _ in range(3):
            redis.kill()
            redis.start()
            passes("meanwhile", 10)
            wait_until_in_redis(redis)
    assert in_redis(redis)
    assert seen.errors == []
    assert seen.longest_delay() < LONGEST_DELAY


def test_a_flushed_redis_is_used_on_without_a_failure(
    redis: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with load() as seen, caplog.at_level(logging.WARNING):
        for _ in range(20):
            redis.client.flushall()
            redis.client.script_flush()
            time.sleep(0.01)
    assert caplog.messages == []
    assert seen.errors == []
    assert passes("after", MOST + 5) == MOST


@pytest.mark.parametrize("value", ["list", "hash", "text", "overflow", "fraction"])
def test_what_others_wrote_under_our_key_is_replaced_and_troubles_nobody(
    redis: Server, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    passes("key", 1)
    (name,) = redis.client.scan_iter(PREFIX + "*")
    redis.client.delete(name)
    if value == "list":
        redis.client.lpush(name, "x")
    elif value == "hash":
        redis.client.hset(name, "x", "y")
    else:
        text = {"text": "five", "overflow": str(2**63 - 1), "fraction": "1.5"}[value]
        redis.client.set(name, text)
    assert passes("key", MOST + 5) == MOST
    assert int(redis.client.get(name)) == MOST + 5
    assert 0 < redis.client.ttl(name) <= 86_405
    assert caplog.messages == []


def test_no_counter_is_without_an_expiry_while_redis_comes_and_goes(redis: Server) -> None:
    with load():
        for _ in range(10):
            redis.client.flushall()
            redis.client.client_kill_filter(_type="normal", skipme=True)
            time.sleep(0.05)
            assert all(redis.client.ttl(key) != -1 for key in redis.client.scan_iter())


def test_the_log_says_once_when_redis_fails_and_once_when_it_is_back(
    redis: Server, caplog: pytest.LogCaptureFixture
) -> None:
    redis.kill()
    with load(), caplog.at_level(logging.WARNING):
        time.sleep(1.5)
        redis.start()
        wait_until_in_redis(redis)
    assert [message.split(",")[0] for message in caplog.messages] == [
        "Limits are counted in this process",
        "Limits are counted in Redis again",
    ]


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Listen as a server that answers this to anything, and yield its address as a Redis."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer_all, args=(listener, answer), daemon=True).start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        listener.shutdown(socket.SHUT_RDWR)


def answer_all(listener: socket.socket, answer: bytes) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=answer_one, args=(client, answer), daemon=True).start()


def answer_one(client: socket.socket, answer: bytes) -> None:
    with client, suppress(OSError):
        while client.recv(65_536):
            client.sendall(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"+OK\r\n",
        b"$-1\r\n",
        b"*1\r\n:1\r\n",
        b"-NOAUTH Authentication required.\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-MISCONF Redis is configured to save RDB snapshots\r\n",
        b"-BUSY Redis is busy running a script\r\n",
        b"$999999999\r\n",
        b"\x00\xff\r\n",
        b"",
    ],
)
def test_a_server_that_answers_nonsense_is_as_good_as_away(
    settings: Settings, answer: bytes
) -> None:
    with answering(answer) as url:
        settings.TRACKING_REDIS_URL = url
        forget_everything()
        assert passes("key", MOST + 5) == MOST
    forget_everything()


@pytest.mark.parametrize(
    "change", ["redis://:wrong@{}", "redis://{}/99999", "redis://{}?nonsense=1", "rediss://{}"]
)
def test_a_redis_that_cannot_be_used_as_configured_leaves_limits_in_memory(
    redis: Server, settings: Settings, change: str
) -> None:
    settings.TRACKING_REDIS_URL = change.format(f"127.0.0.1:{redis.port}")
    assert passes("key", MOST + 5) == MOST


@pytest.mark.parametrize(
    "url",
    ["localhost", "http://:secret@host", "redis://host:secret", "redis://[::1/secret", 7],
)
def test_an_address_that_is_none_of_a_redis_is_refused_at_start_without_being_repeated(
    settings: Settings, url: object
) -> None:
    settings.TRACKING_REDIS_URL = url
    (problem,) = conf.problems()
    assert problem == (
        "tracking.E016",
        "TRACKING_REDIS_URL: write an address such as redis://host:6379/0.",
    )


def test_an_address_without_the_package_for_it_is_refused_at_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRACKING_REDIS_URL = "redis://127.0.0.1/0"
    monkeypatch.setattr(readers, "find_spec", lambda name: None)
    ((_, sentence),) = conf.problems()
    assert "install the package redis" in sentence
