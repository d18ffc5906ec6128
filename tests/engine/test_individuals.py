"""Every subject's own parameters from random effects and covariates, in machine code as in JAX."""

import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from cohort import library
from cohort.engine import machine, subjects
from cohort.engine.subjects import individuals
from cohort.model import Model, Record, Scalar, category, fixed, logitnormal, lognormal, normal, quantity

N = 100
ISAS = ["avx2", "avx512"] if machine.target() == "avx512" else [machine.target()]


class Covariates(Record):
    weight: Scalar = quantity("kg", "body weight")
    genotype: Scalar = category("*1/*1", "*1/*3", "*3/*3")
    fasted: Scalar = category("no", "yes")


class Parameters(Record):
    """One of each kind: of variability, and of what a covariate does."""

    cl: Scalar = lognormal(3.0, "L/h", cv=0.4, about="by weight and genotype")
    v: Scalar = lognormal(40.0, "L", cv=0.2, about="tied to the clearance")
    f: Scalar = logitnormal(0.7, sd=0.5, unit="1", about="by food")
    shift: Scalar = normal(-1.0, "h", sd=2.0, about="of either sign")
    base: Scalar = fixed(5.0, "1", about="replaced by a covariate")
    power: Scalar = fixed(0.75, "1", about="exponent of weight")
    unchanged: Scalar = fixed(1 / 3, "1", about="what no covariate touches")


class State(Record):
    y: Scalar = quantity("1", "a state")


CLEARED = np.array([1.0, 0.6, 0.2])
EATEN = np.array([[1.0, 0.8], [0.9, 0.7], [0.5, 0.3]])


def individual(p: Parameters, x: Covariates) -> Parameters:
    size = x.weight / 70
    return p.replace(
        cl=p.cl * size**p.power * jnp.asarray(CLEARED)[jnp.asarray(x.genotype, int)],
        v=p.v * size * jnp.where((x.fasted == 1) & (x.genotype > 0), 1.2, 1.0),
        f=jnp.clip(p.f * jnp.asarray(EATEN)[jnp.asarray(x.genotype, int), jnp.asarray(x.fasted, int)], 0.0, 0.6),
        shift=jnp.maximum(p.shift, -0.5) + jnp.log1p(x.weight) - jnp.tanh(size) * jnp.sqrt(size),
        base=x.weight,
    )


MADE_UP = Model(
    covariates=Covariates,
    parameters=Parameters,
    state=State,
    outputs=State,
    time="h",
    individual=individual,
    initial=lambda p: State(y=p.base),
    ode=lambda t, y, p: State(y=-p.cl / p.v * y.y),
    observe=lambda t, y, p: y,
    routes={},
    endpoints={},
    correlations={("cl", "v"): 0.6},
)
MODELS = {"made up": MADE_UP} | {name: library.load(name) for name in library.names()}


@functools.cache
def drawn(name: str) -> tuple[dict[str, np.ndarray], Any]:
    """Random effects and covariates of N subjects."""
    model, rng = MODELS[name], np.random.default_rng(16)
    z = {n: rng.standard_normal(N) for n in model.effects()}
    levels = {n: m["levels"] for n, m in model.covariates.fields().items()}
    x = {n: rng.integers(0, len(of), N).astype(float) if of else rng.lognormal(4.3, 0.3, N) for n, of in levels.items()}
    return z, model.covariates(**x)


def made(name: str, who: Sequence[int], isa: str = "", covariates: bool = True) -> np.ndarray:
    """Parameters of some of the subjects, (parameters, n)."""
    model, (z, x) = MODELS[name], drawn(name)
    them = np.asarray(who)
    some = type(x)(**{n: v[them] for n, v in vars(x).items()}) if covariates else None
    p = individuals(model, model.typical(), {n: v[them] for n, v in z.items()}, some, len(them), isa)
    assert list(vars(p)) == list(model.parameters.fields())
    return np.stack(list(vars(p).values()))


def people(x: Any, **typical: Any) -> Any:
    """Parameters of the N subjects of the model that is made up."""
    return individuals(MADE_UP, MADE_UP.typical() | typical, drawn("made up")[0], x, N)


def in_jax(name: str, covariates: bool) -> np.ndarray:
    model, (z, x) = MODELS[name], drawn(name)
    whole = {n: np.asarray(v, int) if model.covariates.fields()[n]["levels"] else v for n, v in vars(x).items()}
    if covariates:
        p = model.subject(model.typical(), z, model.covariates(**whole))
    else:
        p = model.varied(model.typical(), z)
    return np.stack([np.broadcast_to(np.asarray(v, float), N) for v in vars(p).values()])


@pytest.mark.parametrize("covariates", [True, False], ids=["with covariates", "without"])
@pytest.mark.parametrize("name", MODELS)
def test_a_subjects_parameters_are_those_of_the_model(name: str, covariates: bool):
    """To the rounding of a sum of a few terms that cancel, in another order (the whole body's volumes)."""
    np.testing.assert_allclose(made(name, range(N), covariates=covariates), in_jax(name, covariates), rtol=5e-14)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", MODELS)
def test_a_subjects_parameters_have_the_same_bits_in_any_company(name: str, isa: str):
    everyone = made(name, range(N))
    for who in ([0], [99], [1, 2, 3], range(15), range(16), range(17), range(99, -1, -1), [4, 4, 70, 4]):
        assert np.array_equal(made(name, who, isa).view(np.int64), everyone[:, np.asarray(who)].view(np.int64))


def test_a_subjects_parameters_do_not_depend_on_the_width_of_the_code(monkeypatch: pytest.MonkeyPatch):
    everyone = made("made up", range(N))
    for width in (4, 8):
        monkeypatch.setattr(subjects, "WIDTH", width)
        subjects._code.cache_clear()
        assert np.array_equal(made("made up", range(N)), everyone)
    subjects._code.cache_clear()


def test_a_single_value_is_that_of_every_subject():
    _, x = drawn("made up")
    single = people(x.replace(weight=81.5, genotype=2))
    typical = {n: np.full(N, v) for n, v in MADE_UP.typical().items()}
    each = people(x.replace(weight=np.full(N, 81.5), genotype=np.full(N, 2.0)), **typical)
    for name, value in vars(single).items():
        assert value.shape == (N,)
        assert np.array_equal(value, getattr(each, name)), name
    assert (single.base == 81.5).all()


def test_typical_values_that_differ_by_subject_are_each_subjects_own():
    """As a posterior gives them: one draw a trial."""
    _, x = drawn("made up")
    cl = np.linspace(1, 5, N)
    got = people(x, cl=cl, **{"cl.spread": 0.0}).cl
    assert got == pytest.approx(cl * (x.weight / 70) ** 0.75 * CLEARED[x.genotype.astype(int)], rel=1e-14)


def test_correlated_effects_move_together():
    rng = np.random.default_rng(17)
    z = {n: rng.standard_normal(20_000) for n in MADE_UP.effects()}
    p: Any = individuals(MADE_UP, MADE_UP.typical(), z, None, 20_000)
    assert np.corrcoef(np.log(p.cl), np.log(p.v))[0, 1] == pytest.approx(0.6, abs=0.02)


def test_a_subject_who_is_no_number_leaves_the_others_alone():
    _, x = drawn("made up")
    got, want = people(x.replace(weight=np.where(np.arange(N) == 7, np.nan, x.weight))), people(x)
    others = np.arange(N) != 7
    assert np.isnan(got.cl[7])
    assert np.isnan(got.base[7])
    assert got.unchanged[7] == want.unchanged[7]
    for name, value in vars(got).items():
        assert np.array_equal(value[others], getattr(want, name)[others]), name


def test_of_nobody_there_are_no_parameters():
    x = MADE_UP.covariates(weight=np.empty(0), genotype=np.empty(0), fasted=np.empty(0))
    p = individuals(MADE_UP, MADE_UP.typical(), {n: np.empty(0) for n in MADE_UP.effects()}, x, 0)
    assert {np.shape(v) for v in vars(p).values()} == {(0,)}
