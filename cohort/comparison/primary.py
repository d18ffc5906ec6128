"""The planned comparison of a treatment with its control, which borrows from the virtual control: not at all, robustly,
fully, and by other methods, side by side; and what would turn the decision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from cohort.borrowing.borrowed import Borrowed, updated, vague
from cohort.borrowing.commensurate import Commensurability, commensurate
from cohort.borrowing.compare import table
from cohort.borrowing.conflict import curve, normal_outcomes
from cohort.borrowing.power import fixed
from cohort.borrowing.robust import robust
from cohort.borrowing.sam import sam
from cohort.borrowing.trials import Normal
from cohort.borrowing.virtual import Capped, capped
from cohort.comparison.learning import Prior
from cohort.comparison.predict import ArmPrediction
from cohort.decision.criteria import Decision, Finding, evaluate, evaluate_exactly
from cohort.mixture import BetaMixture, NormalMixture, difference
from cohort.mixture.size import ess
from cohort.study import ComparisonPlan

WEIGHTS = (0.1, 0.2, 0.5, 0.8, 0.9)  # on the virtual part, beside the planned one
FLAT = 100.0  # patients' SDs: as good as no prior on an arm that borrows nothing
MATTERS = 0.25  # of a patient's SD, an assumption: the difference that SAM and commensurate borrowing take to matter
PLANNED = ("learnt", "assumed")  # the discrepancy that the plan rests on: learnt where there are trials


@dataclass(frozen=True)
class Seen:
    """The arms' published means, standard errors and numbers of patients."""

    treatment: Normal
    control: Normal
    n_treatment: int
    n_control: int


@dataclass(frozen=True)
class Setting:
    """What is fixed before an outcome is read: the plan, the priors of the virtual control by discrepancy, each with
    the cap, and the standard deviation `sigma` of one patient's value, as virtual trials measure it."""

    plan: ComparisonPlan
    decision: Decision
    virtual: dict[str, Prior]
    capped: dict[str, Capped]
    cap: int
    sigma: float
    level: float

    @property
    def planned(self) -> str:
        return next(label for label in PLANNED if label in self.capped)

    @property
    def vague(self) -> NormalMixture:
        """Worth one patient, about the virtual mean."""
        return vague(Normal(0.0, 1.0), mean=self.capped[self.planned].prior.mean, unit_sd=self.sigma)

    @property
    def flat(self) -> NormalMixture:
        return NormalMixture([1.0], [self.capped[self.planned].prior.mean], [FLAT * self.sigma])


def setting(
    plan: ComparisonPlan, decision: Decision, virtual: dict[str, Prior], control: ArmPrediction, cap: int, level: float
) -> Setting:
    """decision: in the endpoint's unit; cap: most patients that the virtual control may be worth."""
    sigma = float(np.sqrt(np.mean(control.sd**2)))
    held = {label: capped(prior.mixture, cap, sigma=sigma) for label, prior in virtual.items()}
    return Setting(plan, decision, virtual, held, cap, sigma, level)


def priors_table(found: Setting) -> list[dict[str, Any]]:
    """Per discrepancy: the virtual control's prior, capped, and its effective sample size by three definitions."""
    rows = []
    for label, prior in found.virtual.items():
        held = found.capped[label]
        low, high = held.prior.interval(found.level)
        row: dict[str, Any] = {
            "discrepancy": label,
            "mean": held.prior.mean,
            "sd": held.prior.sd,
            "low": low,
            "high": high,
            "components": held.prior.components,
            "error": prior.error,
            "elir_before": held.ess_before,
            "elir": held.ess,
            "moment": float(ess(held.prior, method="moment", sigma=found.sigma)),
            "morita": float(ess(held.prior, method="morita", sigma=found.sigma)),
            "stretch": held.stretch,
            "cap": found.cap,
            "planned": label == found.planned,
        }
        for name in ("mu_d", "tau_d", "tau_arm"):
            mean, sd = getattr(prior.virtual, name) if prior.virtual else (None, None)
            row |= {name: mean, f"{name}_sd": sd}
        rows.append(row)
    return rows


def components(mixture: NormalMixture) -> dict[str, list[float]]:
    """A mixture as plain values: what `NormalMixture` takes."""
    return {"weight": mixture.weight.tolist(), "mean": mixture.means.tolist(), "sd": mixture.sds.tolist()}


def robust_part(found: Setting, label: str, weight: float) -> NormalMixture:
    return found.capped[label].prior.robust(1 - weight, found.vague)


def borrowed(found: Setting, seen: Seen) -> list[Borrowed]:
    """The control arm by each method: not borrowing, robustly at each discrepancy, by other methods, fully."""
    trial, vague_weight = seen.control, 1 - found.plan.weight
    prior = found.capped[found.planned].prior
    historical = Normal(prior.mean, prior.sd)
    matters = MATTERS * found.sigma
    rows = [Borrowed("no borrowing", updated(found.flat, trial), 0.0)]
    for label in found.capped:
        if label != "learnt, scales halved":
            informative = found.capped[label].prior
            name = f"robust, discrepancy {label}"
            rows.append(robust(trial, informative, found.vague, weight_on_vague=vague_weight, method=name))
    others = {
        "power prior, a0 = .5": fixed(trial, historical, 0.5),
        "commensurate, half-normal": commensurate(trial, historical, Commensurability("half-normal", a=matters)),
        "SAM": sam(trial, prior, found.vague, delta=matters),
    }
    rows += [replace(one, method=name) for name, one in others.items()]
    return [*rows, Borrowed("full borrowing", updated(found.virtual["none"].mixture, trial), 1.0)]


def judged(found: Setting, treatment: NormalMixture, control: Any) -> dict[str, Any]:
    """The difference of two arms' posteriors, each criterion's probability, and the decision: exact, no simulation.
    `spare`: the least probability minus its cut, towards the decision."""
    low, high = difference.interval(treatment, control, found.level)
    arms = {found.plan.treatment: treatment, found.plan.control: control}
    findings = evaluate_exactly(found.decision, arms).findings
    return {
        "difference": treatment.mean - control.mean,
        "difference_sd": float(np.hypot(treatment.sd, control.sd)),
        "difference_low": low,
        "difference_high": high,
        "criteria": [{"criterion": str(f.criterion), "p": f.probability, "met": bool(f.met)} for f in findings],
        "decision": all(f.met for f in findings),
        "spare": min(_spare(f) for f in findings),
    }


def _spare(finding: Finding) -> float:
    over = finding.probability - finding.criterion.cut
    return over if finding.criterion.exceeds else -over


def methods_table(found: Setting, seen: Seen) -> list[dict[str, Any]]:
    """Per method: the control's posterior with its equal-tailed interval, the difference, the decision, the weight of
    the virtual part after the data, and how many patients were borrowed."""
    treatment = updated(found.flat, seen.treatment)
    methods = borrowed(found, seen)
    side_by_side = table(methods, subjects=seen.n_control, level=found.level).to_dicts()
    return [
        {
            **{key: row[key] for key in ("method", "mean", "sd", "low", "high", "weight_is", "uses_data_twice")},
            "weight": None if np.isnan(row["weight"]) else row["weight"],
            "patients": row["subjects_borrowed"],
            "planned": one.method == f"robust, discrepancy {found.planned}",
            **judged(found, treatment, one.posterior),
        }
        for one, row in zip(methods, side_by_side, strict=True)
    ]


def sensitivity_table(found: Setting, seen: Seen) -> list[dict[str, Any]]:
    """The planned analysis with one thing changed at a time: weight, discrepancy, the vague part, the cap."""
    treatment = updated(found.flat, seen.treatment)
    rows = []

    def add(what: str, value: str, prior: NormalMixture) -> None:
        after = prior.updated(float(seen.control.y[0]), float(seen.control.se[0]))
        rows.append(
            {
                "what": what,
                "value": value,
                "mean": after.mean,
                "sd": after.sd,
                "weight": 1 - float(after.weight[-1]),
                **judged(found, treatment, after),
            }
        )

    weight, planned = found.plan.weight, found.planned
    add("as planned", "", robust_part(found, planned, weight))
    for w in WEIGHTS:
        add("weight on the virtual part", f"{w:g}", robust_part(found, planned, w))
    for label in found.capped:
        add("discrepancy", label, robust_part(found, label, weight))
    for factor in (2.0, 5.0):
        wide = NormalMixture([1.0], [found.vague.mean], [factor * found.sigma])
        prior = found.capped[planned].prior.robust(1 - weight, wide)
        add("vague part", f"{factor:g} patients' SDs wide", prior)
    uncapped = found.virtual[planned].mixture.robust(1 - weight, found.vague)
    add("cap", "none", uncapped)
    return rows


def conflict(found: Setting, seen_se: float, half_width: float, points: int = 161) -> dict[str, Any]:
    """Weight of the virtual part after a control mean at each distance from the virtual one. seen_se: standard error of
    the control's mean; half_width: how far, in the endpoint's unit."""
    centre = found.capped[found.planned].prior.mean
    off = np.linspace(-half_width, half_width, points)
    curves = {}
    for label, held in found.capped.items():
        borrow = partial(robust, informative=held.prior, other=found.vague, weight_on_vague=1 - found.plan.weight)
        curves[label] = curve(borrow, normal_outcomes(centre + off, seen_se), centre=centre)["weight"].to_list()
    return {"off": off.tolist(), "weight": curves, "before": found.plan.weight, "centre": centre}


def tipping(found: Setting, seen: Seen, half_width: float, points: int = 241) -> dict[str, Any]:
    """The least probability-to-spare of the decision's criteria if the control's mean had been another, with and
    without borrowing, and the control means at which the decision turns."""
    treatment = updated(found.flat, seen.treatment)
    y, se = float(seen.control.y[0]), float(seen.control.se[0])
    at = np.linspace(y - half_width, y + half_width, points)
    curves: dict[str, list[float]] = {}
    turns: dict[str, list[float]] = {}
    for name, prior in (
        ("no borrowing", found.flat),
        ("robust", robust_part(found, found.planned, found.plan.weight)),
        ("full borrowing", found.virtual["none"].mixture),
    ):
        spare = [judged(found, treatment, prior.updated(value, se))["spare"] for value in at]
        curves[name] = spare
        turns[name] = _crossings(at, np.array(spare))
    return {"at": at.tolist(), "spare": curves, "turns": turns, "observed": y}


def _crossings(x: np.ndarray, y: np.ndarray) -> list[float]:
    """Where a curve passes zero, by interpolation."""
    at = np.flatnonzero(np.diff(np.sign(y)) != 0)
    return [float(x[i] - y[i] * (x[i + 1] - x[i]) / (y[i + 1] - y[i])) for i in at]


@dataclass(frozen=True)
class Counts:
    """Patients with the event, and patients, on placebo and on drug."""

    placebo: tuple[int, int]
    drug: tuple[int, int]


def benefit_and_risk(
    harm: Decision | None,
    rows: Sequence[Mapping[str, Any]],
    risks: Mapping[str, np.ndarray],
    counts: Mapping[str, Counts],
) -> dict[str, Any] | None:
    """The decision on benefit beside the one on harm. harm: in the plan's words; rows: of `methods_table`; counts: the
    trial's own, by event, judged under uniform priors, as the operating characteristics do; where it has none of an
    event, risks: (chains, draws) by name, as the calibration predicts them."""
    if harm is None:
        return None
    events = {name.rsplit(".", 1)[0] for name in harm.names}
    benefit = next(row for row in rows if row["planned"])["decision"]
    if events <= set(counts):
        rests_on = "the trial's own counts under uniform priors"
        uniform = BetaMixture([1.0], [1.0], [1.0])
        of = {f"{e}.placebo": uniform.updated(*counts[e].placebo) for e in events}
        of |= {f"{e}.drug": uniform.updated(*counts[e].drug) for e in events}
        verdict = evaluate_exactly(harm, of, units="1")
    elif set(harm.names) <= set(risks):
        rests_on = "the calibration's prediction: no counts of this trial were found"
        verdict = evaluate(harm, {name: risks[name] for name in harm.names}, units="1")
    else:
        missing = ", ".join(name for name in harm.names if name not in risks)
        why = f"{missing}: neither counted in this trial nor predicted"
        return {"harm": str(harm), "says": "no conclusion", "why": why, "criteria": [], "benefit": benefit}
    criteria = [
        {
            "criterion": str(f.criterion),
            "p": f.probability,
            "mcse": f.mcse,
            "met": bool(f.met),
            "sure": f.met is not None,
        }
        for f in verdict.findings
    ]
    unsure = any(not c["sure"] for c in criteria)
    says = "no conclusion" if unsure else "go" if benefit and all(c["met"] for c in criteria) else "no go"
    why = "too few draws for the probability of harm" if unsure else f"harm by {rests_on}"
    return {"harm": str(harm), "says": says, "why": why, "criteria": criteria, "benefit": benefit}
