"""From the volunteers to the study's model: only through a share of S-warfarin and a link of activity to the INR.

The study's model runs for virtual people of the volunteers' ages, weights and doses, with genotypes of the study's own
people. Once with its own pharmacokinetics; and once driven by the volunteers' fitted concentrations, so that what is
left to differ is how the effect follows. Both under each reading of the transit time.

References
----------
[1] Clearances at steady state, 2.80 mL/h/kg of S- and 2.30 of R-warfarin, from ten
    patients, Chirality 1997, 9:13; abstract read.
[2] Activity against INR, medicalalgorithms.com, "Estimating the percent prothrombin complex activity from the INR",
    which names figure 1 on page 680 of a paper that could not be seen: second hand, unverified.
"""

from typing import Any

import numpy as np

from cohort.chapters.warfarin_volunteers.population import MODEL, Fit, all_solved
from cohort.engine import Numerics, solve
from cohort.library import load
from cohort.results import Results

S_SHARE = (1 / 2.80) / (1 / 2.80 + 1 / 2.30)  # of the total concentration [1]: 0.45
ACTIVITY = np.array([10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 100.0])  # percent of normal [2]
INR = np.array([4.45, 2.9, 2.35, 2.0, 1.75, 1.5, 1.0])
COPIES = 100  # replicates of the volunteers
CHAINS_OF = (11.6, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 69.6)  # h, the whole fast chain; the last is 6 x 11.6
SOURCES = ("own", "volunteers")  # of the concentrations


def activity(inr: np.ndarray) -> np.ndarray:
    """Percent of normal by [2], lines between logarithms; the outer lines go on."""
    x, y = np.log(INR[::-1]), np.log(ACTIVITY[::-1])
    slope = (y[-1] - y[-2]) / (x[-1] - x[-2])
    at = np.log(np.maximum(inr, 1.0))
    return np.exp(np.where(at > x[-1], y[-1] + slope * (at - x[-1]), np.interp(at, x, y)))


def observed(fit: Fit) -> list[dict[str, Any]]:
    """Mean activity by time, with its standard error."""
    _, time, value = fit.who.rows("pca")
    return [
        {
            "time": float(t),
            "n": int((time == t).sum()),
            "mean": float(value[time == t].mean()),
            "se": float(value[time == t].std(ddof=1) / np.sqrt((time == t).sum())),
        }
        for t in np.unique(time)
    ]


def predicted(results: Results, fit: Fit, seed: int) -> dict[str, Any]:
    """Mean activity of n such people at the volunteers' times, with the 95 % predictive interval of that mean, by
    reading and source of the concentrations; by length of the fast chain, how far the means are off; and the share of
    S-warfarin in the exposure that would reconcile the two pharmacokinetics."""
    model = load(results.study.model, results.study.path.parent)
    rng, n = np.random.default_rng(seed), fit.who.n
    levels = {name: meta["levels"] for name, meta in model.covariates.fields().items() if meta.get("levels")}
    lanes = n * COPIES
    own = results.enrolled.sample(lanes, with_replacement=True, seed=seed)
    columns = {name: own[name] for name in ("CYP2C9", "VKORC1")}
    columns = {name: np.array([levels[name].index(v) for v in column]) for name, column in columns.items()}
    people = {name: np.tile(fit.who.people[name].to_numpy().astype(float), COPIES) for name in ("age", "weight")}
    # What the dosing algorithms alone read, of whom nobody is dosed here.
    rest = {name: np.zeros(lanes) for name in model.covariates.fields()} | {"height": np.full(lanes, 170.0)}
    rest["bsa"] = np.full(lanes, 1.8)
    z = {name: np.zeros(lanes) if name.startswith("luck") else rng.standard_normal(lanes) for name in model.effects()}
    times = [row["time"] for row in observed(fit)]
    seen = np.array([row["mean"] for row in observed(fit)])
    who, when, _ = fit.who.rows("pca")
    measured = np.zeros((n, len(times)), bool)
    measured[who, np.searchsorted(times, when)] = True

    drawn = load(MODEL)
    means = {name: fit.individual(name) for name in ("ka", "cl", "v")}
    size = fit.who.people["weight"].to_numpy() / 70
    theirs = {
        "ka": np.tile(means["ka"], COPIES),
        "cl": np.tile(means["cl"] * size ** drawn.typical()["weight_on_cl"], COPIES),
        "v": np.tile(means["v"] * size ** drawn.typical()["weight_on_v"], COPIES),
    }
    lag = float(fit.draws["lag"].to_numpy().mean())

    def course(reading: str, source: str, chain: float | None = None) -> np.ndarray:
        """Mean activity of each copy, at each time of those who were measured then, (copies, times)."""
        x = model.covariates(
            **(rest | people | columns | {"reading": np.full(lanes, levels["reading"].index(reading))})
        )
        values = model.typical() | ({} if chain is None else {"mtt1": chain})
        p = model.subject(values, z, x)
        delay = 0.0
        if source == "volunteers":
            p, delay = p.replace(**theirs, q=0.0, share=S_SHARE), lag
        p = p.replace(**{k: np.broadcast_to(np.asarray(v, float), lanes) for k, v in vars(p).items()})
        numerics = Numerics(solver="explicit", rtol=1e-6, atol=1e-6)
        outputs, status = solve(model, p, fit.who.events(COPIES, delay), times, numerics=numerics)
        all_solved(status, f"the reading {reading}")
        return activity(np.asarray(outputs.inr)).reshape(COPIES, n, len(times)).mean(axis=1, where=measured)

    by_reading = []
    for reading in levels["reading"]:
        for source in SOURCES:
            found = course(reading, source)
            low, high = np.quantile(found, [0.025, 0.975], axis=0)
            by_reading.append(
                {
                    "reading": reading,
                    "source": source,
                    "mean": found.mean(axis=0).tolist(),
                    "mcse": (found.std(axis=0, ddof=1) / np.sqrt(COPIES)).tolist(),
                    "low": low.tolist(),
                    "high": high.tolist(),
                    "off": float(np.sqrt(((found.mean(axis=0) - seen)[1:] ** 2).mean())),
                    "lowest": float(times[int(found.mean(axis=0).argmin())]),
                }
            )
    by_chain = [
        {"source": source, "chain": chain, "off": float(np.sqrt(((found - seen)[1:] ** 2).mean()))}
        for source in SOURCES
        for chain in CHAINS_OF
        for found in (course("six_spans", source, chain).mean(axis=0),)
    ]
    x = model.covariates(**(rest | people | columns))  # clearance knows no reading
    s_clearance = np.asarray(model.subject(model.typical(), z, x).cl)
    total = theirs["cl"]
    return {
        "observed": observed(fit),
        "readings": by_reading,
        "chains": by_chain,
        "s_share": float(np.median(0.5 * total / s_clearance)),
        "lowest": float(times[int(seen.argmin())]),
    }
