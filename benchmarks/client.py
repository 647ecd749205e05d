"""Asks a web server on this machine as fast as it answers, from a process of its own.

    python -m benchmarks.client PORT CONNECTIONS SECONDS

Each connection sends its next request when its last one is answered, each as another of 200 clients
behind the trusted proxy that this is. Prints one JSON object: how many requests were answered with
200 and how many otherwise, in how many seconds, the milliseconds that half of them and 99 in 100
took at most, and the CPU microseconds that asking took the client.
"""

from __future__ import annotations

import itertools
import json
import select
import socket
import sys
import time

REQUESTS = tuple(
    (
        f"GET /articles/{number % 500}/?page=2 HTTP/1.1\r\nHost: localhost\r\n"
        f"X-Forwarded-For: 203.0.113.{number % 200}\r\nAccept: application/json\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
        "Referer: https://example.org/articles/?page=1\r\n\r\n"
    ).encode()
    for number in range(1000)
)
LONGEST_WAIT = 30.0  # seconds; a server that does not answer for so long ends the run


class Connection:
    """A kept connection with one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LONGEST_WAIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = 0.0
        self.answer = b""

    def ask(self, request: bytes) -> None:
        self.sent = time.perf_counter()
        self.answer = b""
        self.socket.sendall(request)

    def read(self) -> int:
        """Return the status once the answer is here, else 0. Raises ConnectionError at its end."""
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionError("the server hung up")
        self.answer += part
        head, found, body = self.answer.partition(b"\r\n\r\n")
        if not found:
            return 0
        length = int(head.lower().partition(b"content-length:")[2].split(None, 1)[0])
        return int(head[9:12]) if len(body) >= length else 0


def drive(port: int, number: int, seconds: float) -> tuple[list[float], int]:
    """Return how many seconds each answer of 200 took, and how many answers were others."""
    requests = itertools.cycle(REQUESTS)
    ready = select.epoll()
    connections = {}
    for connection in (Connection(port) for _ in range(number)):
        connections[connection.socket.fileno()] = connection
        ready.register(connection.socket, select.EPOLLIN)
    for connection in connections.values():
        connection.ask(next(requests))
    times: list[float] = []
    others, waiting = 0, number
    end = time.perf_counter() + seconds
    while waiting:
        events = ready.poll(LONGEST_WAIT)
        if not events:
            raise TimeoutError(f"no answer for {LONGEST_WAIT:.0f} s")
        for descriptor, _ in events:
            connection = connections[descriptor]
            if not (status := connection.read()):
                continue
            now = time.perf_counter()
            if status == 200:
                times.append(now - connection.sent)
            else:
                others += 1
            if now < end:
                connection.ask(next(requests))
            else:
                waiting -= 1
    return times, others


def main(port: int, number: int, seconds: float) -> None:
    started = time.perf_counter()
    times, others = drive(port, number, seconds)
    took = time.perf_counter() - started
    times.sort()
    figures = {
        "answered": len(times),
        "others": others,
        "seconds": took,
        "p50": times[len(times) // 2] * 1e3,
        "p99": times[len(times) * 99 // 100] * 1e3,
        "client": time.process_time() / len(times) * 1e6,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
