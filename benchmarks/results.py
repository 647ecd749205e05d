"""The page of results: what stands between its markers is written from the figures.

    <!-- begin: blocking -->
    ...
    <!-- end: blocking -->

All else on the page is written by hand and stays.
"""

from __future__ import annotations

import re
from typing import Any

from benchmarks.tables import markdown, sentence

BLOCK = re.compile(r"(<!-- begin: ([a-z-]+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)
# The plots of each run: the file in docs/images, and what it shows to who cannot see it.
PLOTS = {
    "blocking": (
        ("results-protection", "Bars: what protection adds to a request, here and by peers"),
        ("results-decisions", "Lines: what a decision costs on lists of growing size"),
    ),
    "writing": (("results-writing", "Bars: what a row of the record costs by each way"),),
    "draining": (("results-draining", "Bars: rows that reach the database in a second"),),
    "detection": (("results-detection", "Bars: the time of a detection run by size of the log"),),
    "graphql-pages": (("results-pages", "Lines: what a page costs the deeper it lies"),),
    "scaling": (("results-scaling", "Lines: requests a second and CPU time by web workers"),),
}


def render(page: str, data: dict[str, Any]) -> str:
    """Return the page with the figures of now. Raises KeyError for a marker nobody knows."""
    blocks = {"machine": machine(data), "goals": goals(data)}

    def block(found: re.Match[str]) -> str:
        name = found[2]
        text = blocks[name] if name in blocks else measured(name, data)
        return f"{found[1]}\n{text}\n\n{found[3]}"

    return BLOCK.sub(block, page)


def machine(data: dict[str, Any]) -> str:
    return markdown(("what", "which"), list(data["machine"].items()))


def goals(data: dict[str, Any]) -> str:
    """Return what is missed, and how much is met."""
    found = [each for run in data["runs"].values() for each in run["goals"]]
    missed = [f"- {sentence(each)}" for each in found if not each["met"]]
    lines = [f"{len(found) - len(missed)} of {len(found)} goals are met."]
    return "\n".join([*lines, "", *missed]) if missed else lines[0]


def measured(name: str, data: dict[str, Any]) -> str:
    """Return the plots, tables and goals of a run, on each kind of database that it was made."""
    runs = [run for run in data["runs"].values() if run["page"] == name]
    if not runs:
        return "*Not measured on this machine.*"
    images = [f"![{alt}](images/{file}.svg)" for file, alt in PLOTS.get(name, ())]
    return "\n\n".join([*images, *tables(runs), *(conditions(run) for run in runs)])


def tables(runs: list[dict[str, Any]]) -> list[str]:
    """Return each table once, with the rows of all runs."""
    found: dict[str, tuple[list[str], list[Any]]] = {}
    for table in (table for run in runs for table in run["tables"]):
        found.setdefault(table["name"], (table["columns"], []))[1].extend(table["rows"])
    return [markdown(*table) for table in found.values()]


def conditions(run: dict[str, Any]) -> str:
    """Return the goals of a run, and when, how and beside what other load it was measured."""
    load = " and ".join(f"{each:.1f}" for each in run["load"])
    lines = [f"- {sentence(each)}" for each in run["goals"]]
    store = f" on {run['store']}" if run["store"] else ""
    lines.append(
        f"- `{run['command']}`{store}: {run['date']}, {run['seconds']:.0f} s,"
        f" load {load} at its start and end"
    )
    return "\n".join(lines)
