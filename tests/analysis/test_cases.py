"""Every model of an endpoint is calibrated: its posterior holds the truth as often as it says."""

import pytest

from cohort.analysis import AnalysisError
from cohort.analysis.cases import CASES, case
from cohort.inference.sbc import calibrated, uniformity


@pytest.mark.parametrize("name", CASES)
def test_every_name_is_a_model_with_data_to_draw(name: str):
    made = case(name)
    assert made.observed
    assert made.parameters


def test_an_unknown_model_is_refused_with_the_names_that_there_are():
    with pytest.raises(AnalysisError, match="there is no model 'cox'; write one of adverse events, binary"):
        case("cox")


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_simulation_based_calibration(name: str):
    """A hundred replicates find gross errors only; a release runs `cohort sbc --replicates 1000`."""
    rows = uniformity(calibrated(case(name), replicates=100, seed=1))
    for row in rows:
        assert abs(row["mean"] - 0.5) < 4 * row["se"], row
        assert row["beyond"] < 0.03, row
    # Of right models one parameter in twenty leaves its band.
    assert sum(not row["inside"] for row in rows) <= max(2, len(rows) // 5)
    assert rows[0]["diverged"] <= 5
