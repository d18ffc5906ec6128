"""Units are checked on the program that runs, and a wrong one is named."""

from pathlib import Path

import jax.numpy as jnp
import pytest

from cohort.library import load, path_of
from cohort.trace import check_units, dependencies


def _planted(tmp_path: Path, old: str, new: str) -> tuple[list[str], str]:
    """What the check finds in evolocumab with one change, and the changed text."""
    text = path_of("evolocumab").read_text()
    assert old in text
    changed = text.replace(old, new, 1)
    path = tmp_path / "planted.py"
    path.write_text(changed)
    return check_units(load(str(path)), str(path)), changed


def test_evolocumab_has_no_wrong_unit():
    assert check_units(load("evolocumab"), str(path_of("evolocumab"))) == []


def test_a_linear_model_has_no_wrong_unit(linear):
    assert [w for w in check_units(linear, __file__) if "no source" not in w] == []


def test_a_parameter_without_a_source_is_named(linear):
    wrong = [
        f"{__file__}:?  Parameters, {name}: no source; write where its value comes from"
        for name in ("ka", "f", "cl", "v")
    ]
    assert check_units(linear, __file__) == wrong


# One thing wrong with evolocumab's declarations: what is exchanged, what is named, and what is said of it.
DECLARED = [
    ('linear clearance", source="[1] Table 3"', 'linear clearance"', "Parameters, cl", "no source; write where"),
    ('linear clearance", source="[1] Table 3"', 'linear clearance", source=" "', "Parameters, cl", "no source"),
    ('0.319, "1/d"', '0.319, "1/dd"', "Parameters, ka", "'1/dd' is not a unit; write such as 1/d, mg/dL or percent"),
    ('quantity("kg"', 'quantity("kgg"', "Covariates, weight", "'kgg' is not a unit"),
    ('depot: Scalar = quantity("nmol"', 'depot: Scalar = quantity("nmoll"', "State, depot", "'nmoll' is not a unit"),
    ('c: Scalar = quantity("nM"', 'c: Scalar = quantity("nMM"', "Outputs, c", "'nMM' is not a unit"),
    ('"ldl_change": Endpoint(ldl_change, unit="percent"', '"ldl_change": Endpoint(ldl_change, unit="percents%"',
     "endpoints, ldl_change", "'percents%' is not a unit"),
    ('time="d"', 'time="dd"', "time", "'dd' is not a unit"),
    ('time="d"', 'time="mg"', "time", "'mg' is not a time; write such as d or h"),
    ('"sc": Route("depot", bioavailability="f"', '"sc": Route("depot", bioavailability="v"', "routes, sc",
     "its bioavailability v is in 'L'; declare v in '1'"),
    ('f: Scalar = fixed(0.72, "1"', 'f: Scalar = fixed(72, "percent"', "", "its bioavailability f is in 'percent'"),
    ("error=proportional(0.282)", 'error=proportional("sigma")', "Outputs, c",
     "its proportional sigma is in 'percent'"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "where", "message"), DECLARED)
def test_a_wrong_declaration_is_one_line_that_names_its_place(
    tmp_path: Path, old: str, new: str, where: str, message: str
):
    wrong, text = _planted(tmp_path, old, new)
    [hit] = [w for w in wrong if message in w]
    if where:
        assert hit.startswith(f"{tmp_path / 'planted.py'}:{text[: text.index(new)].count(chr(10)) + 1}  {where}: ")


def test_everything_wrong_with_declarations_comes_at_once(tmp_path: Path):
    text = path_of("evolocumab").read_text()
    for old, new, *_ in (DECLARED[0], DECLARED[2], DECLARED[3]):
        text = text.replace(old, new, 1)
    text = text.replace("- p.cl * c", "- p.cl * y.central")
    (tmp_path / "planted.py").write_text(text)
    said = "\n".join(check_units(load(str(tmp_path / "planted.py")), str(tmp_path / "planted.py")))
    for part in ("cl: no source", "'1/dd' is not a unit", "'kgg' is not a unit", "sub"):
        assert part in said


@pytest.mark.parametrize(
    ("old", "new", "found", "at"),
    [
        ("c = y.central / p.v", "c = y.central * p.v", "add", "(p.km + c)"),
        ("- p.cl * c", "- p.cl * y.central", "sub", "- p.cl * y.central"),
        ("(p.km + c)", "(p.sc50 + c)", "add", "(p.sc50 + c),"),
        ("t / p.drift_time", "t", "min", "jnp.minimum(t,"),
    ],
)
def test_a_sum_of_different_units_is_named_with_its_line(tmp_path: Path, old: str, new: str, found: str, at: str):
    wrong, text = _planted(tmp_path, old, new)
    line = text[: text.index(at)].count("\n") + 1
    assert any(f"planted.py:{line}  " in w and f": {found} " in w and "different units" in w for w in wrong)


@pytest.mark.parametrize(
    ("old", "new", "state"),
    [
        ("depot=-p.ka * y.depot", "depot=-y.depot", "depot"),
        ("depot=-p.ka * y.depot", "depot=-p.ka * y.depot / p.v", "depot"),
        ("ldl=p.kout * p.base - p.kout * (1 + stimulation) * y.ldl", "ldl=p.base - (1 + stimulation) * y.ldl", "ldl"),
        ('ka: Scalar = lognormal(0.319, "1/d"', 'ka: Scalar = lognormal(0.319, "1/h"', "depot"),
    ],
)
def test_a_state_whose_derivative_has_the_wrong_unit_is_named(tmp_path: Path, old: str, new: str, state: str):
    wrong, _ = _planted(tmp_path, old, new)
    assert any(f"ode, {state}: is in " in w for w in wrong)


def test_millilitres_are_not_litres(tmp_path: Path):
    wrong, _ = _planted(tmp_path, 'v: Scalar = lognormal(5.18, "L"', 'v: Scalar = lognormal(5.18, "mL"')
    assert wrong


def test_the_exponential_of_a_mass_is_refused(tmp_path: Path):
    wrong, text = _planted(tmp_path, "    c = y.central / p.v", "    c = jnp.exp(y.central) / p.v")
    line = text[: text.index("jnp.exp")].count("\n") + 1
    assert any(f"planted.py:{line}  ode: exp of nmol, which is not a plain number" in w for w in wrong)


def test_an_output_in_another_unit_is_named(tmp_path: Path):
    wrong, _ = _planted(tmp_path, "Outputs(c=y.central / p.v", "Outputs(c=y.central")
    assert wrong == [f"{tmp_path / 'planted.py'}  observe, c: is in nmol, but should be in nM"]


def test_an_initial_state_in_another_unit_is_named(tmp_path: Path):
    wrong, _ = _planted(tmp_path, "central=0.0, ldl=p.base)", "central=p.v, ldl=p.base)")
    assert len(wrong) == 1
    assert "initial, central: is in l, but should be in nmol" in wrong[0]


def test_dependencies_follow_the_program():
    found = dependencies(lambda v: {"a": v["x"] * v["y"], "b": jnp.exp(v["z"]), "c": 1.0}, ["x", "y", "z"])
    assert found == {"a": {"x", "y"}, "b": {"z"}, "c": set()}
