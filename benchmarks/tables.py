"""The tables of the benchmarks: printed as Markdown, and kept for the page of results.

BENCHMARK_TABLES names the JSON file to keep them in; `python -m benchmarks` sets it for each.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Cell = str | int | float
FILE = "BENCHMARK_TABLES"

kept: dict[str, list[dict[str, Any]]] = {"tables": [], "goals": []}


def show(name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table, and keep it under this name."""
    rounded = [[exact(cell) for cell in row] for row in rows]
    print(f"\n{markdown(columns, rounded)}", flush=True)
    kept["tables"].append({"name": name, "columns": list(columns), "rows": rounded})
    save()


def goal(what: str, found: float, bound: float, unit: str = "", *, at_least: bool = False) -> bool:
    """Print and keep a goal, and return whether it is met."""
    met = found >= bound if at_least else found <= bound
    kept["goals"].append(
        {
            "what": what,
            "found": exact(found),
            "bound": bound,
            "unit": unit,
            "at_least": at_least,
            "met": met,
        }
    )
    print(sentence(kept["goals"][-1]), flush=True)
    save()
    return met


def save() -> None:
    if name := os.environ.get(FILE):
        Path(name).write_text(json.dumps(kept))


def exact(cell: Cell) -> Cell:
    """Return a float with the four digits that anybody could measure again."""
    return float(f"{cell:.4g}") if isinstance(cell, float) else cell


def sentence(kept_goal: dict[str, Any]) -> str:
    """Say what a goal is, and whether it is met."""
    unit = f" {kept_goal['unit']}" if kept_goal["unit"] else ""
    side = "at least" if kept_goal["at_least"] else "at most"
    return (
        f"{'met' if kept_goal['met'] else 'MISSED'}: {kept_goal['what']}:"
        f" {shown(kept_goal['found'])}{unit}, goal {side} {shown(kept_goal['bound'])}{unit}"
    )


def markdown(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    lines = [columns, ["---"] * len(columns), *([shown(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(cell: Cell) -> str:
    """Return a cell as people read it: more digits the smaller it is."""
    if isinstance(cell, str):
        return cell
    size = abs(cell)
    digits = 0 if isinstance(cell, int) or size >= 100 else 1 if size >= 10 else 2
    return f"{cell:,.{digits}f}"
