"""What the planned procedure does if the virtual control is off: exact operating characteristics over a grid of drift.

The prior of the virtual control, what it learnt elsewhere and its cap are held as they are when the trial starts; drift
is the distance of the true control from the virtual one. Nothing here has seen an outcome of the trial.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from cohort.comparison.predict import ArmPrediction
from cohort.comparison.primary import Setting, robust_part
from cohort.decision.assurance import average_type_1, over_draws
from cohort.decision.calibrate import calibrate
from cohort.decision.criteria import Decision
from cohort.decision.design import Arm, Design, upward
from cohort.decision.drift import Safety, table
from cohort.decision.exact import rate
from cohort.decision.examples import trace
from cohort.decision.sweet_spot import sweet_spot
from cohort.mixture import BetaMixture
from cohort.record import canonical, digest, plain, source_digest
from cohort.store import Job, Store, run

DRIFTS = 21  # points of the grid
BELIEVED = 4000  # draws of what is believed before the trial


@dataclass(frozen=True)
class Trial:
    """The planned trial: what is fixed, the two arms as predicted, and their planned numbers of patients."""

    found: Setting
    treatment: ArmPrediction
    control: ArmPrediction
    n_treatment: int
    n_control: int
    drift: float  # the grid goes this far on either side

    @property
    def centre(self) -> float:
        return self.found.capped[self.found.planned].prior.mean

    @property
    def effect(self) -> float:
        return float(self.treatment.theta.mean() - self.control.theta.mean())

    @property
    def null(self) -> float:
        """The difference at which the first criterion has its type I error: its threshold."""
        return upward(self.decision.criteria[0])[0]

    @property
    def alternatives(self) -> list[float]:
        """The predicted effect, and a quarter of its way from the null: at the whole of it every design may succeed."""
        return [self.effect, self.null + (self.effect - self.null) / 4]

    @property
    def analysed(self) -> tuple[float, float]:
        """Patients analysed of those planned, as virtual trials lose them; of the treatment arm as many as would tell
        as much with the control's standard deviation, for a design has one."""
        scale = float(np.mean(self.control.sd**2) / np.mean(self.treatment.sd**2))
        return float(self.treatment.n.mean()) * scale, float(self.control.n.mean())

    @property
    def span(self) -> tuple[float, float]:
        return -self.drift, self.drift

    @property
    def decision(self) -> Decision:
        """Of `treatment` and `control`, as designs name their arms."""
        named = {self.found.plan.treatment: "treatment", self.found.plan.control: "control"}
        return _renamed(self.found.decision, named)


def _renamed(what: Decision, named: Mapping[str, str]) -> Decision:
    return Decision(
        tuple(replace(c, first=named[c.first], second=named[c.second] if c.second else "") for c in what.criteria)
    )


def designs(trial: Trial) -> list[Design]:
    """The same trial without borrowing, with the planned borrowing and with full borrowing."""
    found = trial.found
    kinds = {
        "no borrowing": found.flat,
        "robust": robust_part(found, found.planned, found.plan.weight),
        "full borrowing": found.virtual["none"].mixture,
    }
    n_treatment, n_control = trial.analysed
    treatment = Arm(n_treatment, found.flat)
    return [
        Design(name, trial.decision, treatment, Arm(n_control, prior), sigma=found.sigma)
        for name, prior in kinds.items()
    ]


def first_alone(design: Design) -> Design:
    """The design judged by its first criterion only: the one whose type I error is held."""
    return replace(design, decision=Decision(design.decision.criteria[:1]))


def harm_of(trial: Trial, risks: Mapping[str, np.ndarray]) -> Safety | None:
    """The criteria of harm as a binary endpoint beside, judged on the trial's own counts under uniform priors, where
    the true difference is at the margin; None where none is planned, more than one event is meant, or it is not
    predicted."""
    plan = trial.found.plan
    names = {name for c in plan.harm.criteria for name in c.names} if plan.harm else set()
    events = {name.rsplit(".", 1)[0] for name in names}
    if plan.harm is None or len(events) != 1 or not names <= set(risks):
        return None
    event = events.pop()
    harm = _renamed(plan.harm.in_units("1"), {f"{event}.drug": "treatment", f"{event}.placebo": "control"})
    margins = [upward(c)[0] for c in harm.criteria if c.operation == "-"]
    background = float(risks[f"{event}.placebo"].mean())
    if not margins or background + max(margins) > 1:
        return None
    uniform = BetaMixture([1.0], [1.0], [1.0])
    design = Design("harm", harm, Arm(trial.n_treatment, uniform), Arm(trial.n_control, uniform))
    return Safety(design, treatment=background + max(margins), control=background)


def drift_table(trial: Trial, risks: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Per design, true effect (at each threshold of the decision, as predicted) and drift: how often the decision
    is positive and its first criterion met, bias, mean squared error, coverage and width of the interval, patients
    borrowed, patients needed, and how often it is positive although harm is present; exact, Monte Carlo error 0."""
    made = designs(trial)
    thresholds = [upward(c)[0] for c in trial.decision.criteria if c.second]
    effects = list(dict.fromkeys([*thresholds, trial.effect]))
    drifts = np.linspace(*trial.span, DRIFTS)
    found = table(
        made,
        centre=trial.centre,
        drifts=drifts,
        effects=effects,
        null=trial.null,
        level=trial.found.level,
        safety=harm_of(trial, risks),
    )
    rows = found.to_dicts()
    for design in made:
        own = [row for row in rows if row["design"] == design.name]
        truths = (np.array([row[arm] for row in own]) for arm in ("treatment", "control"))
        for row, alone in zip(own, rate(first_alone(design), *truths), strict=True):
            row["first"] = float(alone)
            row["n_expected"] = float(trial.n_treatment + trial.n_control)
    return rows


def calibrated_table(trial: Trial, allowed: float) -> list[dict[str, Any]]:
    """Per design: the largest type I error of the first criterion as it stands over the agreed drift, and the cut that
    keeps it at `allowed` there, and at any drift at all; with the power that is left at the predicted effect."""
    rows = []
    for design in designs(trial):
        alone = first_alone(design)
        scopes = slice(1) if design.name == "no borrowing" else slice(None)  # its error is the same at any drift
        for c in calibrate(
            alone,
            centre=trial.centre,
            within=trial.span,
            alpha=allowed,
            null=trial.null,
            alternatives=trial.alternatives,
        )[scopes]:
            power = c.power or (None, None)
            rows.append(
                {
                    "design": design.name,
                    "scope": c.scope,
                    "low": c.within[0],
                    "high": c.within[1],
                    "cut": c.cut,
                    "type_one": c.type_1,
                    "at_drift": c.at_drift,
                    "power": power[0],
                    "power_quarter": power[1],
                    "allowed": allowed,
                    "missed": c.type_1 is None or c.type_1 > allowed * (1 + 1e-4),
                }
            )
    return rows


def sweet(trial: Trial, allowed: float) -> dict[str, Any]:
    """Over which drift borrowing has a smaller mean squared error than none, and where type I error keeps to `allowed`.

    The effect for power is a quarter of the way from the null to the predicted one."""
    none, robust, _ = map(first_alone, designs(trial))
    spot = sweet_spot(
        robust,
        none,
        centre=trial.centre,
        within=trial.span,
        effect=trial.alternatives[1],
        alpha=allowed,
        null=trial.null,
    )
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else list(value) for name, value in vars(spot).items()
    }


def assurance_table(trial: Trial, seed: int) -> list[dict[str, Any]]:
    """Per design: how often the decision is positive averaged over what is believed before the trial, with its Monte
    Carlo standard error, and type I error (first criterion) averaged over the belief of the control. The belief (design
    prior) is the model's: the effect under its parameters' uncertainty, the control with its discrepancy; the prior of
    the analysis is the design's own."""
    found = trial.found
    belief = found.virtual[found.planned].mixture
    effect = trial.treatment.minus(trial.control)
    rng = np.random.default_rng(seed)
    controls = belief.sample(BELIEVED, seed)
    effects = rng.normal(trial.effect, effect.parameter_sd, BELIEVED)
    rows = []
    for design in designs(trial):
        assurance, mcse = over_draws(design, controls + effects, controls)
        rows.append(
            {
                "design": design.name,
                "assurance": assurance,
                "mcse": mcse,
                "power": float(rate(design, np.array([belief.mean + trial.effect]), np.array([belief.mean]))[0]),
                "type_one": average_type_1(first_alone(design), belief, trial.null),
                "effect": trial.effect,
                "effect_sd": effect.parameter_sd,
                "control": belief.mean,
                "control_sd": belief.sd,
            }
        )
    return rows


def examples(trial: Trial, seed: int) -> list[dict[str, Any]]:
    """Single simulated trials with planned borrowing, traced from the truth to the decision: no effect and the
    predicted one, without drift and with one of half the agreed range."""
    design = designs(trial)[1]
    rows: list[dict[str, Any]] = []
    for i, (drift, effect) in enumerate((d, e) for d in (0.0, trial.drift / 2) for e in (trial.null, trial.effect)):
        control = trial.centre + drift
        (row,) = trace(design, control + effect, control, seeds=[seed + i], level=trial.found.level).to_dicts()
        weights = row["control_posterior_weights"]
        rows.append(
            {
                "drift": drift,
                "effect": effect,
                "control_observed": row["control_observed"],
                "treatment_observed": row["treatment_observed"],
                "control_posterior": row["control_posterior"],
                "control_low": row["control_posterior_low"],
                "control_high": row["control_posterior_high"],
                "weight": 1 - weights[-1],
                "probabilities": "; ".join(f"{row[c.event]:.3f}" for c in design.decision.criteria),
                "decision": row["decision"],
            }
        )
    return rows


@dataclass(frozen=True)
class Asked:
    """What the tables are made from: the largest type I error allowed, a seed, and `identity`, a hash of it all."""

    trial: Trial
    risks: Mapping[str, np.ndarray]
    allowed: float
    seed: int
    identity: str


TABLES: dict[str, Callable[[Asked], Any]] = {
    "drift": lambda asked: drift_table(asked.trial, asked.risks),
    "calibrated": lambda asked: calibrated_table(asked.trial, asked.allowed),
    "sweet_spot": lambda asked: sweet(asked.trial, asked.allowed),
    "assurance": lambda asked: assurance_table(asked.trial, asked.seed),
}


def measured(asked: Asked, name: str) -> pl.DataFrame:
    """One of TABLES, as the JSON it is kept in: a single cell."""
    return pl.DataFrame({"json": [canonical(plain(TABLES[name](asked)))]})


def tables(asked: Asked, *, store: Store | None = None, client: Any = None) -> dict[str, Any]:
    """All operating characteristics, by name; a job each."""
    jobs = [Job(digest([asked.identity, name, source_digest()])[:32], measured, (asked, name)) for name in TABLES]
    if store is None:
        made = [job.work(*job.args) for job in jobs]
    else:
        keys = list(run(store, jobs, client=client))
        made = [store.read(key) for key in keys]
        store.keep(keys)
    return {name: json.loads(table["json"][0]) for name, table in zip(TABLES, made, strict=True)}
