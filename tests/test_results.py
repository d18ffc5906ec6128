"""A result folder: each step's work is found again, and what is missing names the step that makes it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cohort.comparison import compare
from cohort.posterior import parameter_draws
from cohort.results import Results, ResultsError, open_results
from cohort.store import write


@pytest.fixture
def mendel(root, tmp_path) -> Results:
    """MENDEL as if nothing had been run, in a project of its own: nothing here may touch the real results."""
    for part in ("config/studies", "config/evidence"):
        shutil.copytree(root / part, tmp_path / part)
    results = open_results(tmp_path / "config/studies/mendel.yaml")
    for file in (results.folder, results.posterior_file):
        assert file.is_relative_to(tmp_path)
    return results


@pytest.fixture
def posterior():
    from arviz_base import from_dict

    rng = np.random.default_rng(1)
    groups = {
        "posterior": {
            "smax": 2 + 0.1 * rng.standard_normal((4, 30)),
            "sc50.spread": np.abs(rng.standard_normal((4, 30))),
            "arm_mean": rng.standard_normal((4, 30, 2)),
        },
        "sample_stats": {"diverging": np.zeros((4, 30), dtype=bool)},
    }
    tree = from_dict(groups, coords={"arm": ["placebo_q2w", "evolocumab_140_q2w"]}, dims={"arm_mean": ["arm"]})
    tree.attrs |= {"study": "laplace", "summary": json.dumps({"parameters": [{"parameter": "smax"}]})}
    return tree


@pytest.mark.parametrize(
    ("what", "verb"),
    [
        ("population", "population"),
        ("attrition", "population"),
        ("parameters", "simulate"),
        ("visits", "simulate"),
        ("trial", "trial"),
        ("comparison", "compare"),
        ("summary", "compare"),
    ],
)
def test_what_is_not_there_names_the_command_that_makes_it(mendel, what: str, verb: str):
    with pytest.raises(ResultsError, match=rf"is not there yet; run: cohort {verb} .*config/studies/mendel\.yaml"):
        getattr(mendel, what)


def test_a_calibration_that_was_not_run_names_the_study_it_belongs_to(mendel):
    wanted = r"results/laplace/posterior\.nc is not there yet; run: cohort calibrate .*config/studies/laplace\.yaml"
    with pytest.raises(ResultsError, match=wanted):
        _ = mendel.posterior


def test_a_study_without_calibration_has_no_posterior(mendel):
    alone = open_results(mendel.study.model_copy(update={"parameters_from": None}))
    assert alone.posterior is None
    assert alone.calibration is None


def test_sensitivity_is_there_once_it_was_run(mendel):
    assert mendel.sensitivity is None
    mendel.folder.mkdir(parents=True)
    mendel.sensitivity_file.write_text('{"variants": []}')
    mendel.stamp("sensitivity")
    assert open_results(mendel.study).sensitivity == {"variants": []}


def test_a_posterior_reads_back_as_it_was_written(mendel, posterior, evolocumab):
    write(mendel.posterior_file, posterior.to_netcdf)
    mendel.calibrated.stamp("calibrate")
    again = mendel.posterior
    assert again is not None
    assert set(again.children) == set(posterior.children)
    for name, values in posterior["posterior"].data_vars.items():
        assert np.array_equal(again["posterior"][name].values, values.values)
    assert again["posterior"]["arm"].values.tolist() == ["placebo_q2w", "evolocumab_140_q2w"]
    assert again["sample_stats"]["diverging"].values.dtype == bool
    assert dict(again.attrs) == dict(posterior.attrs)
    assert mendel.calibration == {"parameters": [{"parameter": "smax"}]}
    before, after = (parameter_draws(mendel.study, evolocumab, tree) for tree in (posterior, again))
    assert before.equals(after)


def test_writing_a_tree_leaves_no_half_of_one(mendel, posterior):
    def interrupted(path: Path) -> None:
        posterior.to_netcdf(path)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(mendel.posterior_file, interrupted)
    assert list(mendel.posterior_file.parent.iterdir()) == []


def test_a_comparison_without_evidence_reads_back(laplace, evolocumab, tmp_path):
    """No validation: no posterior, yet every table is there."""
    import polars as pl

    from cohort.comparison import Predictions

    study = laplace.model_copy(update={"evidence": {}, "root": tmp_path})
    empty = pl.DataFrame(schema={"draw": pl.Int32, "arm": pl.String, "code": pl.Int8})
    made = Predictions({}, {}, {"treatment_related_ae": None})
    tree = compare(study, empty, predictions=made, analysis=empty)
    results = open_results(study)
    write(results.comparison_file, tree.to_netcdf)
    results.stamp("compare")
    assert results.summary["validation"] is False
    assert [row["modelled"] for row in results.summary["events"]] == [False, False]


def test_a_study_is_opened_by_its_file_or_by_its_name(root, monkeypatch):
    monkeypatch.chdir(root)
    by_name, by_file = open_results("mendel"), open_results(root / "config/studies/mendel.yaml")
    assert by_name.study.name == by_file.study.name == "mendel"
    assert by_file.folder == root / "results/mendel"
    assert by_file.arm_file("placebo_q2w") == root / "results/mendel/arms/placebo_q2w.parquet"
