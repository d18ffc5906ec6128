"""T1: what is asked, in which context of use, by which estimands and which planned comparison."""

from typing import Any

from cohort.display.table import Column, Table
from cohort.study import Study


def question(study: Study) -> Table:
    """One row an item, as the study's file says it."""
    rows: list[dict[str, Any]] = []

    def add(item: str, says: Any) -> None:
        rows.append({"item": item, "says": str(says)})

    add("Question", study.question)
    add("Context of use", study.context_of_use.strip())
    add("Model risk", _risk(study))
    for name, plan in study.endpoints.items():
        if plan.estimand:
            add(f"Estimand, {name}", f"{plan.estimand} (virtual; {plan.better} is better)")
            add(f"Real estimand, {name}", _real(study))
        if plan.margin is not None:
            add(f"Margin of agreement, {name}", f"{plan.margin} on either side")
        if plan.estimand:
            handled = "the last value is carried forward" if plan.missing == "locf" else "means are of those seen"
            add(f"Missing values, {name}", handled)
    for row in _comparison(study):
        add(*row)
    caption = "As the study's file states it; whether it did so before the outcomes stands under deviations, in T14."
    columns = (Column("item", "", plain=True), Column("says", "stated", plain=True))
    return Table("T1", "question", "Question, context of use, estimands", caption, columns, rows)


def _risk(study: Study) -> str:
    stated = study.credibility
    if stated is None:
        return "not assessed: the study's file states no influence of the model on a decision"
    return (
        f"{stated.model_risk}: influence {stated.influence.level}, consequence of a wrong decision "
        f"{stated.consequence.level}; the dossier says why"
    )


def _real(study: Study) -> str:
    told = [f"{name}: {use.estimand}, used for {use.use}" for name, use in study.evidence.items()]
    return "; ".join(told) or "no evidence"


def _comparison(study: Study) -> list[tuple[str, str]]:
    plan = study.comparison
    if plan is None:
        return [("Planned comparison", "none: virtual and real arms are set side by side, and nothing is decided")]
    learnt = ", ".join(plan.discrepancy_from) or "no other trial: it is an assumption"
    return [
        ("Planned comparison", f"{plan.treatment} with {plan.control}, on {plan.endpoint}"),
        ("Success", str(plan.decision)),
        ("No harm", str(plan.harm) if plan.harm else "no criterion is stated"),
        (
            "Borrowing",
            f"weight {plan.weight:g} on the virtual control before the data, the rest vague and worth one patient; "
            f"how far the model errs is learnt from {learnt}",
        ),
        ("Type I error", f"of the first criterion, {plan.type_one_error:g} one-sided, over a drift of {plan.drift}"),
        ("Where the plan comes from", plan.source),
    ]
