"""The chapter's figures."""

from typing import Any

import numpy as np
import polars as pl

from cohort.analysis.survival import Survival, kaplan_meier
from cohort.chapters.cdiscpilot.trial import ARMS, DAYS, END, VISITS
from cohort.display.style import DASHES, OBSERVED, PREDICTED, QUIET, grid, svg

COLOUR = dict(zip(ARMS, (QUIET, PREDICTED, OBSERVED), strict=True))
MARK = dict(zip(ARMS, "osD", strict=True))
DASH = dict(zip(ARMS, DASHES, strict=False))


def means(estimands: dict[str, pl.DataFrame], twins: dict[str, list[float]]) -> str:
    """estimands: by name, rows of kind `mean`; twins: mean predicted change by arm and visit."""
    figure, axes = grid(2, 2, 2.7, sharey=True)
    weeks = np.array(DAYS) / 7
    for axis, (name, rows) in zip(axes, estimands.items(), strict=True):
        for k, arm in enumerate(ARMS):
            own = rows.filter(pl.col("kind") == "mean", pl.col("arm") == arm)
            own = own.sort(pl.col("visit").replace_strict({v: j for j, v in enumerate(VISITS)}))
            x, mean = weeks + 0.4 * (k - 1), own["mean"].to_numpy()
            spread = [mean - own["low"].to_numpy(), own["high"].to_numpy() - mean]
            style = {"color": COLOUR[arm], "marker": MARK[arm], "ls": DASH[arm]}
            axis.errorbar(x, mean, yerr=spread, label=arm, ms=5, lw=1.6, elinewidth=1, **style)
        if name == "treatment policy":
            axis.plot(weeks, twins["placebo"], ls=":", lw=1.2, color="black", label="placebo's twins")
            axis.legend(loc="upper left", fontsize=8)
        axis.axhline(0, color="#bbb", lw=0.8, zorder=0)
        axis.set_title(name)
        axis.set_xlabel("weeks")
        axis.set_xticks(weeks)
    axes[0].set_ylabel("change of ADAS-Cog(11), points")
    return svg(figure, "Adjusted mean change of ADAS-Cog(11) by visit and arm, under two estimands")


def differences(rows: list[dict[str, Any]]) -> str:
    """rows: arm, words, mean, low, high."""
    words = list(dict.fromkeys(r["words"] for r in rows))
    figure, (axis,) = grid(1, 1, 0.42 * len(words) + 1.0)
    for r in rows:
        y = len(words) - 1 - words.index(r["words"]) + (0.14 if r["arm"] == "low dose" else -0.14)
        axis.plot([r["low"], r["high"]], [y, y], color=COLOUR[r["arm"]], lw=1.8)
        axis.plot(r["mean"], y, MARK[r["arm"]], color=COLOUR[r["arm"]], ms=5)
    for arm in ("low dose", "high dose"):
        axis.plot([], [], f"{MARK[arm]}-", color=COLOUR[arm], label=arm)
    axis.axvline(0, color="#bbb", lw=0.8, zorder=0)
    axis.set_yticks(range(len(words)), words[::-1])
    axis.set_ylim(-0.6, len(words) - 0.4)
    axis.set_xlabel("difference to placebo, points")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return svg(figure, "Difference to placebo at week 24 under every assumption")


def skin(data: Survival, ratios: pl.DataFrame) -> str:
    """Kaplan-Meier by arm, and hazard ratios by period. ratios: rows of kind `ratio`."""
    figure, axes = grid(2, 2, 2.9)
    for arm in ARMS:
        curve = kaplan_meier(data, arm)
        t = np.concatenate([[0.0], curve.time, [curve.last]])
        s = np.concatenate([[1.0], curve.value, curve.value[-1:]])
        axes[0].step(t, s, where="post", color=COLOUR[arm], ls=DASH[arm], lw=1.7, label=arm)
        low, high = (np.concatenate([[1.0], v, v[-1:]]) for v in (curve.low, curve.high))
        axes[0].fill_between(t, low, high, step="post", color=COLOUR[arm], alpha=0.13, lw=0)
    axes[0].set_xlabel("days since the first patch")
    axes[0].set_ylabel("free of a skin event")
    axes[0].set_xlim(0, END)
    axes[0].set_ylim(0, 1)
    axes[0].legend(loc="upper right", fontsize=8)
    for arm in ("low dose", "high dose"):
        own = ratios.filter(pl.col("arm") == arm).sort("start")
        start = own["start"].to_numpy()
        ends = np.append(start[1:], END)
        middle = (start + ends) / 2 + (1.0 if arm == "high dose" else -1.0)
        mean = own["mean"].to_numpy()
        spread = [mean - own["low"].to_numpy(), own["high"].to_numpy() - mean]
        axes[1].errorbar(middle, mean, yerr=spread, fmt=MARK[arm], color=COLOUR[arm], ms=5, elinewidth=1.2, label=arm)
    axes[1].axhline(1, color="#bbb", lw=0.8, zorder=0)
    axes[1].set_yscale("log")
    axes[1].set_yticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    axes[1].minorticks_off()
    axes[1].set_xlim(0, END)
    axes[1].set_xlabel("day, middle of the period")
    axes[1].set_ylabel("hazard ratio to placebo")
    axes[1].legend(loc="upper right", fontsize=8)
    return svg(figure, "Time to the first skin event by arm, and hazard ratios to placebo by period")


def twins(each: pl.DataFrame) -> str:
    """Places of what was seen in the twins' predictions, and observed against predicted change. each: of `scored`."""
    figure, axes = grid(4, 2, 2.4)
    bins = np.linspace(0, 1, 11)
    for axis, arm in zip(axes, ARMS, strict=False):
        own = each.filter(pl.col("arm") == arm)["place"].to_numpy()
        axis.hist(own, bins, color=COLOUR[arm], alpha=0.8)
        axis.axhline(len(own) / 10, color="black", lw=0.9, ls=":")
        axis.set_title(f"{arm}, {len(own)} scores")
        axis.set_xlabel("place in the twin's prediction")
        axis.set_ylabel("scores")
    axis = axes[3]
    for arm in ARMS:
        own = each.filter(pl.col("arm") == arm, pl.col("visit") == VISITS[-1])
        x, y = (own["predicted"] - own["before"]).to_numpy(), (own["observed"] - own["before"]).to_numpy()
        axis.plot(x, y, MARK[arm], color=COLOUR[arm], ms=3, alpha=0.7)
    reach = np.array(axis.get_xlim())
    axis.plot(reach, reach, color="black", lw=0.9, ls=":")
    axis.set_title("week 24")
    axis.set_xlabel("predicted change, points")
    axis.set_ylabel("observed change")
    return svg(figure, "Where observed scores lie in the predictions of each patient's twin")


def tipping(rows: pl.DataFrame) -> str:
    """Probability of benefit by what is added to values imputed after stopping. rows: of kinds `tipping, ...`."""
    figure, axes = grid(2, 2, 2.4, sharey=True)
    for axis, arm in zip(axes, ("low dose", "high dose"), strict=True):
        kinds = rows.filter(pl.col("arm") == arm)["kind"].unique(maintain_order=True).to_list()
        for kind, dash in zip(kinds, DASHES, strict=False):
            own = rows.filter(pl.col("arm") == arm, pl.col("kind") == kind).sort("delta")
            axis.plot(
                own["delta"], own["below"], color=COLOUR[arm], ls=dash, lw=1.6, label=kind.removeprefix("tipping, ")
            )
        axis.axhline(0.975, color="#888", lw=0.8)
        axis.axvline(0, color="#bbb", lw=0.8, zorder=0)
        axis.set_title(arm)
        axis.set_xlabel("added after stopping, points")
        axis.legend(loc="lower left", fontsize=8)
    axes[0].set_ylabel("probability of benefit")
    return svg(figure, "Probability of benefit by how much is added to values imputed after stopping")
