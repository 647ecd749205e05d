"""Read access logs of other servers into the record."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from tqdm import tqdm

from tracking.engine.jsonlog import FACTS, FieldMapError, read_field_map
from tracking.engine.text import escaped
from tracking.ingest import Ingest, LogError, Summary
from tracking.loglines import Readable
from tracking.logtail import Follower
from tracking.recorder import Outrun

MOST_BAD_LINES_SHOWN = 20
TOP = 5  # addresses in the summary


class Command(BaseCommand):
    help = (
        "Read access logs into the record: nginx's or Apache's (common or combined format),"
        " Caddy's or Traefik's (JSON), or any JSON with --fields; plain or gzip; - is standard"
        " input. Lines that are on record already are passed over, so the same log can be read"
        " again at any time."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "files", nargs="+", metavar="FILE", help="a log, or - for standard input"
        )
        parser.add_argument(
            "--source", help="what the rows are marked with (default: the file's name)"
        )
        parser.add_argument(
            "--strict", action="store_true", help="stop at the first line that cannot be read"
        )
        parser.add_argument(
            "--follow",
            action="store_true",
            help="go on reading what is written to the logs, also after their rotation, until"
            " SIGINT (Ctrl-C) or SIGTERM",
        )
        parser.add_argument(
            "--fields",
            type=_field_map,
            metavar="FACT=MEMBER,…",
            help="which member of each line of JSON holds what, for example nginx's"
            " at=time,address=remote_addr,request=request,status=status"
            f" (the facts: {', '.join(FACTS)})",
        )

    def handle(self, *, files: list[str], follow: bool, **options: Any) -> None:
        self._options = options
        total, failures = self._followed(files) if follow else self._read(files)
        self.stdout.write(_in_all(total))
        if failures:
            raise CommandError("\n".join(failures))

    def _read(self, files: list[str]) -> tuple[Summary, list[str]]:
        total, failures = Summary(), []
        for name in files:
            ingest = self._begun(name)
            failure = _failure(name, ingest)
            if failure:
                failures.append(failure)
            else:
                self.stdout.write(self._told(name, ingest.summary))
            total.add(ingest.summary)
        return total, failures

    def _followed(self, files: list[str]) -> tuple[Summary, list[str]]:
        if missing := [name for name in files if not Path(name).is_file()]:
            raise CommandError(f"{missing[0]} is no file; --follow reads files only.")
        stop = threading.Event()
        followers = {
            name: Follower(Path(name), partial(self._begun, name), stop, self._tell)
            for name in dict.fromkeys(files)
        }
        with _stopped_by_signals(stop), ThreadPoolExecutor(len(followers)) as pool:
            runs = [pool.submit(follower.run) for follower in followers.values()]
            while wait(runs, timeout=1).not_done:
                pass
        for run in runs:
            run.result()
        total = Summary()
        for name, follower in followers.items():
            self.stdout.write(self._told(name, follower.summary))
            total.add(follower.summary)
        failed = {name: follower.failure for name, follower in followers.items()}
        return total, [f"{name}: {why}." for name, why in failed.items() if why]

    def _begun(self, name: str) -> Ingest:
        source = self._options["source"] or ("stdin" if name == "-" else Path(name).name)
        return Ingest(
            escaped(source, 64),
            on_bad=self._show_bad(name),
            strict=self._options["strict"],
            fields=self._options["fields"],
        )

    def _tell(self, text: str) -> None:
        tqdm.write(text, file=sys.stderr)

    def _show_bad(self, name: str) -> Callable[[int, str], None]:
        shown = 0

        def show(number: int, reason: str) -> None:
            nonlocal shown
            shown += 1
            if shown <= MOST_BAD_LINES_SHOWN:
                tqdm.write(f"{name}: line {number}: {reason}", file=sys.stderr)
            elif shown == MOST_BAD_LINES_SHOWN + 1:
                tqdm.write(f"{name}: further bad lines are only counted", file=sys.stderr)

        return show

    def _told(self, name: str, summary: Summary) -> str:
        parts = [f"{summary.rows} recorded", f"{summary.known} known before", f"{summary.bad} bad"]
        if summary.unfinished:
            parts.append("the last line has no end yet and waits for the next run")
        return f"{name}: {', '.join(parts)}"


@contextlib.contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the reading in good order."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop.set()) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def _failure(name: str, ingest: Ingest) -> str:
    """Read a log; return why it could not be read to its end, empty when it was."""
    try:
        with _opened(name) as stream:
            ingest.run(stream)
    except (LogError, OSError) as error:
        reason = error.strerror or error if isinstance(error, OSError) else error
        return f"{name}: {reason}. {_kept(ingest)}"
    except Outrun:
        return f"{name}: another run is reading this log; let it finish."
    except DatabaseError as error:
        raise CommandError(f"The database is away ({error}). {_kept(ingest)}") from None
    return ""


def _in_all(total: Summary) -> str:
    lines = total.rows + total.known + total.bad
    text = f"in all: {lines} lines, {total.bad} bad"
    if not total.first:
        return text
    top = ", ".join(f"{address} {count}" for address, count in total.addresses.most_common(TOP))
    about = " (about)" if total.about else ""
    return (
        f"{text}; recorded now: from {total.first[:19]} to {total.last[:19]} UTC\n"
        f"top addresses{about}: {top}"
    )


def _field_map(text: str) -> dict[str, str]:
    try:
        return read_field_map(text)
    except FieldMapError as error:
        raise ArgumentTypeError(str(error)) from None


def _kept(ingest: Ingest) -> str:
    return f"{ingest.summary.rows} lines were recorded; run this again to go on behind them."


@contextlib.contextmanager
def _opened(name: str) -> Iterator[Readable]:
    """Open a log so that reading it moves a progress bar (on a terminal)."""
    with contextlib.ExitStack() as stack:
        if name == "-":
            raw, size = sys.stdin.buffer, None
        else:
            path = Path(name)
            raw, size = stack.enter_context(path.open("rb")), path.stat().st_size
        bar = tqdm.wrapattr(
            raw, "read", total=size, desc=name, disable=None, leave=False, file=sys.stderr
        )
        yield stack.enter_context(bar)
