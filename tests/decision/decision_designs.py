"""Published mixtures and the designs of several tests."""

from cohort.decision.criteria import decision
from cohort.decision.design import Arm, Design
from cohort.mixture import BetaMixture, GammaMixture, NormalMixture

UNIFORM = BetaMixture([1], [1], [1])
AS = BetaMixture([0.6167463, 0.3832537], [19.1916387, 3.5278745], [57.7779318, 9.3735980])
ROBUST = AS.robust(0.2, UNIFORM)
LANCET = BetaMixture([1], [11], [32])
HALF = BetaMixture([1], [0.5], [1])
SUPERIOR = decision("P(treatment - control > 0) > 0.95")
BINARY = {
    "uniform 24:6": Design("uniform 24:6", SUPERIOR, Arm(24, UNIFORM), Arm(6, UNIFORM)),
    "uniform 24:24": Design("uniform 24:24", SUPERIOR, Arm(24, UNIFORM), Arm(24, UNIFORM)),
    "MAP 24:6": Design("MAP 24:6", SUPERIOR, Arm(24, HALF), Arm(6, AS)),
    "robust 24:6": Design("robust 24:6", SUPERIOR, Arm(24, HALF), Arm(6, ROBUST)),
    "Beta(11,32)": Design("Beta(11,32)", SUPERIOR, Arm(24, HALF), Arm(6, LANCET)),
}

CROHN = NormalMixture(
    [0.50104846, 0.41871594, 0.08023561],
    [-51.42408665, -47.25917128, -55.07086416],
    [19.04525409, 7.85193726, 44.57325],
)
CROHN_ROBUST = CROHN.robust(0.2, NormalMixture([1], [-50], [88]))
VAGUE = NormalMixture([1], [-50], [8800])
DUAL = decision("P(treatment - control < 0) > 0.95 and P(treatment - control < -50) > 0.5")


def crohn(name: str, prior: NormalMixture, n: float = 20, wanted=DUAL) -> Design:
    return Design(name, wanted, Arm(40, VAGUE), Arm(n, prior), sigma=88.0)


RATES = GammaMixture([0.6, 0.4], [20, 4], [10, 1])
FEWER = Design(
    "fewer events",
    decision("P(treatment - control < 0) > 0.9"),
    Arm(12, GammaMixture([1], [0.5], [0.001])),
    Arm(12, RATES),
)
