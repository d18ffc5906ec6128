"""Draw results/benchmarks/engine.json: speed and error of every engine, threads, and a cohort that grows.

References
----------
[1] Tol 2021, Colour schemes, SRON/EPS/TN/09-002: the muted scheme, which the colour-blind can read.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import typer
from matplotlib.axes import Axes

from benchmarks.run import FOLDER, rounded
from benchmarks.workloads import WORKLOADS
from cohort.display.style import OBSERVED, PREDICTED, QUIET

# Ours in colour, the others grey: apart by their markers too.
STYLE: dict[str, tuple[str, str]] = {
    "cohort native": (PREDICTED, "o"),
    "cohort xla": (OBSERVED, "D"),
    "numbalsoda": (QUIET, "s"),
    "diffrax": (QUIET, "^"),
    "SciPy": (QUIET, "v"),
}
SHADES = dict(zip(WORKLOADS, ("#88ccee", "#332288", "#44aa99", "#cc6677", "#ddaa33"), strict=True))  # [1]


def power(value: float) -> str:
    """2e-6 as 2·10⁻⁶."""
    digit, exponent = f"{value:.0e}".split("e")
    return f"{digit}·10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def speed(axis: Axes, rows: list[dict[str, Any]], name: str) -> None:
    """Subjects per CPU-second of each engine, with the error it achieved."""
    for y, (engine, (colour, marker)) in enumerate(STYLE.items()):
        row = next((r for r in rows if r["engine"] == engine and r["threads"] == 1), None)
        axis.axhline(y, color="#eee", lw=0.8, zorder=0)
        if row is None:
            continue
        x = row["subjects_per_cpu_second"]
        error = "failed" if row["max_error"] is None else power(row["max_error"])
        axis.plot(x, y, marker, color=colour, ms=6)
        near: dict[str, Any] = {"textcoords": "offset points", "va": "center"}
        axis.annotate(rounded(x), (x, y), (7, 0), fontsize=8.5, **near)
        axis.annotate(error, (1, y), (6, 0), xycoords=("axes fraction", "data"), fontsize=8, color="#555", **near)
    axis.set_yticks(range(len(STYLE)), list(STYLE))
    axis.set_ylim(len(STYLE) - 0.4, -0.6)
    axis.set_title(f"{name}: {WORKLOADS[name].about}", fontsize=9)


def threads(axis: Axes, rows: list[dict[str, Any]], names: list[str]) -> None:
    """Wall-clock speed on two threads by that on one."""
    ours = [engine for engine in STYLE if engine.startswith("cohort")]
    for k, engine in enumerate(ours):
        of = {(r["workload"], r["threads"]): r["subjects_per_second"] for r in rows if r["engine"] == engine}
        x = [i for i, name in enumerate(names) if (name, 2) in of]
        ratios = [of[names[i], 2] / of[names[i], 1] for i in x]
        colour, marker = STYLE[engine]
        axis.plot(
            np.array(x) + 0.24 * (k - 0.5), ratios, marker, color=colour, ms=6, label=engine.removeprefix("cohort ")
        )
    axis.axhline(2, color="#bbb", lw=0.8, zorder=0)
    axis.axhline(1, color="#bbb", lw=0.8, zorder=0)
    axis.set_xticks(range(len(names)), names, fontsize=8)
    axis.set_ylim(0, 2.25)
    axis.set_title("Two threads by one, wall clock", fontsize=9)
    axis.legend(loc="lower left", fontsize=8, ncols=2, handletextpad=0.2)


def growth(axis: Axes, rows: list[dict[str, Any]], value: Callable[[dict[str, Any]], float], title: str) -> None:
    """Something of cohorts of growing size, native back end, on logarithmic axes."""
    for name in dict.fromkeys(row["workload"] for row in rows):
        mine = [row for row in rows if row["workload"] == name]
        axis.plot(
            [r["n"] for r in mine], [value(r) for r in mine], "o-", ms=3.5, lw=1.4, color=SHADES[name], label=name
        )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("subjects", fontsize=8.5)
    axis.minorticks_off()
    axis.set_title(title, fontsize=9)


def draw(measured: dict[str, Any]) -> Any:
    """measured: what `benchmarks.run` wrote."""
    rows = measured["rows"]
    names = [name for name in WORKLOADS if any(row["workload"] == name for row in rows)]
    figure = plt.figure(figsize=(10, max(5, 1.42 * len(names) + 0.6)))
    left, right = figure.add_gridspec(1, 2, width_ratios=(1.55, 1), wspace=0.06)
    axes = left.subgridspec(len(names), 1).subplots(sharex=True, squeeze=False)[:, 0]
    for axis, name in zip(axes, names, strict=True):
        speed(axis, [row for row in rows if row["workload"] == name], name)
        axis.set_xscale("log")
    span = [row["subjects_per_cpu_second"] for row in rows]
    axes[0].annotate("largest\nerror", (1, 1), (6, 3), xycoords="axes fraction", textcoords="offset points", fontsize=8)
    axes[-1].set_xlim(min(span) / 2, max(span) * 6)  # room for the numbers
    axes[-1].minorticks_off()
    axes[-1].set_xlabel("subjects per CPU-second (one thread)", fontsize=8.5)
    beside = right.subgridspec(3, 1).subplots(squeeze=False)[:, 0]
    threads(beside[0], rows, names)
    growth(beside[1], measured["growth"], lambda r: r["n"] / r["solving_s"], "Subjects per second, as a cohort grows")
    growth(beside[2], measured["growth"], lambda r: r["peak_mb"], "Peak memory (MB), as a cohort grows")
    beside[2].set_yscale("linear")
    beside[2].set_ylim(0, 1.6 * max(row["peak_mb"] for row in measured["growth"]))
    beside[2].legend(loc="upper left", fontsize=8, ncols=3, handletextpad=0.4, columnspacing=1)
    machine = measured["machine"]
    busy = "" if machine["alone"] else "; something else ran too, so the wall clock says little"
    figure.suptitle(
        f"{machine['processor']}, {machine['processors']} processors; float64{busy}", x=0.01, ha="left", fontsize=8
    )
    return figure


def main(folder: Annotated[Path, typer.Argument(help="Where engine.json is.")] = FOLDER) -> None:
    """Write engine.svg and engine.png beside engine.json."""
    figure = draw(json.loads((folder / "engine.json").read_text()))
    figure.savefig(folder / "engine.svg", metadata={"Date": None, "Title": "Speed and error of every engine"})
    figure.savefig(folder / "engine.png", dpi=200)


if __name__ == "__main__":
    typer.run(main)
