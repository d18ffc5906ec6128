"""What the report's tables hold, from the numbers of the comparison."""

from typing import Any

import polars as pl

from cohort.model import Model
from cohort.study import Study
from cohort.trial import MEAN


def number(value: float | None, digits: int = 1) -> str:
    """A figure for reading, with a true minus sign; a dash where there is none."""
    return "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def percent(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def short(text: str | None) -> str:
    return text[:12] if text else "–"


def significant(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}".replace("-", "−")


FILTERS = {"number": number, "percent": percent, "short": short, "significant": significant}


def verdicts(study: Study, summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Per endpoint with published means: which arms lie inside the 95 % predictive interval, and which do not."""
    found = []
    for endpoint in dict.fromkeys(row["endpoint"] for row in summary.get("arms", [])):
        means = [r for r in summary["arms"] if r["endpoint"] == endpoint and r["kind"] == "mean"]
        margin = study.endpoints[endpoint].margin
        found.append(
            {
                "endpoint": endpoint,
                "hit": [r for r in means if r["inside_0.95"]],
                "missed": [r for r in means if not r["inside_0.95"]],
                "of": len(means),
                "margin": margin,
                "mean_difference": sum(r["difference"] for r in means) / len(means),
                "agree": [r for r in means if r.get("p_within_margin", 0) > 0.8],
            }
        )
    return found


def attrition(study: Study, counts: dict[str, Any]) -> list[tuple[str, int]]:
    """How many each criterion turned away, and each condition that they could not have."""
    criteria = {str(c): 0 for c in study.population.eligibility}
    return list((criteria | counts["excluded"]).items())


def people(table: pl.DataFrame, units: dict[str, str], covariates: list[str]) -> list[dict[str, Any]]:
    """Mean, SD, quantiles of quantities, by `units`; shares of sex, ancestry and the categories among `covariates`."""
    rows: list[dict[str, Any]] = []
    shown = {"sex", "ancestry", *covariates}
    for name in table.columns:
        column = table[name]
        if name in units:
            quantiles = [float(column.quantile(q) or 0.0) for q in (0.05, 0.5, 0.95)]
            mean, sd = float(column.mean()), float(column.std())  # type: ignore[arg-type]
            rows.append({"name": name, "unit": units[name], "mean": mean, "sd": sd, "quantiles": quantiles})
        elif column.dtype == pl.String and name in shown:
            shares = column.value_counts(normalize=True, sort=True)
            rows.append({"name": name, "shares": list(shares.iter_rows())})
    return rows


def failures(visits: pl.DataFrame, at: int, codes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Patients simulated per arm, at the posterior mean and under draws, and how many failed, by reason.

    `bound`: by how much the failures could move a mean of percentages from -100 to 100 at most, in points.
    """
    rows = []
    per_lane = visits.gather_every(at)
    for (arm,), own in per_lane.partition_by("arm", as_dict=True, maintain_order=True).items():
        failed = own.filter(pl.col("code") > 0)
        reasons = {codes[c]: n for c, n in failed["code"].value_counts().iter_rows()}
        everyone = own.filter(pl.col("draw") == MEAN).height
        share = failed.height / own.height
        rows.append(
            {
                "arm": arm,
                "mean": everyone,
                "draws": own.height - everyone,
                "failed": failed.height,
                "reasons": reasons,
                "bound": 200 * share,
            }
        )
    return rows


def model_parameters(model: Model, calibration: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Every parameter with value, unit, variability and source; those calibrated with their posterior."""
    learnt = {row["parameter"]: row for row in (calibration or {}).get("parameters", [])}
    values = model.typical()
    return [
        {
            "name": name,
            "value": values[name],
            "unit": meta["unit"],
            "kind": meta["kind"],
            "spread": meta["spread"],
            "about": meta["about"],
            "source": meta["source"],
            "rse": meta["rse"],
            "learnt": learnt.get(name),
        }
        for name, meta in model.parameters.fields().items()
    ]


def evidence_notes(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Per trial: how its outcomes were measured and analysed, as published, with each distinct wording once."""
    notes: dict[str, dict[str, Any]] = {}
    for row in summary.get("outcomes", []):
        own = notes.setdefault(row["trial"], {"trial": row["trial"], "registry": row["registry"]})
        for key in ("assay", "analysis_set", "adjustment", "missing_data", "source"):
            wordings = own.setdefault(key, [])
            if row[key] and row[key] not in wordings:
                wordings.append(row[key])
    return list(notes.values())
