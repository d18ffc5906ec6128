"""The CiPA cell against FDA's own results, lane by lane, and against what physics keeps."""

import numpy as np
import polars as pl
import pytest

from cohort import external
from cohort.chapters.torsade.cells import NUMERICS
from cohort.engine import solve
from cohort.library import load, path_of
from cohort.model import Model, Record, Scalar, quantity
from cohort.pharmacometrics import beats
from cohort.trace import check_units

EXACT = "cipa/cipa_exact_input_output_pairs_4drugs.csv"
SOTALOL = "cipa/cipa_ref_sotalol_fixed_metrics.csv"
CVODE = "cipa/cipa_28drugs_qnet_computed_cvode.csv"
FIXED = "cipa/cipa_28drugs_fixed_parameters_chantest2020.csv"
QNET, APD = 2e-5, 1.0  # uC/uF, ms: how near FDA's results are to be
LAST_250 = [751, 1000]  # where a slow drug still drifts, the steepest of the last 250 beats is one of these two

needs_data = pytest.mark.skipif(
    external.found(EXACT) is None, reason="needs cipa/ (FDA/CiPA, github.com/FDA/CiPA) below COHORT_DATA"
)

GIVEN = {
    "concentration": "conc_nM",
    "kmax": "Kmax",
    "ku": "Ku",
    "n": "n",
    "halfmax": "halfmax",
    "vhalf": "Vhalf",
    "ic50_na": "INa_IC50",
    "h_na": "INa_h",
    "ic50_nal": "INaL_IC50",
    "h_nal": "INaL_h",
    "ic50_cal": "ICaL_IC50",
    "h_cal": "ICaL_h",
}


@pytest.fixture(scope="module")
def cipa() -> Model:
    return load("cipa")


def _read(path: str) -> pl.DataFrame:
    return pl.read_csv(external.file(path, obtain="FDA/CiPA"), null_values=["NA", ""])


def _dosed(model: Model, drug: list[str], exposure: list[float], sex: int = 0) -> Record:
    """Cells of no sex in a drug, by the table of the model's file."""
    n, levels = len(drug), model.covariates.fields()["drug"]["levels"]
    x = model.covariates(
        drug=np.array([levels.index(d) for d in drug]), exposure=np.array(exposure), sex=np.full(n, sex)
    )
    p = model.subject(model.typical() | {"sexed": 0.0}, dict.fromkeys(model.effects(), np.zeros(n)), x)
    return model.parameters(**{k: np.broadcast_to(np.asarray(v, float), n) for k, v in vars(p).items()})


def _joined(*parts: Record) -> Record:
    columns = {name: np.concatenate([getattr(p, name) for p in parts]) for name in vars(parts[0])}
    return type(parts[0])(**columns)


def _agreement(paced: pl.DataFrame, fda: pl.DataFrame) -> dict[str, np.ndarray]:
    """How far from FDA's, row by row, of the beat that counts."""
    own = beats.counting(paced)
    return {
        "qnet": np.abs(own["qnet"].to_numpy() - fda["out_qNet"].to_numpy()),
        "apd50": np.abs(own["apd50"].to_numpy() - fda["out_APD50"].to_numpy()),
        "apd90": np.abs(own["apd90"].to_numpy() - fda["out_APD90"].to_numpy()),
        "slope": np.abs(own["slope"].to_numpy() - fda["out_max_dv"].to_numpy()),
        "peak": np.abs(own["peak"].to_numpy() - fda["out_vmax"].to_numpy()),
        "rest": np.abs(own["rest"].to_numpy() - fda["out_vrest"].to_numpy()),
    }


def _exact(model: Model, rows: pl.DataFrame) -> Record:
    return beats.cells(model, rows.height, **{name: rows[column].to_numpy() for name, column in GIVEN.items()})


@pytest.fixture(scope="module")
def paced(cipa) -> dict[str, tuple[pl.DataFrame, pl.DataFrame]]:
    """A thousand beats, once for all tests: 16 of the exact rows, four of each drug and one at each dose; sotalol; the
    drugs that were also solved with CVODE. Of each, what is known and what came out."""
    exact = _read(EXACT)
    exact = pl.concat(
        [exact.filter(dose_xCmax=dose).group_by("drug", maintain_order=True).first() for dose in range(1, 5)]
    )
    sotalol, cvode = _read(SOTALOL), _read(CVODE)
    given = {"exact": exact, "sotalol": sotalol, "cvode": cvode}
    p = _joined(
        _exact(cipa, exact),
        _dosed(cipa, ["sotalol"] * sotalol.height, sotalol["dose"].to_list()),
        _dosed(cipa, cvode["drug"].replace("control", "none").to_list(), cvode["dose_xCmax"].cast(float).to_list()),
    )
    table, of, start = beats.pace(cipa, p, 1000, LAST_250), {}, 0
    for name, known in given.items():
        of[name] = known, table.filter(pl.col("cell").is_between(start, start + known.height, closed="left"))
        start += known.height
    return of


def test_all_units_agree(cipa):
    assert check_units(cipa, str(path_of("cipa"))) == []


def test_the_undrugged_cell_stays_where_it_is_and_beats_as_published(cipa):
    """qNet 0.06967 uC/uF, APD50 238, APD90 290 ms, peak 41.673, rest -88.014 mV at a cycle of 2000 ms."""
    first, later = beats.pace(cipa, beats.cells(cipa, 1), 50, [1, 50]).iter_rows(named=True)
    for beat in (first, later):
        assert beat["qnet"] == pytest.approx(0.06967, abs=1e-5)
        assert (beat["apd50"], beat["apd90"]) == (238, 290)
        assert beat["peak"] == pytest.approx(41.673, abs=1e-3)
        assert beat["rest"] == pytest.approx(-88.0144, abs=5e-4)
    assert later["qnet"] == pytest.approx(first["qnet"], abs=5e-6)


@pytest.mark.slow
def test_what_membrane_and_ions_hold_of_charge_stays_what_it_was(cipa):
    """Each current moves ions whose charge is the membrane's: v C = F V (Na + K + 2 Ca, bound Ca with it) + a constant;
    so v drifts with nothing. And hERG channels are in one of nine states."""
    herg = ("ic1", "ic2", "c1", "c2", "o", "io", "iobound", "obound", "cbound")

    class Held(Record):
        charge: Scalar = quantity("mV", "what the cell's ions would charge its membrane to, less its potential")
        channels: Scalar = quantity("1", "hERG channels")
        ki: Scalar = quantity("mM", "K in the cytosol")

    def observe(t, y, p):
        cytosol = y.cai + p.cmdn * y.cai / (p.km_cmdn + y.cai) + p.trpn * y.cai / (p.km_trpn + y.cai)
        below = y.cass + p.bsr * y.cass / (p.km_bsr + y.cass) + p.bsl * y.cass / (p.km_bsl + y.cass)
        junctions = y.cajsr + p.csqn * y.cajsr / (p.km_csqn + y.cajsr)
        held = p.v_myo * (y.nai + y.ki + 2 * cytosol) + p.v_ss * (y.nass + y.kss + 2 * below)
        held = held + 2 * (p.v_nsr * y.cansr + p.v_jsr * junctions)
        return Held(charge=held * p.faraday / (p.area * p.cm) - y.v, channels=sum(getattr(y, s) for s in herg), ki=y.ki)

    model = cipa.replace(outputs=Held, observe=observe)
    p = _dosed(cipa, ["none", "dofetilide"], [1.0, 4.0])
    times = np.array([0.0, 0.25, 1.0, 100.0, 300.0, 2000.0, 40000.0])
    out, _ = solve(model, p, beats.pacing(model, 20, 2), times, numerics=beats.NUMERICS)
    assert np.abs(out.charge - out.charge[:, :1]).max() < 2e-3  # mV, of 1.6e6 that the ions hold
    assert np.abs(out.channels - 1).max() < 1e-5  # the supplied start sums to 1 - 8e-7
    assert np.abs(out.ki - out.ki[:, :1]).max() < 0.05


@needs_data
def test_sixteen_of_fdas_rows_come_out_as_fdas(paced):
    apart = _agreement(paced["exact"][1], paced["exact"][0])
    assert apart["qnet"].max() <= QNET
    assert apart["apd90"].max() <= APD
    assert apart["apd50"].max() <= APD
    assert apart["slope"].max() <= 5e-4  # mV/ms
    assert apart["peak"].max() <= 2e-3  # mV
    assert apart["rest"].max() <= 1e-3


@needs_data
def test_sotalol_at_six_concentrations_comes_out_as_fdas(paced):
    fda, own = paced["sotalol"][0], beats.counting(paced["sotalol"][1])
    assert np.abs(own["qnet"].to_numpy() - fda["qNet"].to_numpy() / 1000).max() <= QNET
    assert np.abs(own["apd90"].to_numpy() - fda["APD90"].to_numpy()).max() <= APD


@needs_data
def test_drugs_of_the_table_agree_with_another_solver_and_program(paced):
    """CVODE, 1000 beats at 1 x Cmax, the last one; hERG, ICaL, INaL, INa and, where the file has them, the others."""
    known, own = paced["cvode"][0], paced["cvode"][1].filter(beat=1000)
    assert np.abs(own["qnet"].to_numpy() - known["qNet_uC_per_uF"].to_numpy()).max() <= 1e-5
    assert np.abs(own["apd90"].to_numpy() - known["APD90_ms"].to_numpy()).max() <= APD


@needs_data
def test_the_table_of_drugs_is_that_of_fda(cipa):
    """Kinetics, half blocks and Cmax of 28 drugs, as `individual` looks them up."""
    table = _read(FIXED)
    p = _dosed(cipa, table["drug"].to_list(), [1.0] * table.height)
    columns = GIVEN | {"concentration": "Cmax_nM"}
    for name, column in columns.items():
        assert getattr(p, name).tolist() == table[column].cast(float).to_list(), name


def test_women_have_longer_action_potentials_and_sex_can_be_left_out(cipa):
    """Longer at rest, as women's QTc is [Yang & Clancy 2012]; without the ratios the sexes are one."""

    def of(sex: int, sexed: float) -> Record:
        x = cipa.covariates(drug=np.zeros(1, int), exposure=np.zeros(1), sex=np.array([sex]))
        p = cipa.subject(cipa.typical() | {"sexed": sexed}, dict.fromkeys(cipa.effects(), np.zeros(1)), x)
        return cipa.parameters(**{k: np.broadcast_to(np.asarray(v, float), 1) for k, v in vars(p).items()})

    p = _joined(of(0, 1.0), of(1, 1.0), of(0, 0.0), of(1, 0.0))
    man, woman, *neither = beats.pace(cipa, p, 5)["apd90"].to_list()
    assert man < neither[0] < woman
    assert neither == [290, 290]


@pytest.mark.slow
@needs_data
def test_all_four_hundred_of_fdas_rows_come_out_as_fdas_at_the_chapters_tolerance(cipa):
    """A hundred times coarser than the rows above: the speed of the full run is that of steps that are good enough."""
    exact = _read(EXACT)
    paced = beats.pace(cipa, _exact(cipa, exact), 1000, LAST_250, numerics=NUMERICS, threads=2)
    apart = _agreement(paced, exact)
    assert apart["qnet"].max() <= QNET
    assert apart["apd90"].max() <= APD
