"""Classes of torsade risk from a score of each drug: proportional odds, class boundaries, and how well they rank.

A drug has one score for each of its samples, which carry what is not known of its block of the currents. Classes are
0 low, 1 intermediate, 2 high. The score may rise or fall with risk; the fit says which.

References
----------
[1] Li et al. 2019, Assessment of an in silico mechanistic model for proarrhythmia risk prediction under the CiPA
    initiative. Clin Pharmacol Ther 105:466-475, doi 10.1002/cpt.1184.
[2] McCullagh 1980, Regression models for ordinal data. J R Stat Soc B 42:109-142.
[3] Mistry 2018, Complex versus simple models: ion-channel cardiac toxicity prediction. PeerJ 6:e4352.
[4] FDA/CiPA, branch Lab_Specific_Validation_Calibration_2020 (4bfb160d), LOOCV: how the measures of [1] are counted
    over samples, and what 0/0 is taken for.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import expit

from cohort.analysis.refusal import refuse
from cohort.streams import streams

CLASSES = ("low", "intermediate", "high")
RIDGE = 1e-8  # on the standardised slope: the fit exists where classes do not overlap, and hardly moves where they do
GROUPS = 20  # of samples, left out in turn for the Monte Carlo error

type Scores = Mapping[str, np.ndarray]  # drug: (samples,)
type Risks = Mapping[str, int]  # drug: class


def scores(table: pl.DataFrame, value: str, over: Sequence[float]) -> dict[str, np.ndarray]:
    """The mean of `value` over the concentrations `over`, of each drug's samples, in order: the torsade metric score
    where the value is qNet and they are 1 to 4 times Cmax [1].

    table: drug, sample, times_cmax and the value. A sample that lacks one of them, or has no number there, is left out.
    """
    within = pl.col("times_cmax").cast(pl.Float64).is_in([float(times) for times in over])
    wanted = table.filter(within & pl.col(value).is_finite())
    whole = (
        wanted.group_by("drug", "sample", maintain_order=True)
        .agg(pl.col(value).mean(), pl.len())
        .filter(pl.col("len") == len(over))
        .sort("drug", "sample")
    )
    drugs = list(dict.fromkeys(table["drug"]))
    return {drug: whole.filter(pl.col("drug") == drug)[value].to_numpy() for drug in drugs}


@dataclass(frozen=True)
class ProportionalOdds:
    """P(class >= 1) = expit(intermediate + slope * score), P(class = 2) = expit(high + slope * score) [2]."""

    intermediate: float
    high: float
    slope: float

    def at_least(self, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of at least intermediate, and of high, in the shape of `score`."""
        return expit(self.intermediate + self.slope * score), expit(self.high + self.slope * score)

    def classes(self, score: np.ndarray) -> np.ndarray:
        """The most probable class of each score."""
        some, high = self.at_least(score)
        return np.argmax(np.stack([1 - some, some - high, high]), axis=0)

    @property
    def boundaries(self) -> tuple[float, float]:
        """The scores at which low and intermediate, and intermediate and high, are as probable.

        With k = exp(high - intermediate), low and intermediate meet where the odds of at least intermediate are
        1 / (1 - 2 k), intermediate and high where those of high are 1 - 2 k. NaN where k is 1/2 or more:
        intermediate is then never the most probable.
        """
        k = math.exp(self.high - self.intermediate)
        if k >= 0.5:
            return math.nan, math.nan
        shift = math.log(1 - 2 * k)
        return (-shift - self.intermediate) / self.slope, (shift - self.high) / self.slope


def fit(known: Scores, classes: Risks, start: ProportionalOdds | None = None) -> ProportionalOdds:
    """Maximum likelihood over all samples of all drugs that `classes` names, each drug with the same weight [1].

    Where two classes do not overlap, their boundary is about half-way between them (see RIDGE). `start`: a fit that is
    near. Errors: AnalysisError of a class without a drug, a drug without samples, or scores that are all the same.
    """
    drugs = [drug for drug in known if drug in classes]
    wrong = [f"{name}: no drug of this class is known" for k, name in enumerate(CLASSES) if k not in classes.values()]
    wrong += [f"{drug}: no score; each drug needs one or more" for drug in classes if not len(known.get(drug, ()))]
    refuse(wrong)
    x = np.concatenate([known[drug] for drug in drugs])
    y = np.concatenate([np.full(len(known[drug]), classes[drug]) for drug in drugs])
    w = np.concatenate([np.full(len(known[drug]), 1 / len(known[drug])) for drug in drugs])
    centre, scale = float(np.average(x, weights=w)), float(np.sqrt(np.cov(x, aweights=w, ddof=0)))
    refuse([] if scale > 0 else ["scores: all the same; they tell no classes apart"])
    if start is None:
        some, high = float(w[y > 0].sum() / w.sum()), float(w[y > 1].sum() / w.sum())
        at = np.array([math.log(some / (1 - some)), math.log(high / (1 - high)), 0.0])
    else:
        at = np.array([start.intermediate, start.high, start.slope * scale])
        at[:2] += start.slope * centre
    a1, a2, b = map(float, _newton((x - centre) / scale, y, w, at))
    return ProportionalOdds(a1 - b * centre / scale, a2 - b * centre / scale, b / scale)


def _newton(x: np.ndarray, y: np.ndarray, w: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Both intercepts and the slope of standardised scores, from `at` on; the log-likelihood is concave [2]."""
    now, gradient, curvature = _likelihood(at, x, y, w)
    for _ in range(200):
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > 1e-10:
            tried = at + size * step
            if tried[0] > tried[1] and (then := _likelihood(tried, x, y, w))[0] >= now:
                break
            size /= 2
        else:
            break
        at, (now, gradient, curvature) = tried, then
        if np.abs(size * step).max() < 1e-10 * max(1.0, np.abs(at).max()):
            break
    return at


def _likelihood(at: np.ndarray, x: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The penalised log-likelihood, its gradient, and minus its second derivatives, (3, 3)."""
    e1, e2 = at[0] + at[2] * x, at[1] + at[2] * x
    s1, s2 = expit(e1), expit(e2)
    d1, d2 = s1 * expit(-e1), s2 * expit(-e2)
    middle = np.maximum(s1 - s2, 1e-300)
    low, high = y == 0, y == 2
    value = w @ np.where(low, -np.logaddexp(0, e1), np.where(high, -np.logaddexp(0, -e2), np.log(middle)))
    g1 = np.where(low, -s1, np.where(high, 0, d1 / middle))
    g2 = np.where(low, 0, np.where(high, expit(-e2), -d2 / middle))
    h11 = np.where(low, d1, np.where(high, 0, g1**2 - d1 * (1 - 2 * s1) / middle))
    h22 = np.where(low, 0, np.where(high, d2, g2**2 + d2 * (1 - 2 * s2) / middle))
    h12 = np.where(low | high, 0, g1 * g2)
    total = g1 + g2
    gradient = np.array([w @ g1, w @ g2, w @ (total * x)])
    h13, h23 = w @ ((h11 + h12) * x), w @ ((h22 + h12) * x)
    h33 = w @ ((h11 + 2 * h12 + h22) * x**2)
    curvature = np.array([[w @ h11, w @ h12, h13], [w @ h12, w @ h22, h23], [h13, h23, h33]])
    gradient[2] -= RIDGE * at[2]
    curvature[2, 2] += RIDGE
    return float(value - RIDGE * at[2] ** 2 / 2), gradient, curvature


@dataclass(frozen=True)
class Judged:
    """Draws by drugs: what a classifier says of one sample of each drug.

    `some`, `high`: probabilities of at least intermediate, and of high; `said`: the most probable class; `truth`:
    (drugs,); `learnt`: which drugs the classifier was fitted on, pairs of which are not counted."""

    some: np.ndarray
    high: np.ndarray
    said: np.ndarray
    truth: np.ndarray
    learnt: np.ndarray

    def of(self, who: np.ndarray) -> "Judged":
        """Some of the drugs: a mask of (drugs,)."""
        return Judged(self.some[:, who], self.high[:, who], self.said[:, who], self.truth[who], self.learnt[who])


def draw(known: Scores, draws: int, seed: int) -> dict[str, np.ndarray]:
    """Which sample of each drug enters each draw: uniform and independent, as in [1]; a drug's draws do not depend on
    which other drugs there are."""
    places = streams(seed, "torsade draws", list(known)).uniform("sample", draws)
    return {drug: (u * len(known[drug])).astype(int) for (drug, u) in zip(known, places, strict=True)}


def judge(
    known: Scores,
    classes: Risks,
    by: Callable[[str], ProportionalOdds],
    drawn: Mapping[str, np.ndarray],
    learnt: Sequence[str] = (),
) -> Judged:
    """What the classifier `by` of each drug says of the samples drawn; one classifier for all, or each drug's own."""
    drugs = list(classes)
    chosen = [known[drug][drawn[drug] % len(known[drug])] for drug in drugs]
    odds = [by(drug).at_least(score) for drug, score in zip(drugs, chosen, strict=True)]
    said = [by(drug).classes(score) for drug, score in zip(drugs, chosen, strict=True)]
    return Judged(
        np.stack([some for some, _ in odds], axis=1),
        np.stack([high for _, high in odds], axis=1),
        np.stack(said, axis=1),
        np.array([classes[drug] for drug in drugs]),
        np.array([drug in learnt for drug in drugs]),
    )


def auc(risk: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Of each draw, the share of pairs of a positive and a negative drug in which the positive has the greater risk;
    a tie counts half. risk: (draws, drugs); positive: (drugs,)."""
    first, second = risk[:, positive][:, :, None], risk[:, ~positive][:, None, :]
    return ((first > second) + 0.5 * (first == second)).mean(axis=(1, 2))


def pairwise(judged: Judged) -> np.ndarray:
    """Of each draw, the share of pairs of drugs of different classes that come in the right order: by class, and
    within a class by the probability of low, of high where both are high [4]. Pairs of learnt drugs do not count."""
    t, learnt = judged.truth, judged.learnt
    i, j = np.nonzero((t[:, None] > t[None, :]) & ~(learnt[:, None] & learnt[None, :]))
    same = judged.said[:, i] == judged.said[:, j]
    both_high = same & (judged.said[:, i] == 2)
    by_class = judged.said[:, i] > judged.said[:, j]
    by_risk = np.where(both_high, judged.high[:, i] > judged.high[:, j], judged.some[:, i] > judged.some[:, j])
    return np.where(same, by_risk, by_class).mean(axis=1)


def likelihood_ratios(said: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """LR+ and LR- of each draw: sensitivity / (1 - specificity) and (1 - sensitivity) / specificity, infinite where
    nothing is below; 0/0, a threshold that calls nobody, or everybody, is 1: it tells nothing [4]. said: (draws, drugs)
    and truth: (drugs,), both boolean."""
    sensitivity, specificity = said[:, truth].mean(axis=1), (~said[:, ~truth]).mean(axis=1)
    return _ratio(sensitivity, 1 - specificity), _ratio(1 - sensitivity, specificity)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    infinite = np.where(above > 0, np.inf, 1.0)
    return np.divide(above, below, out=infinite, where=below > 0)


MEASURES = ("AUC1", "AUC2", "pairwise", "LR1+", "LR1-", "LR2+", "LR2-", "error", "right")


def measures(judged: Judged, ranked: Judged | None = None) -> dict[str, np.ndarray]:
    """CiPA's measures of performance [1], of each draw.

    AUC1, LR1: intermediate or high against low; AUC2, LR2: high against the rest; error: mean difference of the class
    said from the true, in classes; right: share of drugs whose class is right. `ranked`: the drugs that enter the
    pairwise ranking, where they are more than those judged.
    """
    positive, negative = likelihood_ratios(judged.said > 0, judged.truth > 0)
    positive_2, negative_2 = likelihood_ratios(judged.said > 1, judged.truth > 1)
    return {
        "AUC1": auc(judged.some, judged.truth > 0),
        "AUC2": auc(judged.high, judged.truth > 1),
        "pairwise": pairwise(ranked or judged),
        "LR1+": positive,
        "LR1-": negative,
        "LR2+": positive_2,
        "LR2-": negative_2,
        "error": np.abs(judged.said - judged.truth).mean(axis=1),
        "right": (judged.said == judged.truth).mean(axis=1),
    }


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Median and equal-tailed interval; each is one of the values, for these may be infinite."""
    tail = (1 - level) / 2
    low, middle, high = np.quantile(values, [tail, 0.5, 1 - tail], method="inverted_cdf")
    return float(middle), float(low), float(high)


def majority(counts: np.ndarray) -> np.ndarray:
    """The class that most samples of each drug have; of a tie the higher. counts: (drugs, 3)."""
    return 2 - np.argmax(counts[:, ::-1], axis=1)


def counted(known: Scores, by: Callable[[str], ProportionalOdds], drugs: Sequence[str]) -> np.ndarray:
    """How many samples of each drug are put in each class, (drugs, 3)."""
    return np.array([np.bincount(by(drug).classes(known[drug]), minlength=3) for drug in drugs])


def mean_error(counts: np.ndarray, truth: np.ndarray) -> float:
    """The mean difference of class said and true class over all samples of all drugs, in classes [1]."""
    away = np.abs(np.arange(3)[None, :] - truth[:, None])
    return float((counts * away).sum() / counts.sum())


def left_out(known: Scores, classes: Risks) -> dict[str, ProportionalOdds]:
    """For each drug, the classifier that is fitted on all others."""
    start = fit(known, classes)
    return {drug: fit(known, {d: c for d, c in classes.items() if d != drug}, start) for drug in classes}


def jackknifed(known: Scores, value: Callable[[Scores], np.ndarray]) -> np.ndarray:
    """The Monte Carlo standard error of what is computed from all samples: groups of samples of every drug are left
    out in turn, as many as there are samples, at most GROUPS. NaN with fewer than two samples."""
    groups = min([GROUPS, *(len(samples) for samples in known.values())])
    if groups < 2:
        return np.full_like(value(known), math.nan)
    without = [
        value({drug: samples[np.arange(len(samples)) % groups != g] for drug, samples in known.items()})
        for g in range(groups)
    ]
    return np.sqrt((groups - 1) * np.var(np.stack(without), axis=0))


def block(concentration: np.ndarray, ic50: np.ndarray, hill: np.ndarray) -> np.ndarray:
    """The share of a current that is blocked, by Hill's equation, 0 to 1. Units: of concentration as of IC50."""
    return 1 / (1 + (ic50 / concentration) ** hill)


def net_block(herg: np.ndarray, ical: np.ndarray, inal: np.ndarray | float = 0.0) -> np.ndarray:
    """Block of the repolarising current less block of the depolarising ones: Mistry's Bnet [3]."""
    return herg - (ical + inal)
