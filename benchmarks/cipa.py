"""Beats of the CiPA cell a core paces in a second, beside what C and CVODE were measured at.

    python -m benchmarks.cipa

One thread, a batch of drugged cells whose kinetics differ, from the steady state; compiled before the clock starts. The
reference is 39 s for 1,000 beats on one core, C with CVODE's BDF at rtol 1e-6, measured once on another machine.
"""

import time

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from cohort.engine import Numerics
from cohort.library import load
from cohort.pharmacometrics import beats

CVODE = 1000 / 39  # beats a second
FULL = 28 * 2000 * 4 * 1000  # beats: drugs, samples, concentrations, beats
TOLERANCES = ((1e-6, 1e-8), (1e-5, 1e-7), (1e-4, 1e-6))


def measured(cells: int, paced: int, rtol: float, atol: float) -> float:
    """Beats a second of one core. Cells are bathed in dofetilide, 0 to 8 nM, so that no two take the same steps."""
    model = load("cipa")
    dofetilide = {"kmax": 35.1, "ku": 1.816e-5, "n": 1.08, "halfmax": 216.6, "vhalf": -1.0}  # models/cipa.py
    p = beats.cells(model, cells, concentration=np.linspace(0, 8, cells), **dofetilide)
    numerics = Numerics(solver="stiff", rtol=rtol, atol=atol)
    beats.pace(model, p, 1, numerics=numerics)  # compiles
    start = time.perf_counter()
    table = beats.pace(model, p, paced, numerics=numerics)
    seconds = time.perf_counter() - start
    if (table["code"] != 0).any():
        raise RuntimeError("a cell could not be solved; a rate over failures says nothing")
    return cells * paced / seconds


def main(cells: int = 32, paced: int = 100) -> None:
    """Print beats per core-second at three tolerances, the ratio to CVODE, and the projected hours of the full run."""
    table = Table("rtol", "beats a core-second", "times CVODE", "core-hours of 224 million beats")
    for rtol, atol in TOLERANCES:
        rate = measured(cells, paced, rtol, atol)
        table.add_row(f"{rtol:g}", f"{rate:,.0f}", f"{rate / CVODE:.0f}", f"{FULL / rate / 3600:.1f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
