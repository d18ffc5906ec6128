"""Credibility factors as rows: what evidence there is, where it lies, what is missing, and the goal that was stated.

References
----------
[1] ASME V&V 40-2018, Assessing Credibility of Computational Modeling through Verification and Validation.
[2] FDA 2023, Assessing the Credibility of Computational Modeling and Simulation in Medical Device Submissions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cohort.display.table import number
from cohort.dossier.assumptions import tags
from cohort.dossier.tests import KNOWN, Tests
from cohort.dossier.verification import Verification
from cohort.report.tables import Made
from cohort.results import Results
from cohort.study.protocol import FACTORS

AGAINST, GAPS, GIVEN, NONE = "evidence against", "evidence with gaps", "evidence", "no evidence"


@dataclass
class Found:
    """What there is on one factor: `has`, each with where; `lacks`; `fails`, what speaks against it."""

    has: list[tuple[str, str]] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)
    fails: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        if self.fails:
            return AGAINST
        if not self.has:
            return NONE
        return GAPS if self.lacks else GIVEN


@dataclass(frozen=True)
class Material:
    """What the rows are made of."""

    results: Results
    made: Made
    checks: Verification
    tests: Tests | None
    assumptions: Sequence[Mapping[str, Any]]
    trail: Sequence[Mapping[str, Any]]


def rows(material: Material) -> list[dict[str, Any]]:
    """One a factor, in the order of [1]."""
    stated = material.results.study.credibility
    goals = stated.goals if stated else {}
    found = []
    for name, (group, label) in FACTORS.items():
        own = OF[name](material)
        goal = goals.get(name)
        found.append(
            {
                "factor": name,
                "group": group,
                "label": label,
                "status": own.status,
                "has": own.has,
                "lacks": own.lacks,
                "fails": own.fails,
                "goal": goal.goal if goal else None,
                "because": goal.because if goal else None,
            }
        )
    return found


def _checked(found: Found, checks: Verification, says: str, *kinds: str) -> None:
    """Checks of some kinds as evidence, or against it."""
    own = checks.of(*kinds)
    bad = [row for row in own if not row["passed"]]
    found.fails += [f"{row['what']}: expected {row['expected']}, found {_shown(row['found'])}" for row in bad]
    if own:
        found.has.append(
            (f"{says}: {len(own) - len(bad)} of {len(own)} checks passed", "verification, on this machine")
        )


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _tested(found: Found, tests: Tests | None, says: str, rooms: Sequence[str] | None = None) -> None:
    if tests is None:
        found.lacks.append("results of the test suite were not given (--tests)")
        return
    kept = [room for room in tests.rooms if rooms is None or room.name in rooms]
    passed, failed, skipped = (sum(getattr(r, what) for r in kept) for what in ("passed", "failed", "skipped"))
    if not kept:
        found.lacks.append(f"the test results hold none of {', '.join(rooms or ())}")
        return
    found.has.append((f"{says}: {passed} tests passed, {failed} failed, {skipped} were skipped", tests.file))
    if failed:
        found.fails.append(f"{failed} tests failed: " + "; ".join(f for r in kept for f in r.failures[:5]))


def _software(m: Material) -> Found:
    found = Found()
    _tested(found, m.tests, "the test suite")
    made = next((line for line in reversed(m.results.audit.lines()) if line["event"] == "simulated"), {})
    ran = made.get("code") or {}
    if ran.get("commit"):
        found.has.append((f"the code that simulated is commit {ran['commit'][:12]}", "audit.jsonl"))
        if ran.get("changed_since_commit"):
            found.lacks.append("the code that simulated had changes that are in no commit")
        if m.tests and m.tests.commit and not ran["commit"].startswith(m.tests.commit[:7]):
            found.lacks.append(f"the tests ran at another commit, {m.tests.commit[:12]}")
    else:
        found.lacks.append("no commit is known of the code that simulated")
    if m.tests and not m.tests.commit:
        found.lacks.append("the test results do not say at which commit they ran")
    if ran.get("lock"):
        found.has.append(("every dependency is locked by version and hash", "requirements.lock"))
    found.lacks.append("no quality system, supplier assessment or installation qualification is part of this project")
    return found


def _code(m: Material) -> Found:
    found = Found()
    _checked(
        found,
        m.checks,
        "exact curves, mass balance, order of the error, random numbers",
        "analytic",
        "order",
        "streams",
    )
    rooms = [name for name in KNOWN if m.tests and any(r.name == name for r in m.tests.rooms)]
    _tested(found, m.tests, "comparisons with closed forms and published numbers", rooms or list(KNOWN))
    return found


def _discretisation(m: Material) -> Found:
    found = Found()
    n, arms = m.checks.how["patients"], m.checks.how["arms"]
    _checked(found, m.checks, f"step refinement, {n} patients in {arms} arms", "refinement")
    if n < m.results.study.population.size:
        found.lacks.append(f"refined on {n} of {m.results.study.population.size} people, at the posterior mean alone")
    return found


def _solver(m: Material) -> Found:
    found = Found()
    _checked(found, m.checks, "the same bits in other company", "determinism")
    failed = [row for row in m.made.tables["limits"].rows if row["kind"] == "failure"]
    found.has += [(row["says"], "T14") for row in failed]
    table = m.made.tables.get("diagnostics")
    for row in table.rows if table else ():
        says = (
            f"{row['fit']}: R-hat {row['r_hat']:.4f}, ESS {row['ess_bulk']:.0f}, {row['divergences']:.0f} divergences"
        )
        found.has.append((says, "T13"))
        if not row["reliable"]:
            found.fails.append(f"{row['fit']}: {row['wrong']}")
        if row.get("loo_reliable") is False:
            found.lacks.append(f"{row['fit']}: leave-one-out is unreliable, and nothing rests on it")
    return found


def _use(m: Material) -> Found:
    found = Found()
    _checked(found, m.checks, "units of the model", "units")
    found.has.append(("the study's file was read whole: unknown keys, units and names are refused", "cohort check"))
    standing = m.results.summary.get("standing") or {}
    if standing.get("status") == "registered":
        says = (
            f"this run's predictions are the registered ones, means within {number(standing['largest_difference'], 2)}"
        )
        found.has.append((says, f"config/registered/{standing['file']}"))
    found.lacks.append("nobody beside the authors is known to have checked inputs or run it again")
    return found


def _form(m: Material) -> Found:
    found = Found()
    study, calibration = m.results.study, m.results.calibration
    found.has.append((f"{len(study.assumptions)} assumptions are stated", study.path.name))
    if calibration:
        p = calibration["fit"]["p_chi2"] if "fit" in calibration else None
        if p is not None:
            found.has.append((f"posterior predictive p of χ² of the calibration {number(p, 3)}", "T14, report"))
            if p < 0.05:
                found.fails.append("the model does not fit all arms of its own calibration")
    else:
        found.lacks.append("no calibration tests the model's form")
    found.lacks.append("no other form of the model was fitted beside it")
    return found


def _inputs(m: Material) -> Found:
    found = Found()
    parameters = [row for row in m.assumptions if row["group"] == "model parameter"]
    sourced = [row for row in parameters if "no source" not in row["tagged"]]
    found.has.append((f"{len(sourced)} of {len(parameters)} parameters have a source", "assumptions, below"))
    learnt = len((m.results.calibration or {}).get("parameters", []))
    if learnt:
        found.has.append((f"{learnt} parameters are carried with their posterior uncertainty", "T3"))
    fixed = sum("(posterior" not in row["value"] for row in parameters)
    if fixed:
        found.lacks.append(f"{fixed} parameters are used as if known exactly; patients vary around some of them")
    if m.results.sensitivity:
        found.has.append(("the calibration was repeated under other priors", "T8"))
    else:
        found.lacks.append("no sensitivity of this study's predictions to its inputs was run")
    tagged = sum(bool(set(row["tagged"]) & {"assumption", "unverified"}) for row in m.assumptions)
    if tagged:
        found.lacks.append(f"{tagged} inputs say themselves that they are assumed or unverified")
    return found


def _outcomes(m: Material) -> list[dict[str, Any]]:
    return [row for row in m.results.summary.get("outcomes", []) if row["trial"] in m.results.study.evidence]


def _samples(m: Material) -> Found:
    found = Found()
    outcomes = _outcomes(m)
    arms = {(row["trial"], row["arm"]): row["n"] for row in outcomes if row["n"]}
    if not arms:
        found.lacks.append("there is no real trial to compare with")
        return found
    trials = sorted({trial for trial, _ in arms})
    patients = sum(arms.values())
    found.has.append((f"{patients} patients in {len(arms)} arms of {', '.join(trials)}", "evidence"))
    if len(trials) == 1:
        found.lacks.append("it is a single trial")
    if m.results.matching is None:
        found.lacks.append("no published baseline table of the trial's patients is used")
    unknown = sorted({row["analysis_set"] for row in outcomes if "not found" in (row["analysis_set"] or "not found")})
    found.lacks += [f"analysis set: {says or 'not stated'}" for says in unknown]
    return found


def _conditions(m: Material) -> Found:
    found = Found()
    study, outcomes = m.results.study, _outcomes(m)
    if not outcomes:
        found.lacks.append("there is no real trial to compare with")
        return found
    active = sum(arm.active for arm in study.arms.values())
    says = f"{active} regimens and {len(study.arms) - active} controls, seen at {study.visits[-1]}"
    found.has.append((says, study.path.name))
    for key in ("assay", "adjustment", "missing_data"):
        wordings = sorted({row[key] or "not stated" for row in outcomes})
        bad = [w for w in wordings if "not found" in w or w == "not stated"]
        label = key.replace("_", " ")
        found.lacks += [f"{label}: {w}" for w in bad]
        found.has += [(f"{label}: {w}", "evidence") for w in wordings if w not in bad]
    return found


def _equivalency(m: Material) -> Found:
    found = Found()
    study = m.results.study
    if not _outcomes(m):
        found.lacks.append("there is no real trial to be equivalent to")
        return found
    found.has.append(
        ("virtual arms have the real ones' doses, regimens and visits, as the study's file states", study.path.name)
    )
    if m.results.matching:
        worst = max(abs(row["difference_after"]) for row in m.results.matching["rows"])
        found.has.append((f"published baseline matched, largest standardised difference {number(worst, 3)}", "T4"))
    else:
        found.lacks.append("virtual people are not matched to a published baseline table")
    assumed = [n for n, c in study.population.covariates.items() if _assumed(c.source)]
    if assumed:
        found.lacks.append(f"baseline that is assumed in whole or part: {', '.join(assumed)}")
    return found


def _assumed(source: str) -> bool:
    return bool(tags(source))


def _comparison(m: Material) -> Found:
    found = Found()
    summary = m.results.summary
    if not summary.get("arms"):
        found.lacks.append("no outcome was compared")
        return found
    if not summary.get("validation"):
        found.lacks.append("the arms were used to fit the model: their agreement is no evidence of prediction")
        return found
    means = [row for row in summary["arms"] if row["kind"] == "mean"]
    inside = [row for row in means if row["inside_0.95"]]
    found.has.append((f"{len(inside)} of {len(means)} arms inside their 95 % predictive interval", "T5"))
    says: dict[str, int] = {}
    for row in means:
        word = row.get("says", "no margin stated")
        says[word] = says.get(word, 0) + 1
    found.has.append(("agreement within the margin: " + ", ".join(f"{w} {n}" for w, n in sorted(says.items())), "T5"))
    standing = summary["standing"]
    found.has.append((f"predictions are {standing['status']}", f"config/registered/{standing['file'] or '–'}"))
    if len(inside) < len(means):
        found.fails.append(f"{len(means) - len(inside)} of {len(means)} arms lie outside: the prediction missed them")
    if standing["status"] != "registered":
        found.lacks += standing["reasons"]
    if not all(use.prospective for use in m.results.study.evidence.values() if use.use == "validation"):
        found.lacks.append("retrospective: the outcomes were public before")
    found.lacks.append("means and counts of arms alone; no patient's own course was compared")
    return found


def _quantities(m: Material) -> Found:
    found = Found()
    study = m.results.study
    compared = sorted({row["endpoint"] for row in m.results.summary.get("arms", [])})
    for name, plan in study.endpoints.items():
        if name in compared and plan.estimand:
            theirs = "; ".join(f"{k}: {u.estimand}" for k, u in study.evidence.items())
            found.has.append((f"{name}: virtual estimand, {plan.estimand}; real, {theirs}", "T1"))
        elif name not in compared:
            found.lacks.append(f"{name}: no mean of it was compared")
    return found


def _relevance(m: Material) -> Found:
    found = Found()
    stated = m.results.study.credibility
    goal = stated.goals.get("relevance_of_validation") if stated else None
    if not m.results.summary.get("validation"):
        found.lacks.append("there is no validation whose relevance could be judged")
        return found
    if goal is None:
        found.lacks.append("the study's file does not say why its validation is relevant to the context of use")
    else:
        found.has.append((f"the study's file argues it: {goal.because}", m.results.study.path.name))
    return found


OF: dict[str, Callable[[Material], Found]] = {
    "software_quality_assurance": _software,
    "numerical_code_verification": _code,
    "discretisation_error": _discretisation,
    "numerical_solver_error": _solver,
    "use_error": _use,
    "model_form": _form,
    "model_inputs": _inputs,
    "test_samples": _samples,
    "test_conditions": _conditions,
    "equivalency_of_inputs": _equivalency,
    "output_comparison": _comparison,
    "relevance_of_quantities": _quantities,
    "relevance_of_validation": _relevance,
}
