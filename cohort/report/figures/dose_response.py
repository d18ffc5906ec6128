"""Dose against response: the predicted means with their intervals, the observed ones beside them."""

from typing import Any

from cohort.display.style import OBSERVED, PREDICTED, grid, svg
from cohort.study import Study, dose_unit, is_mass


def doses_differ(study: Study, arms: list[str]) -> bool:
    """Whether there is something to draw: two doses or more of one thing, or one and none; given as planned, by one
    route. What a rule sets, or further regimens add, is no dose of the arm's."""
    own = [study.arms[name] for name in arms]
    routes = {arm.route for arm in own if arm.dose is not None}
    return len(routes) == 1 and len({str(arm.dose) for arm in own}) > 1 and not any(arm.rule or arm.also for arm in own)


def dose_response(study: Study, rows: list[dict[str, Any]], endpoint: str, unit: str) -> str:
    """rows: means of the endpoint, as the comparison lists them. A panel per dosing interval and kind of dose."""
    intervals: dict[tuple[str, str], list[str]] = {}
    for name, arm in study.arms.items():
        if arm.dose is not None:
            told = "mg" if is_mass(arm.dose) else arm.dose.unit
            intervals.setdefault((f"every {arm.every}", told), []).append(name)
    by_arm = {row["arm"]: row for row in rows if row["kind"] == "mean"}
    figure, axes = grid(len(intervals), len(intervals), 3.2, sharey=True)
    for axis, ((label, told), arms) in zip(axes, intervals.items(), strict=True):
        controls = sorted({c for a in arms if (c := study.arms[a].control)})
        controls = [a for a in controls if dose_unit([d for d in (study.arms[a].dose, study.arms[arms[0]].dose) if d])]
        shown = [a for a in [*controls, *arms] if a in by_arm]
        doses = [dose.to(told) if (dose := study.arms[a].dose) else 0.0 for a in shown]
        step = max([*doses, 1.0]) * 0.022
        for x, name in zip(doses, shown, strict=True):
            row = by_arm[name]
            low, high, centre = row["low_0.95"], row["high_0.95"], row["predicted"]
            axis.plot([x - step] * 2, [low, high], color=PREDICTED, alpha=0.3, lw=5, solid_capstyle="butt")
            spread = 1.96 * row["predicted_sd"]
            axis.plot([x - step] * 2, [centre - spread, centre + spread], color=PREDICTED, lw=2)
            axis.plot(x - step, centre, "o", color=PREDICTED, ms=5)
            axis.errorbar(x + step, row["observed"], 1.96 * row["se"], fmt="D", color=OBSERVED, ms=4.5, lw=1.5)
        axis.axhline(0, color="#bbb", lw=0.8, zorder=0)
        axis.set_title(label)
        axis.set_xlabel(f"dose ({told})")
        axis.set_xticks(sorted(set(doses)), [f"{d:g}" if d else "placebo" for d in sorted(set(doses))])
    axes[0].set_ylabel(f"mean of {endpoint.replace('_', ' ')} ({unit})")
    axes[-1].plot([], [], "o", color=PREDICTED, label="predicted")
    axes[-1].errorbar([], [], [], fmt="D", color=OBSERVED, label="observed, 95 % CI")
    axes[-1].legend(loc="upper right")
    return svg(figure, "Dose and response, predicted and observed")
