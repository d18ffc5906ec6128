"""Cardiac output and how it is shared out: flows of sixteen organs and the rest, closed to cardiac output.

References
----------
[1] Carlsson et al. 2012, J Cardiovasc Magn Reson 14:51: cardiac index of 144 healthy people by CMR: 3.15 L/min/m² at a
    mean age of 39 y, falling by 0.008 a year; SD 0.4 to 0.5.
[2] ICRP 2002, Publication 89: shares of cardiac output of the reference man and woman.
[3] Willmann et al. 2007, J Pharmacokinet Pharmacodyn 34:401: spread of organ flows of 5 %.
"""

from collections.abc import Mapping

import numpy as np

from cohort.population.body import REFERENCE
from cohort.population.causal import Column, Columns, step

# Arterial flow, percent of cardiac output, of the reference man and woman [2]. The liver's is the hepatic artery; the
# bronchial artery is in the rest.
SHARE: dict[str, tuple[float, float]] = {
    "adipose": (5.0, 8.5),
    "bone": (5.0, 5.0),
    "brain": (12.0, 12.0),
    "gonads": (0.05, 0.02),
    "heart": (4.0, 5.0),
    "kidney": (19.0, 17.0),
    "large_intestine": (4.0, 5.0),
    "liver": (6.5, 6.5),
    "lymph_nodes": (1.7, 1.7),
    "muscle": (17.0, 12.0),
    "pancreas": (1.0, 1.0),
    "skin": (5.0, 5.0),
    "small_intestine": (10.0, 11.0),
    "spleen": (3.0, 3.0),
    "stomach": (1.0, 1.0),
    "thymus": (0.19, 0.19),
    "rest": (5.56, 6.09),
}
FLOWS = tuple(SHARE)
PORTAL = ("large_intestine", "pancreas", "small_intestine", "spleen", "stomach")  # drain into the liver
EXPONENT = 0.75  # of an organ's flow on its mass: a proposal, not a published rule
SPREAD = 0.05  # [3]
OUTPUT_SPREAD = 0.14  # between people of one size and age [1]


def close_flow(flow: Mapping[str, np.ndarray], cardiac_output: np.ndarray, kept: tuple[str, ...] = ()) -> dict:
    """Make arterial flows sum to the cardiac output; those `kept` stay as they are, the others share the balance."""
    fixed = sum((flow[o] for o in kept), np.zeros_like(cardiac_output))
    others = [o for o in flow if o not in kept]
    factor = (cardiac_output - fixed) / sum(flow[o] for o in others)
    return {o: value if o in kept else value * factor for o, value in flow.items()}


@step(
    {
        "cardiac_output": Column(
            "L/h", "cardiac output at rest", "cardiac index 3.3 - 0.008 (age - 20) L/min/m², CV 14 %: Carlsson 2012"
        )
    },
    needs=("age", "bsa"),
    draws=("cardiac_output",),
)
def output_of_the_heart(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    index = 60 * (3.3 - 0.008 * (x["age"] - 20))  # [1]
    return {"cardiac_output": index * x["bsa"] * np.exp(OUTPUT_SPREAD * (z["cardiac_output"] - OUTPUT_SPREAD / 2))}


@step(
    {
        f"flow_{o}": Column(
            "L/h",
            {"liver": "hepatic artery", "rest": "arterial flow to all else, the bronchial artery with it"}.get(
                o, f"arterial flow to {o.replace('_', ' ')}"
            ),
            f"ICRP 89: {SHARE[o][0]:g} % (men), {SHARE[o][1]:g} % (women) of cardiac output, by mass^0.75 (proposal)",
        )
        for o in FLOWS
    },
    needs=("sex", "cardiac_output", *(f"mass_{o}" for o in FLOWS)),
    draws=tuple(f"flow_{o}" for o in FLOWS),
)
def organ_flows(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    sex = x["sex"]
    flow = {}
    for organ, share in SHARE.items():
        per_mass = np.array(share) / np.array(REFERENCE[organ]) ** EXPONENT
        flow[organ] = per_mass[sex] * x[f"mass_{organ}"] ** EXPONENT * np.exp(SPREAD * z[f"flow_{organ}"])
    return {f"flow_{organ}": value for organ, value in close_flow(flow, x["cardiac_output"]).items()}


STEPS = (output_of_the_heart, organ_flows)
