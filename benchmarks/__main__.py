"""Run the benchmarks, and write the page of results with its plots.

    python -m benchmarks [--quick] [--only blocking,scaling]

The figures go to docs/results.json; what was measured on the same machine before and is not asked
for again stays there. With --quick everything is small and goes to var/bench instead: that shows
that all of it works, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import plots
from benchmarks.machine import facts, load
from benchmarks.results import render
from benchmarks.tables import FILE, sentence
from tests.faults.servers import OWNER, PostgreSQL, postgresql
from tests.postgresql import CannotStartError

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"


@dataclass(frozen=True)
class Run:
    """One benchmark: its module, its arguments for the record and for a quick try, its store."""

    module: str
    full: str
    quick: str
    store: str = ""

    @property
    def page(self) -> str:
        return self.module.replace("_", "-")

    @property
    def name(self) -> str:
        return f"{self.page}-{self.store.lower()}" if self.store else self.page


RUNS = (
    Run("recording", "--rounds 9 --requests 300", "--rounds 2 --requests 50"),
    Run("blocking", "--rounds 9 --requests 300", "--rounds 2 --requests 50 --largest 10000"),
    Run("limits", "--rounds 9", "--rounds 2 --uses 50 --requests 50 --addresses 10000"),
    Run("writing", "--rounds 7", "--rounds 2 --rows 100", "SQLite"),
    Run("writing", "--rounds 5 --rows 500", "--rounds 2 --rows 50", "PostgreSQL"),
    Run("draining", "--log-mb 30", "--records 2000 --log-mb 1", "SQLite"),
    Run("draining", "--log-mb 30", "--records 2000 --log-mb 1", "PostgreSQL"),
    Run("detection", "", "--rows 20000 --rounds 2", "SQLite"),
    Run("detection", "--rows 2000000", "--rows 20000 --rounds 2", "PostgreSQL"),
    Run("graphql_base", "", "--rounds 3 --requests 50"),
    Run("graphql_pages", "--rounds 5", "--rows 20000 --rounds 2"),
    Run("dossier", "--rows 2000000 --rounds 9", "--rows 20000 --rounds 2"),
    Run("overview", "--rows 2000000", "--rows 20000 --rounds 2"),
    Run("statistics_cache", "--rounds 9", "--rows 5000 --rounds 2"),
    Run("signatures", "", ""),
    Run("metrics", "", "1000 10000"),
    Run("scaling", "--rounds 2 --seconds 3", "--rounds 1 --seconds 1 --workers 1,2 --rules 1000"),
)


def measure(run: Run, arguments: str, database: str) -> dict[str, Any] | None:
    """Return what a benchmark found, or None when it did not get to its end."""
    command = f"python -m benchmarks.{run.module} {arguments}".rstrip()
    print(f"\n== {run.name}: {command}", flush=True)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        file = Path(folder) / "tables.json"
        settings = {FILE: str(file), "DATABASE_URL": database, "ENV_FILE": os.devnull}
        begun, before = time.monotonic(), load()
        ran = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{run.module}", *arguments.split()],
            cwd=ROOT,
            env=os.environ | settings,
            check=False,
        )
        found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"goals": []}
    # A goal that is missed is an answer too; whatever else ends a benchmark is not.
    if ran.returncode and all(goal["met"] for goal in found["goals"]):
        return None
    return {
        "page": run.page,
        "store": run.store,
        "command": command,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "seconds": round(time.monotonic() - begun),
        "load": [before, load()],
        **found,
    }


def measure_all(chosen: list[Run], quick: bool, runs: dict[str, Any]) -> list[str]:
    """Put what is found into `runs`; return the names of those that failed."""
    failed = []
    with ExitStack() as started:
        server = start_postgresql(started) if any(r.store == "PostgreSQL" for r in chosen) else None
        for run in chosen:
            if run.store == "PostgreSQL" and server is None:
                continue
            database = new_database(server, run) if run.store == "PostgreSQL" and server else ""
            found = measure(run, run.quick if quick else run.full, database)
            if found is None:
                failed.append(run.name)
            else:
                runs[run.name] = found
    return failed


def start_postgresql(started: ExitStack) -> PostgreSQL | None:
    try:
        return started.enter_context(postgresql())
    except CannotStartError as error:
        print(f"Without PostgreSQL: {error}")
        return None


def new_database(server: PostgreSQL, run: Run) -> str:
    """Return the address of an empty database."""
    server.execute(f"CREATE DATABASE {run.module} OWNER {OWNER}")
    return server.url(run.module)


def known(file: Path, machine: dict[str, str]) -> dict[str, Any]:
    """Return the runs that were made on this very machine."""
    data: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return dict(data["runs"]) if data.get("machine") == machine else {}


def write(folder: Path, machine: dict[str, str], runs: dict[str, Any]) -> None:
    """Write figures, plots and page, and tell what is missed."""
    order = [run.name for run in RUNS]
    data = {"machine": machine, "runs": {name: runs[name] for name in order if name in runs}}
    text = json.dumps(data, indent=1, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n")
    plots.draw(data, folder / "images")
    page = folder / PAGE.name
    page.write_text(render(PAGE.read_text(), data))
    missed = [goal for run in data["runs"].values() for goal in run["goals"] if not goal["met"]]
    print("", *map(sentence, missed), f"The page is {page.relative_to(ROOT)}.", sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, into var/bench")
    parser.add_argument("--only", default="", help="some of them, with a comma between")
    options = parser.parse_args()
    names = set(filter(None, options.only.split(",")))
    if unknown := names - {name for run in RUNS for name in (run.page, run.name, run.module)}:
        parser.error(f"there is no {', '.join(unknown)}: {', '.join(run.name for run in RUNS)}")
    chosen = [run for run in RUNS if not names or names & {run.page, run.name, run.module}]
    folder = ROOT / "var" / "bench" if options.quick else PAGE.parent
    (folder / "images").mkdir(parents=True, exist_ok=True)
    machine = facts()
    runs = known(folder / "results.json", machine)
    try:
        failed = measure_all(chosen, options.quick, runs)
    finally:
        write(folder, machine, runs)
    if options.quick:
        print("Sizes were small: neither figures nor goals count.")
    if failed:
        raise SystemExit(f"error: {', '.join(failed)} did not get to the end")


if __name__ == "__main__":
    main()
