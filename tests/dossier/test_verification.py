"""The dossier's own checks: they hold here, know an order, and say so where something is wrong."""

import dataclasses
import struct

import numpy as np
import polars as pl
import pytest

from cohort.dossier import verification
from cohort.dossier.verification import Numerics, analytic, observed_order, refinement, streams, verify
from cohort.engine import solve
from cohort.results import Results


@pytest.fixture(scope="module")
def checks(results: Results):
    return verify(results, patients=8)


def test_every_check_holds_here(checks):
    assert [row["what"] for row in checks.failed] == []
    assert {row["kind"] for row in checks.checks} == {
        "analytic",
        "order",
        "refinement",
        "determinism",
        "streams",
        "units",
    }
    for row in checks.checks:
        assert set(row) == {"kind", "what", "expected", "found", "tolerance", "passed"}


def test_the_exact_curves_obey_their_equations():
    """Differences of the closed forms are the rates that they solve."""
    h, t = 1e-4, np.array([1.0, 3.0, 7.0, 13.5, 26.0])
    p = verification.SUBJECTS
    ka, k, v, vmax, km = (np.asarray(a)[:, None] for a in (p.ka, p.k, p.v, p.vmax, p.km))
    slope = (verification.absorbed(t + h) - verification.absorbed(t - h)) / (2 * h)
    given = sum(np.where(t >= 12 * i, 100 * np.exp(-ka * np.maximum(t - 12 * i, 0)), 0) for i in range(3))
    assert slope == pytest.approx(ka * given / v - k * verification.absorbed(t), rel=1e-6, abs=1e-7)
    y = verification.saturated(t) * v
    slope = (verification.saturated(t + h) - verification.saturated(t - h)) * v / (2 * h)
    assert slope == pytest.approx(-vmax * y / (km + y), rel=1e-6, abs=1e-8)


def test_an_order_is_read_off_errors():
    steps = np.array([0.1, 0.05, 0.025])
    assert observed_order(list(3 * steps**4), list(steps)) == pytest.approx(4)


def test_the_error_of_a_known_curve_goes_with_the_tolerance():
    rows = {row["what"]: row for row in analytic(Numerics()) if row["kind"] == "order"}
    assert len(rows) == 2
    assert rows["Tsit5: power of the tolerance that its error goes with, same curve"]["found"] == pytest.approx(
        1, abs=0.15
    )


def test_a_looser_tolerance_shows_in_the_refinement(results: Results):
    """Errors fall with the tolerance, and what the study asks for is what is refined."""
    loose = results.study.numerics.model_copy(update={"rtol": 1e-4, "atol": 1e-4})
    sample = verification._sample(results, 6)
    other = dataclasses.replace(sample, study=results.study.model_copy(update={"numerics": loose}))
    tight, wide = ({(r["arm"], r["quantity"], r["of"]): r for r in refinement(s)} for s in (sample, other))
    key = ("evolocumab_140_q2w", "ldl", "output, relative")
    assert wide[key]["stated"] > 100 * tight[key]["stated"] > 0
    assert wide[key]["tenth"] < wide[key]["stated"]


def test_a_wrong_curve_fails(monkeypatch):
    exact = verification.absorbed
    monkeypatch.setattr(verification, "absorbed", lambda t: exact(t) * (1 + 1e-4))
    failed = [row for row in analytic(Numerics()) if not row["passed"]]
    assert len(failed) == 3
    assert all(row["found"] == pytest.approx(1e-4, rel=0.01) for row in failed)


def test_a_solver_that_loses_drug_fails(monkeypatch):
    def leaky(*a, **k):
        out, status = solve(*a, **k)
        return out.replace(total=out.total * 0.999), status

    monkeypatch.setattr(verification, "solve", leaky)
    failed = [row["what"] for row in analytic(Numerics()) if not row["passed"]]
    assert [what.split(": ")[1] for what in failed] == ["mass balance of the same"] * 3


def test_a_curve_that_is_no_number_fails(monkeypatch):
    def broken(*a, **k):
        out, status = solve(*a, **k)
        return out.replace(c=np.full_like(out.c, np.nan)), status

    monkeypatch.setattr(verification, "solve", broken)
    assert sum(not row["passed"] for row in analytic(Numerics()) if row["kind"] == "analytic") == 5


def test_other_random_numbers_fail(monkeypatch):
    monkeypatch.setattr(verification, "philox", lambda *w: (1, 2, 3, 4))
    assert [row["passed"] for row in streams()] == [False] * 3


def test_one_bit_of_a_result_is_seen(own):
    """The last bit of one LDL value in the result folder."""
    from cohort.results import open_results

    here = open_results(own)
    file = here.arm_file("evolocumab_140_q2w")
    rows = pl.read_parquet(file)
    values = rows["ldl"].to_numpy().copy()
    at = int(np.flatnonzero((rows["draw"] == 0).to_numpy())[3])
    values[at] = struct.unpack("<d", struct.pack("<q", struct.unpack("<q", struct.pack("<d", values[at]))[0] ^ 1))[0]
    rows.with_columns(ldl=pl.Series(values)).write_parquet(file)
    failed = verify(here, patients=4).failed
    assert [row["what"] for row in failed] == ["evolocumab_140_q2w: the result folder's, solved again"]
    assert "relative difference" in failed[0]["found"]


def test_a_dependence_on_company_is_seen(results: Results, monkeypatch):
    """A course whose first patient takes something from the last one."""
    sample = verification._sample(results, 8)
    true = verification._Sample.run

    def leaning(self, arm, study=None, rows=None, threads=1):
        made = {k: v.copy() for k, v in true(self, arm, study, rows, threads).items()}
        made["ldl"][0] += 1e-12 * made["ldl"][-1]
        return made

    monkeypatch.setattr(verification._Sample, "run", leaning)
    rows = list(verification.determinism(results, sample))
    assert not any(row["passed"] for row in rows[1:3])


def test_a_closed_form_is_set_beside_a_stepping_solver(linear, results: Results):
    """A linear model has no step to refine: the difference from Tsit5 stands in its place."""
    from cohort.model import Endpoint, last

    model = linear.replace(endpoints={"c_last": Endpoint(lambda out: last(out.c), unit="mg/L", about="")})
    arm = results.study.arms["evolocumab_140_q2w"]
    plan = results.study.endpoints["ldl_change"].model_copy(update={"margin": None})
    study = results.study.model_copy(update={"arms": {"a": arm}, "endpoints": {"c_last": plan}})
    table = results.population.head(4).select("subject", "weight", "sex").with_columns(draw=pl.lit(0, dtype=pl.Int32))
    parameters = pl.DataFrame({"draw": [0], **{k: [v] for k, v in model.typical().items()}})
    times = np.array([v.to("d") for v in study.visits])
    sample = verification._Sample(study, model, table, parameters.cast({"draw": pl.Int32}), times)
    rows = refinement(sample)
    assert [row["tenth"] for row in rows] == [None] * len(rows)
    assert 0 < max(row["stated"] for row in rows if row["of"].startswith("output")) < 1e-8
    checks = list(verification._of_refinement(sample, rows))
    assert all("beside Tsit5" in row["what"] and row["passed"] for row in checks)


def test_the_rows_are_plain_data(checks):
    import json

    assert json.loads(json.dumps(dataclasses.asdict(checks)))["checks"] == checks.checks
