"""Delta adjustment against what least squares says of a shift, and the tipping point against its closed form."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats as st

from cohort.analysis import AnalysisError
from cohort.analysis.imputation import Completed, analyse
from cohort.analysis.longitudinal import Longitudinal
from cohort.analysis.subjects import Subjects
from cohort.analysis.tipping import Conclusion, curve, surface

DELTAS = np.linspace(-2, 8, 21)
LOWER = Conclusion("active", "lower")


def completed(n: int = 80, chains: int = 2, draws: int = 500, noise: float = 0.3, seed: int = 0) -> Completed:
    """A lower outcome under treatment; every fifth subject was imputed, some without an event."""
    rng = np.random.default_rng(seed)
    active = np.arange(n) % 2
    baseline = rng.normal(size=n)
    y = rng.normal(size=(n, 2)) + baseline[:, None] - 1.5 * active[:, None]
    missing = np.zeros((n, 2), bool)
    missing[::5, 1] = True
    data = Longitudinal(
        np.where(missing, np.nan, y), Subjects(np.array(["control", "active"])[active], ("control", "active")),
        ("1", "2"), baseline,
    )  # fmt: skip
    drawn = y + noise * missing * rng.normal(size=(chains, draws, n, 2))
    after = missing & (np.arange(n) % 15 != 0)[:, None]
    return Completed(drawn, missing, after, data)


def test_double_programmed_a_delta_is_that_much_added_to_the_imputed_values_of_the_arm():
    done = completed()
    found = curve(done, LOWER, DELTAS)
    moved = done.after & (done.data.subjects.arm == "active")[:, None]
    for k in (0, 7, 20):
        effect = analyse(replace(done, y=done.y + DELTAS[k] * moved), "active")
        assert found.probability[k] == pytest.approx(1 - effect.above()[0], abs=1e-12)
        assert found.mean[k] == pytest.approx(effect.mean, abs=1e-12)
        assert (found.low[k], found.high[k]) == pytest.approx(effect.interval(), abs=1e-10)


def test_the_conclusion_without_delta_is_the_one_of_the_imputed_data():
    done = completed()
    found = curve(done, LOWER, [-1, 0, 1])
    assert found.probability[1] == pytest.approx(1 - analyse(done, "active").above()[0])


def test_double_programmed_tipping_point_of_a_single_completed_data_set():
    done = completed(noise=0.0)
    y, data = done.y[0, 0, :, 1], done.data
    x = np.column_stack([np.ones(80), data.subjects.arm == "active", data.baseline]).astype(float)
    moved = done.after[:, 1] & (data.subjects.arm == "active")

    def probability(delta: float) -> float:
        shifted = y + delta * moved
        beta, rss, *_ = np.linalg.lstsq(x, shifted, rcond=None)
        return float(st.t.cdf(0, 77, beta[1], np.sqrt(rss[0] / 77 * np.linalg.inv(x.T @ x)[1, 1])))

    found = curve(done, LOWER, DELTAS)
    assert found.tipping is not None
    assert found.tipping_mcse == 0
    assert probability(found.tipping) == pytest.approx(0.975, abs=1e-9)
    assert probability(found.tipping - 0.01) > 0.975 > probability(found.tipping + 0.01)


def test_the_monte_carlo_error_of_the_tipping_point_is_its_spread_over_repetitions():
    """Forty repetitions give an SD to within a tenth; 0.6 to 1.6 is far outside what chance does to it."""
    one = [curve(completed(draws=50, noise=1.0, seed=0), LOWER, DELTAS)]
    base = completed(draws=50, noise=0.0)
    tips = []
    for seed in range(40):
        noise = np.random.default_rng([seed, 9]).normal(size=base.y.shape)
        tips.append(curve(replace(base, y=base.y + noise * base.imputed), LOWER, DELTAS))
    spread = np.std([t.tipping for t in tips], ddof=1)
    stated = np.mean([t.tipping_mcse for t in tips])
    assert one[0].tipping is not None
    assert 0.6 < stated / spread < 1.6


def test_a_margin_or_all_imputed_values_tip_it_sooner():
    done = completed()
    tips = [
        curve(done, LOWER, DELTAS).tipping,
        curve(done, Conclusion("active", "lower", margin=-0.3), DELTAS).tipping,
        curve(done, LOWER, DELTAS, which="all imputed").tipping,
    ]
    assert tips[0] is not None
    assert tips[1] is not None
    assert tips[2] is not None
    assert max(tips[1], tips[2]) < tips[0]


def test_a_mirrored_outcome_tips_at_the_mirrored_delta():
    done = completed()
    data = Longitudinal(-done.data.y, done.data.subjects, done.data.visits, done.data.baseline)
    mirrored = replace(done, y=-done.y, data=data)
    found, other = curve(done, LOWER, DELTAS), curve(mirrored, Conclusion("active", "higher"), -DELTAS[::-1])
    assert other.tipping == pytest.approx(-found.tipping)  # type: ignore[operator]


def test_a_surface_holds_the_curve_and_its_tipping_rises_with_the_controls_delta():
    done = completed()
    found = surface(done, LOWER, DELTAS, [-1, 0, 1])
    line = curve(done, LOWER, DELTAS)
    np.testing.assert_allclose(found.probability[:, 1], line.probability)
    assert found.tipping[1] == pytest.approx(line.tipping)
    assert np.all(np.diff(found.tipping) > 0)


def test_no_tipping_point_is_given_where_there_is_none():
    done = completed()
    assert curve(done, LOWER, [0, 0.1]).tipping is None
    assert "holds from 0 to 0.1; widen" in curve(done, LOWER, [0, 0.1]).reason
    nothing = curve(done, Conclusion("active", "higher"), DELTAS)
    assert nothing.tipping is None
    assert "no conclusion to fall" in nothing.reason
    none = replace(done, after=np.zeros_like(done.after))
    assert "there is nothing to move" in curve(none, LOWER, DELTAS).reason


def test_a_conclusion_that_is_none_is_refused_with_every_reason():
    with pytest.raises(AnalysisError) as found:
        Conclusion("active", "less", threshold=1.0, margin=np.nan)  # type: ignore[arg-type]
    assert len(str(found.value).splitlines()) == 3
    with pytest.raises(AnalysisError, match="lies on the side of harm"):
        Conclusion("active", "lower", margin=0.5)
    with pytest.raises(AnalysisError, match="rising order"):
        curve(completed(draws=5), LOWER, [1, 0])
    with pytest.raises(AnalysisError, match="which: 'some'"):
        curve(completed(draws=5), LOWER, DELTAS, which="some")  # type: ignore[arg-type]


def test_a_conclusion_that_falls_between_none_and_the_first_delta_tips_there():
    done = completed()
    tip = curve(done, LOWER, DELTAS).tipping
    assert tip is not None
    found = curve(done, LOWER, [tip + 1, tip + 4])
    assert found.delta.tolist() == [0, tip + 1, tip + 4]
    assert found.tipping == pytest.approx(tip)
    assert surface(done, LOWER, [tip + 1, tip + 4], [0, 1]).tipping[0] == pytest.approx(tip)


def test_a_surface_says_where_the_conclusion_holds_always_and_never():
    assert surface(completed(), LOWER, [0, 0.1], [0, 1]).tipping.tolist() == [np.inf, np.inf]
    never = Conclusion("active", "higher")
    assert surface(completed(), never, DELTAS, [0, 1]).tipping.tolist() == [-np.inf, -np.inf]
