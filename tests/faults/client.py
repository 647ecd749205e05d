"""The clients of the faults, a process of their own: they ask until their standard input ends.

    python -m tests.faults.client PORT KINDS PAUSE TOKEN ANSWERS

KINDS says how many connections ask what (page=8,blocked=2), PAUSE how long each waits between two
requests, in seconds. Each request becomes one line of ANSWERS: its kind, when it was sent and
answered (on the monotonic clock, which all processes share), the status (0: there was no answer),
whether the answer was the one to expect, and its X-Request-ID.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

LONGEST_WAIT = 40.0  # seconds for one answer
BLOCKED = "192.0.2.66"  # an address that the deployment has blocked
LIMITED = "10.255.255.77"  # one that asks far more often than its limit allows

TYPENAME = b'{"query":"{__typename}"}'
BODIES = {
    "database": b'{"query":"{me{username}}"}',
    "statistics": b'{"query":"{requestStats{count}}"}',  # kept in Redis for 10 s
}
EXPECTED: dict[str, Callable[[int, bytes], bool]] = {
    "page": lambda status, body: status == 404,
    "blocked": lambda status, body: status == 403,
    "graphql": lambda status, body: status == 200 and b'"__typename": "Query"' in spaced(body),
    "limited": lambda status, body: status in {200, 429},
    "database": lambda status, body: status == 200 and b'"username": "admin"' in spaced(body),
    "statistics": lambda status, body: status == 200 and b'"count"' in body,
}


def spaced(body: bytes) -> bytes:
    return body.replace(b'":"', b'": "')


def someone() -> str:
    """Return an address that is hardly met twice; private ones are never blocked by detection."""
    return f"10.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(256)}"


def request(kind: str, number: int, token: str) -> bytes:
    """Return one request of a kind, as the trusted proxy of its client sends it."""
    address = {"blocked": BLOCKED, "limited": LIMITED}.get(kind) or someone()
    head = [f"Host: 127.0.0.1\r\nX-Forwarded-For: {address}\r\n"]
    if kind in {"page", "blocked"}:
        return f"GET /nowhere/{number} HTTP/1.1\r\n{head[0]}\r\n".encode()
    body = BODIES.get(kind, TYPENAME)
    head.append(f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n")
    if kind in BODIES:
        head.append(f"Authorization: Bearer {token}\r\n")
    return f"POST /graphql/ HTTP/1.1\r\n{''.join(head)}\r\n".encode() + body


class Connection:
    """A connection that is kept as long as the server keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, sent: bytes) -> tuple[int, str, bytes]:
        """Return status, request id and body. Raises OSError, EOFError or ValueError."""
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(sent)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines if line)
        body = await self._reader.readexactly(int(fields["content-length"]))
        if fields.get("connection") == "close":
            self.close()
        return int(status.split()[1]), fields.get("x-request-id", "-"), body

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def ask_on(
    port: int, kind: str, pause: float, token: str, answers: TextIO, numbers: Iterator[int]
) -> None:
    """Ask one kind of question on one connection, again and again."""
    connection = Connection(port)
    while True:
        sent = time.monotonic()
        status, request_id, body = 0, "-", b""
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                asked = request(kind, next(numbers), token)
                status, request_id, body = await connection.ask(asked)
        except (OSError, EOFError, ValueError, KeyError, TimeoutError):
            connection.close()
        expected = EXPECTED[kind](status, body)
        told = f"{kind} {sent:.6f} {time.monotonic():.6f} {status} {expected:d} {request_id}"
        answers.write(f"{told}\n")
        await asyncio.sleep(pause if status else max(pause, 0.02))


async def until_told_to_end() -> None:
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    await stdin.read()


async def main(port: int, kinds: str, pause: float, token: str, answers: TextIO) -> None:
    numbers = itertools.count()
    async with asyncio.TaskGroup() as clients:
        asking = [
            clients.create_task(ask_on(port, kind, pause, token, answers, numbers))
            for kind, _, count in (each.partition("=") for each in kinds.split(","))
            for _ in range(int(count))
        ]
        await until_told_to_end()
        for task in asking:
            task.cancel()


if __name__ == "__main__":
    port, kinds, pause, token, path = sys.argv[1:]
    with Path(path).open("w") as answers, contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(port), kinds, float(pause), token, answers))
