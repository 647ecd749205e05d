"""Read access logs of other servers into the record."""

from __future__ import annotations

import contextlib
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from tqdm import tqdm

from tracking.engine.text import escaped
from tracking.ingest import Ingest, LogError, Readable, Summary
from tracking.recorder import Outrun

MOST_BAD_LINES_SHOWN = 20


class Command(BaseCommand):
    help = (
        "Read access logs of nginx or Apache (common or combined format, plain or gzip; - is"
        " standard input) into the record. Lines that are on record already are passed over, so"
        " the same log can be read again at any time."
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

    def handle(self, *, files: list[str], source: str | None, strict: bool, **_: Any) -> None:
        for name in files:
            marked = escaped(source or ("stdin" if name == "-" else Path(name).name), 64)
            summary = self._ingest(name, marked, strict)
            self.stdout.write(self._told(name, summary))

    def _ingest(self, name: str, source: str, strict: bool) -> Summary:
        ingest = Ingest(source, on_bad=self._show_bad(name), strict=strict)
        try:
            with _opened(name) as stream:
                return ingest.run(stream)
        except (LogError, OSError) as error:
            reason = error.strerror or error if isinstance(error, OSError) else error
            raise CommandError(f"{name}: {reason}. {_kept(ingest)}") from None
        except Outrun:
            raise CommandError(f"{name}: another run is reading this log; let it finish.") from None
        except DatabaseError as error:
            raise CommandError(f"The database is away ({error}). {_kept(ingest)}") from None

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
