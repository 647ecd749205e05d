"""The plots of the page of results, from its figures: python -m benchmarks.plots

Text stays text, the ground is transparent and all colours are of middle brightness, so that they
read on light pages and dark ones. The same figures give the same bytes. No colour tells anything
alone: each bar has its name and figure beside it, each line has a marker of its own.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.results import PLOTS
from benchmarks.tables import shown

DOCS = Path(__file__).parents[1] / "docs"
INK, OURS, PEER, THIRD = "#808080", "#2b7fc4", "#b8701f", "#4b9a52"
GOALS = "#c2410c"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "results",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.transparent": True,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
}
Rows = list[list[Any]]


def draw(data: dict[str, Any], folder: Path) -> None:
    """Draw what was measured, each plot into its file."""
    with mpl.rc_context(STYLE):
        for page, plots in PLOTS.items():
            runs = [run for run in data["runs"].values() if run["page"] == page]
            for name, alt in plots if runs else ():
                figure = DRAWN[name](runs)
                metadata = {"Title": alt, "Date": None, "Creator": None}
                figure.savefig(
                    folder / f"{name}.svg", metadata=metadata, bbox_inches="tight", pad_inches=0.1
                )


def rows(runs: list[dict[str, Any]], table: str) -> Rows:
    return [
        row
        for run in runs
        for each in run["tables"]
        if each["name"] == table
        for row in each["rows"]
    ]


def canvas(height: float, columns: int = 1, lines: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    return figure, list(axes.flat)


def bars(axes: Axes, names: Sequence[str], values: Sequence[float], colours: Sequence[str]) -> None:
    """Draw bars that lie, the first one on top, each with its figure."""
    drawn = axes.barh([textwrap.fill(name, 44) for name in names], values, color=colours)
    axes.bar_label(drawn, [shown(float(value)) for value in values], padding=3, color=INK)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.tick_params(axis="y", length=0)


def lines(axes: Axes, series: dict[str, tuple[Sequence[float], Sequence[float]]]) -> None:
    styles = zip("os^", (OURS, PEER, THIRD), ("-", "--", ":"), strict=True)
    for (name, (x, y)), (marker, colour, dashes) in zip(series.items(), styles, strict=False):
        axes.plot(x, y, marker=marker, color=colour, linestyle=dashes, label=name)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=INK, alpha=0.25)


def legend(figure: Figure, axes: Axes) -> None:
    """Name the lines below everything else."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)


def bound(figure: Figure, axes: Axes, value: float, name: str) -> None:
    axes.axvline(value, color=GOALS, linestyle="--", label=name)
    legend(figure, axes)


def powers(axes: Axes, ticks: Sequence[float]) -> None:
    """Let each step to the right be ten times as much."""
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axes.minorticks_off()


def protection(runs: list[dict[str, Any]]) -> Figure:
    found = rows(runs, "requests")
    found[1:] = sorted(found[1:], key=lambda row: not row[0].startswith("this service"))
    admitted = [row for row in found[1:] if "refused" not in row[0]]
    refused = [found[0], *(row for row in found[1:] if "refused" in row[0])]
    figure, (above, below) = canvas(6.4, lines=2)
    bars(above, *named([(row[0], row[4]) for row in admitted]))
    above.set_title("What a request that is let in costs more than without")
    bars(below, *named([(row[0], row[1]) for row in refused]))
    below.set_title("What a request that is refused costs")
    for axes in (above, below):
        axes.set_xlabel("µs of CPU time, least of all rounds")
    return figure


def named(pairs: list[tuple[str, float]]) -> tuple[list[str], list[float], list[str]]:
    """Return names, figures and colours of bars: ours, bare Django, and what others do."""
    colours = [
        OURS if name.startswith("this service") else INK if name.startswith("bare") else PEER
        for name, _ in pairs
    ]
    return [name for name, _ in pairs], [value for _, value in pairs], colours


def decisions(runs: list[dict[str, Any]]) -> Figure:
    found = rows(runs, "decisions")
    sizes = [row[0] for row in found]
    figure, (axes,) = canvas(3.4)
    series = {
        "a client that is new": (sizes, [row[1] for row in found]),
        "a client that came before": (sizes, [row[3] for row in found]),
    }
    lines(axes, series)
    powers(axes, sizes)
    legend(figure, axes)
    axes.set_title("A decision, by the length of the list")
    axes.set_xlabel("rules on the list")
    axes.set_ylabel("µs of CPU time")
    return figure


def writing(runs: list[dict[str, Any]]) -> Figure:
    figure, panels = canvas(2.2 * len(runs), columns=2, lines=len(runs))
    for number, run in enumerate(runs):
        found = rows([run], "ways")
        names = [row[1] for row in found]
        colours = [OURS if name.startswith("journal") else PEER for name in names]
        in_request, in_all = panels[2 * number : 2 * number + 2]
        bars(in_request, names, [row[2] for row in found], colours)
        bars(in_all, names, [row[4] for row in found], colours)
        in_all.set_yticklabels([])
        in_request.set_title(f"{run['store']}: in the request")
        in_all.set_title("until it is stored")
        for axes in (in_request, in_all):
            axes.set_xlabel("µs of CPU time for a row")
    return figure


def draining(runs: list[dict[str, Any]]) -> Figure:
    found = [(f"{run['store']}, {row[1]}", row[3]) for run in runs for row in rows([run], "rates")]
    figure, (axes,) = canvas(2.6)
    bars(axes, [name for name, _ in found], [rate for _, rate in found], [OURS] * len(found))
    goal = runs[0]["goals"][0]["bound"]
    bound(figure, axes, goal, f"goal of the journal: at least {goal:,}")
    axes.set_title("Rows that reach the database, with places and tags")
    axes.set_xlabel("rows in a second")
    return figure


def detection(runs: list[dict[str, Any]]) -> Figure:
    figure, (axes,) = canvas(1 + 1.1 * len(runs))
    found = [
        (f"{run['store']}, {row[1]:,} rows over {row[2]} hours", row[4], colour)
        for run, colour in zip(runs, (OURS, THIRD), strict=False)
        for row in rows([run], "runs")
    ]
    names, values, colours = zip(*found, strict=True)
    bars(axes, names, values, colours)
    goal = runs[0]["goals"][0]["bound"]
    bound(figure, axes, goal, f"goal: at most {goal} ms")
    axes.set_title("A detection run over the last hour")
    axes.set_xlabel("ms of wall time, least of all rounds")
    return figure


def pages(runs: list[dict[str, Any]]) -> Figure:
    found = rows(runs, "pages")
    series: dict[str, tuple[list[float], list[float]]] = {}
    for name, least, *_ in found:
        who, _, page = name.rpartition(", page ")
        title = "Strawberry-Django, by offset" if who.startswith("stock") else who
        x, y = series.setdefault(title, ([], []))
        x.append(float(page.replace(",", "")))
        y.append(least)
    figure, (axes,) = canvas(3.4)
    lines(axes, dict(sorted(series.items(), reverse=True)))
    powers(axes, sorted({page for x, _ in series.values() for page in x}))
    legend(figure, axes)
    axes.set_title("A page of 50 requests, by how deep it lies")
    axes.set_xlabel("page")
    axes.set_ylabel("ms of CPU time")
    return figure


def scaling(runs: list[dict[str, Any]]) -> Figure:
    found = rows(runs, "workers")
    names = list(dict.fromkeys(row[1] for row in found))
    figure, (rate, cpu) = canvas(3.4, columns=2)
    for axes, column, title in ((rate, 2, "requests in a second"), (cpu, 4, "µs of CPU time")):
        mine = {name: [row for row in found if row[1] == name] for name in names}
        lines(
            axes,
            {
                name: ([row[0] for row in each], [row[column] for row in each])
                for name, each in mine.items()
            },
        )
        axes.set_xticks(sorted({row[0] for row in found}))
        axes.set_xlabel("web workers")
        axes.set_ylabel(title)
    rate.set_title("Answered under load")
    cpu.set_title("What a request costs, its row stored")
    legend(figure, rate)
    return figure


DRAWN: dict[str, Callable[[list[dict[str, Any]]], Figure]] = {
    f"results-{draws.__name__}": draws
    for draws in (protection, decisions, writing, draining, detection, pages, scaling)
}

if __name__ == "__main__":
    draw(json.loads((DOCS / "results.json").read_text()), DOCS / "images")
