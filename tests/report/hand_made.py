"""A summary of a comparison that was made by hand: every number is chosen so that what a table says of it is plain."""

from typing import Any


def criteria(p: float) -> list[dict[str, Any]]:
    return [
        {"criterion": "P(treatment - control < 0) > 0.975", "p": p, "met": p > 0.975},
        {"criterion": "P(treatment - control < -30) > 0.5", "p": 0.75, "met": True},
    ]


def method(name: str, mean: float, p: float, **more: Any) -> dict[str, Any]:
    return {
        "method": name,
        "mean": mean,
        "sd": 2.5,
        "low": mean - 4.9,
        "high": mean + 4.9,
        "weight": 0.5,
        "weight_is": "",
        "patients": 3.0,
        "uses_data_twice": False,
        "planned": False,
        "difference": -40.0 - mean,
        "difference_sd": 3.5,
        "difference_low": -46.86 - mean,
        "difference_high": -33.14 - mean,
        "criteria": criteria(p),
        "decision": p > 0.975,
        **more,
    }


def drift_rows() -> list[dict[str, Any]]:
    rows = []
    for design in ("no borrowing", "robust", "full borrowing"):
        for effect in (0.0, -30.0, -60.0):
            for drift in (-10.0, -5.0, 0.0, 5.0, 10.0):
                kind = "power" if effect else "type I"
                row = {
                    "design": design,
                    "effect": effect,
                    "drift": drift,
                    "control": 1.0 + drift,
                    "worst": False,
                    "kind": kind,
                }
                measures = {"rate": 0.5, "bias": 0.25, "mse": 9.0, "coverage": 0.95, "width": 12.0}
                measures |= {"ess_borrowed": 4.0, "n_expected": 90.0}
                row |= measures | {f"{m}_mcse": 0.0 for m in measures}
                rows.append(row | {"first": 0.04, "method": "exact", "go_with_harm": 0.01, "go_with_harm_mcse": 0.0})
    return rows


def comparison() -> dict[str, Any]:
    """Robust borrowing turns the decision: without it the first criterion has 0.96, with it 0.98."""
    off = [-10.0, 0.0, 10.0]
    at = [-10.0, 0.0, 10.0]
    return {
        "endpoint": "ldl_change",
        "unit": "percent",
        "treatment": "evolocumab_140_q2w",
        "control": "placebo_q2w",
        "planned_n": [45, 45],
        "n": [45, 44],
        "weight": 0.8,
        "decision": "P(treatment - control < 0 percent) > 0.975",
        "level": 0.95,
        "planned": "learnt",
        "learnt_from": ["yukawa"],
        "cap": 157,
        "sigma": 14.5,
        "source": "by hand",
        "priors": [
            {
                "discrepancy": label,
                "mean": 1.0,
                "sd": 5.0,
                "low": -8.8,
                "high": 10.8,
                "components": 2,
                "error": 0.001,
                "elir_before": 10.0,
                "elir": 9.0,
                "moment": 8.0,
                "morita": 11.0,
                "stretch": 1.05,
                "cap": 157,
                "planned": label == "learnt",
                "mu_d": None,
                "mu_d_sd": None,
                "tau_d": 2.0,
                "tau_d_sd": 1.0,
                "tau_arm": 1.0,
                "tau_arm_sd": 0.5,
            }
            for label in ("none", "learnt")
        ],
        "methods": [
            method("no borrowing", -3.0, 0.96),
            method("robust, discrepancy learnt", -2.0, 0.98, planned=True),
            method("SAM", -2.5, 0.97, uses_data_twice=True),
            method("full borrowing", -1.0, 0.99),
        ],
        "observed": {"treatment": -43.0, "treatment_se": 2.6, "control": -3.0, "control_se": 2.7},
        "sensitivity": [
            {**method("", -2.0, 0.98), "what": "as planned", "value": ""},
            {**method("", -2.9, 0.97), "what": "weight on the virtual part", "value": "0.1"},
        ],
        "conflict": {"off": off, "weight": {"learnt": [0.1, 0.9, 0.1]}, "before": 0.8, "centre": 1.0},
        "tipping": {
            "at": at,
            "spare": {"no borrowing": [-0.1, 0.0, 0.02], "robust": [-0.05, 0.01, 0.02]},
            "turns": {"no borrowing": [0.0], "robust": []},
            "observed": -3.0,
        },
        "benefit_risk": {
            "harm": "P(ae.drug - ae.placebo < 10 percent) > 0.8",
            "says": "no conclusion",
            "why": "too few draws for the probability of harm",
            "benefit": True,
            "criteria": [{"criterion": "P(ae.drug - ae.placebo < 10 percent) > 0.8", "p": 0.81, "mcse": 0.01}
                         | {"met": True, "sure": False}],
        },
        "drift": drift_rows(),
        "calibrated": [
            {
                "design": design,
                "scope": "as designed",
                "low": -10.0,
                "high": 10.0,
                "cut": 0.975,
                "type_one": error,
                "at_drift": -5.0,
                "power": 1.0,
                "power_quarter": 0.9,
                "allowed": 0.025,
                "missed": error > 0.025,
            }
            for design, error in (("no borrowing", 0.025), ("robust", 0.057), ("full borrowing", 0.99))
        ],
        "sweet_spot": {
            "drift": off,
            "mse_ratio": [1.1, 0.8, 1.1],
            "power_gain": [0.0, 0.1, -0.1],
            "type_1": [0.05, 0.02, 0.01],
            "mse": [[-5.0, 5.0]],
            "power": [],
            "allowed": [[0.0, 10.0]],
            "both": [],
        },
        "assurance": [
            {
                "design": "robust",
                "assurance": 0.75,
                "mcse": 0.004,
                "power": 0.9,
                "type_one": 0.02,
                "effect": -60.0,
                "effect_sd": 2.0,
                "control": 1.0,
                "control_sd": 5.0,
            }
        ],
        "examples": [
            {
                "drift": 0.0,
                "effect": -60.0,
                "control_observed": 2.0,
                "treatment_observed": -58.0,
                "control_posterior": 1.5,
                "control_low": -2.0,
                "control_high": 5.0,
                "weight": 0.9,
                "probabilities": "1.000; 1.000",
                "decision": "criteria met",
            }
        ],
    }  # fmt: skip


def arm(name: str, kind: str, predicted: float, observed: float, inside: bool) -> dict[str, Any]:
    row = {
        "endpoint": "ldl_change",
        "arm": name,
        "n": 45,
        "kind": kind,
        "predicted": predicted,
        "predicted_sd": 1.0,
        "mcse": 0.2,
        "observed": observed,
        "se": 2.5,
        "difference": observed - predicted,
        "place": 0.5,
    }
    for level in ("0.5", "0.8", "0.95"):
        row |= {f"low_{level}": predicted - 6, f"high_{level}": predicted + 6, f"inside_{level}": inside}
    return row
