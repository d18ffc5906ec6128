"""What an arm says beside one regimen: infusions, a later start, other drugs, adherence, a rule; and the numerics."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest

from cohort.engine import Numerics
from cohort.library import path_of
from cohort.simulation import numerics
from cohort.study import Arm, Problem, Study, fingerprint, read_study

type Edit = tuple[str, str]

STUDY = "config/studies/laplace.yaml"
NAME = "evolocumab_70_q2w"
ARM = "  evolocumab_70_q2w:  {n: 79, dose: 70 mg,  route: sc, every: 2 wk, for: 12 wk, control: placebo_q2w}"
OTHER = "  evolocumab_105_q2w: {n: 79, dose: 105 mg, route: sc, every: 2 wk, for: 12 wk, control: placebo_q2w}"
PLACEBO = "  placebo_q2w:        {n: 78}"
RULE = """

class Dose(Record):
    amount: Scalar = fixed(500.0, "nmol", about="of each dose from now on")


def decide(t, seen, memory):
    amount = jnp.where(seen.ldl > 70.0, 1.5, 1.0) * memory.amount
    return Decision(Dose(amount=amount), doses={"sc": amount})


def drip(t, seen, memory):
    return Decision(memory, rates={"iv": jnp.where(seen.c < 100.0, 10.0, 0.0)})


model = model.replace(
    rules={
        "treat_to_target": Rule(Dose, decide, about="half as much again until LDL is below 70 mg/dL"),
        "keep_up": Rule(Dose, drip, about="an infusion while the concentration is below 100 nM"),
    }
)
"""


def arm(more: str, line: str = ARM) -> Edit:
    """The arm, and what is written behind its other keys."""
    return line, f"{line.removesuffix('}')}, {more}}}"


ALSO = "{dose: 420 mg, route: iv, every: 4 wk, for: 8 wk, start: 2 wk, over: 1 h}"
ADHERENCE = (
    "{missed: 0.1, spread: 0.15, runs: 0.2, doubled: 0.01, late: 2 h, half_stop_within: 1 y, "
    "routes: [sc], source: 'Vrijens 2008'}"
)


@pytest.fixture
def mine(folder: Path) -> Edit:
    """Evolocumab with decision rules, beside the study; the edit that takes it as the study's model."""
    text = path_of("evolocumab").read_text().replace("import (\n", "import (\n    Decision,\n    Rule,\n", 1)
    (folder / "config/studies/mine.py").write_text(text + RULE)
    return "model: evolocumab", "model: mine.py"


def _line(folder: Path, text: str) -> int:
    return (folder / STUDY).read_text().split(text, 1)[0].count("\n") + 1


# --- what is read ----------------------------------------------------------------------------------------------------


def said(path: Path) -> dict[str, Any]:
    """All that the arm says once it is read, as plain values; what stands for nothing is left out."""
    plain = read_study(path).arms[NAME].model_dump(mode="json", by_alias=True)
    return {key: value for key, value in plain.items() if value is not None}


def regimens(path: Path) -> list[dict[str, Any]]:
    return [r.model_dump(mode="json", by_alias=True) for r in read_study(path).arms[NAME].regimens]


PLAIN = {"dose": "70 mg", "route": "sc", "every": "2 wk", "for": "12 wk"}
FIRST = PLAIN | {"n": 79, "control": "placebo_q2w"}


def test_an_arm_without_these_keys_has_one_regimen_of_boluses_from_the_first_day_on(edited, laplace: Study):
    assert said(edited()) == FIRST
    assert regimens(edited()) == [PLAIN]
    assert laplace.arms["placebo_q2w"].regimens == []


def test_an_infusion_begins_at_its_start_and_takes_its_time(edited):
    path = edited((ARM, ARM.replace("for: 12 wk", "for: 8 wk, start: 10 d, over: 90 h")))
    assert said(path) == FIRST | {"for": "8 wk", "start": "10 d", "over": "90 h"}
    assert regimens(path) == [PLAIN | {"for": "8 wk", "start": "10 d", "over": "90 h"}]


def test_other_regimens_follow_the_first_in_their_order(edited):
    third = "{dose: 30 mg, route: sc, every: 1 d, for: 3 d}"
    assert regimens(edited(arm(f"also: [{ALSO}, {third}]"))) == [
        PLAIN,
        {"dose": "420 mg", "route": "iv", "every": "4 wk", "for": "8 wk", "start": "2 wk", "over": "1 h"},
        {"dose": "30 mg", "route": "sc", "every": "1 d", "for": "3 d"},
    ]


def test_a_regimen_may_stand_on_lines_of_its_own(edited):
    lines = [
        "  evolocumab_70_q2w:",
        "    n: 79",
        "    dose: 70 mg",
        "    route: sc",
        "    every: 2 wk",
        "    for: 12 wk",
    ]
    lines += ["    also:", "      - dose: 420 mg", "        route: iv", "        every: 4 wk", "        for: 8 wk"]
    assert [r["route"] for r in regimens(edited((ARM, "\n".join(lines))))] == ["sc", "iv"]


def test_adherence_is_what_patients_make_of_their_doses(edited):
    shares = {"missed": 0.1, "spread": 0.15, "runs": 0.2, "doubled": 0.01}
    times = {"late": "2 h", "half_stop_within": "1 y"}
    whole = shares | times | {"routes": ["sc"], "source": "Vrijens 2008"}
    assert said(edited(arm(f"adherence: {ADHERENCE}")))["adherence"] == whole


def test_a_rule_may_decide_at_times_of_its_own(edited, mine: Edit):
    path = edited(mine, arm("rule: {name: treat_to_target, at: [0 d, 3 d, 4 d, 6 d, 10 d]}"))
    rule = read_study(path).arms[NAME].rule
    assert rule is not None
    assert rule.model_dump(mode="json") == {"name": "treat_to_target", "at": ["0 d", "3 d", "4 d", "6 d", "10 d"]}
    assert rule.times("h", 8 * 24.0).tolist() == [0, 72, 96, 144], "nothing is decided after the last visit"


def test_what_adherence_does_not_say_is_perfect(edited):
    nothing = {"missed": 0.0, "spread": 0.0, "runs": 0.0, "doubled": 0.0, "late": "0 h"}
    nothing |= {"half_stop_within": None, "routes": None, "source": "assumption"}
    assert said(edited(arm("adherence: {late: 0 h, source: assumption}")))["adherence"] == nothing


def test_a_rule_is_named_with_how_often_it_decides(edited, mine: Edit):
    rule = {"name": "treat_to_target", "every": "2 wk", "start": "4 wk"}
    path = edited(mine, arm("rule: {name: treat_to_target, every: 2 wk, start: 4 wk}"))
    assert said(path) == FIRST | {"rule": rule}


def test_an_arm_may_have_nothing_but_a_rule(edited, mine: Edit):
    path = edited(mine, (ARM, "  evolocumab_70_q2w: {n: 79, rule: {name: keep_up, every: 2 wk}}"))
    assert said(path) == {"n": 79, "rule": {"name": "keep_up", "every": "2 wk"}}


def test_numerics_are_what_the_study_says_or_the_engines_own(edited, laplace: Study):
    given = ("seed:", "numerics: {solver: stiff, backend: xla, rtol: 1e-6, atol: 1e-9}\nseed:")
    said = {"solver": "stiff", "backend": "xla", "rtol": 1e-6, "atol": 1e-9}
    assert read_study(edited(given)).numerics.model_dump() == said
    assert numerics(laplace) == Numerics()


def test_an_arm_is_frozen_with_all_that_it_holds(edited):
    read = read_study(edited(arm(f"also: [{ALSO}], adherence: {ADHERENCE}"))).arms[NAME]
    for part, key in ((read, "start"), (read.also[0], "over"), (read.adherence, "missed")):
        with pytest.raises(pydantic.ValidationError, match="frozen"):
            setattr(part, key, None)


# --- what is refused -------------------------------------------------------------------------------------------------

# One thing wrong with an arm that has a rule to call: what is written behind its other keys (or the edit), the key that
# is named, and what is said of it.
WRONG: dict[str, tuple[str | Edit, str, str]] = {
    "unknown key": ("adherance: {missed: 0.1, source: x}", "adherance", "unknown key; did you mean 'adherence'?"),
    "dose of a charge": (
        (ARM, ARM.replace("70 mg", "70 mV")),
        "dose",
        "'70 mV' is not a mass; write a number and one of ug, mg, g, kg",
    ),
    "dose in a unit that reads as another": (
        (ARM, ARM.replace("70 mg", "70 Mg")),
        "dose",
        "'70 Mg' is not a mass; write a number and one of ug, mg, g, kg, or the unit of the state",
    ),
    "dose of the wrong thing beside": (
        f"also: [{ALSO.replace('420 mg', '420 mL')}]",
        "also.0.dose",
        "'420 mL' is not a mass; write a number and one of ug",
    ),
    "start as a mass": ("start: 2 mg", "start", "'2 mg' is not a time; write a number and one of h, d, wk, y"),
    "start without a unit": ("start: 2", "start", "2 is not a time; write a number and one of h, d, wk, y"),
    "start before the first visit": ("start: -1 d", "start", "'-1 d' must not be negative"),
    "start that leaves no time": (
        "start: 1 wk",
        "for",
        "'12 wk', from '1 wk' on, ends after the last visit; shorten it or add a visit",
    ),
    "infusion in no time": ("over: 0 h", "over", "'0 h' must be more than 0"),
    "infusion over a mass": ("over: 2 mg", "over", "'2 mg' is not a time"),
    "start of placebo": (
        (PLACEBO, "  placebo_q2w: {n: 78, start: 1 wk}"),
        "",
        "start without a dose; add dose, route,",
    ),
    "infusion of placebo": (
        (PLACEBO, "  placebo_q2w: {n: 78, over: 1 h}"),
        "",
        "over without a dose; add dose, route,",
    ),
    "a second drug beside none": (
        (PLACEBO, f"  placebo_q2w: {{n: 78, start: 0 wk, over: 1 h, also: [{ALSO}]}}"),
        "",
        "start, over, also without a dose; add dose, route, every and for",
    ),
    "one regimen for a list": (
        f"also: {ALSO}",
        "also",
        "write a list such as [a, b], or a line with a dash for each item",
    ),
    "second regimen by no route": (
        f"also: [{ALSO.replace('iv', 'oral')}]",
        "also.0.route",
        "'oral' is no route of the model; write one of sc, iv",
    ),
    "third regimen by no route": (
        f"also: [{ALSO}, {ALSO.replace('iv', 'ivv')}]",
        "also.1.route",
        "'ivv' is no route of the model; did you mean 'iv'?",
    ),
    "second regimen in part": (
        "also: [{dose: 420 mg, route: iv, every: 4 wk}]",
        "also.0.for",
        "missing; add it",
    ),
    "second regimen misspelt": (
        f"also: [{ALSO.replace('over', 'ovr')}]",
        "also.0.ovr",
        "unknown key; did you mean 'over'?",
    ),
    "second regimen of no dose": (
        f"also: [{ALSO.replace('420 mg', '0 mg')}]",
        "also.0.dose",
        "'0 mg' must be more than 0",
    ),
    "second regimen beyond the last visit": (
        f"also: [{ALSO.replace('start: 2 wk', 'start: 5 wk')}]",
        "also.0.for",
        "'8 wk', from '5 wk' on, ends after the last visit",
    ),
    "second interval beyond its dosing": (
        f"also: [{ALSO.replace('every: 4 wk', 'every: 9 wk')}]",
        "also.0.every",
        "'9 wk' is longer than for, '8 wk'; for a single dose write the same time twice",
    ),
    "adherence of a second regimen": (
        f"also: [{ALSO.replace('over: 1 h', 'adherence: {missed: 0.1, source: x}')}]",
        "also.0.adherence",
        "unknown key; known keys: dose, route, every, for, start, over",
    ),
    "adherence as a number": ("adherence: 0.9", "adherence", "found 0.9; write keys and values below it"),
    "adherence from nowhere": ("adherence: {missed: 0.1}", "adherence.source", "missing; add it"),
    "adherence without words": ("adherence: {missed: 0.1, source: ''}", "adherence.source", "write some text"),
    "adherence misspelt": (
        "adherence: {mised: 0.1, source: x}",
        "adherence.mised",
        "unknown key; did you mean 'missed'?",
    ),
    "more missed than all": (
        "adherence: {missed: 1.1, source: x}",
        "adherence.missed",
        "found 1.1; write at most 1",
    ),
    "percent missed": (
        "adherence: {missed: 10 percent, source: x}",
        "adherence.missed",
        "found '10 percent'; write a number such as 0.05",
    ),
    "fewer than none doubled": (
        "adherence: {doubled: -0.1, source: x}",
        "adherence.doubled",
        "found -0.1; write at least 0",
    ),
    "runs without end": (
        "adherence: {missed: 0.1, runs: 1, source: x}",
        "adherence.runs",
        "found 1; write less than 1",
    ),
    "patients more different than all or nothing": (
        "adherence: {missed: 0.1, spread: 0.4, source: x}",
        "adherence",
        "spread 0.4 is more than shares around 0.1 have; write less than 0.3",
    ),
    "patients who differ in missing nothing": (
        "adherence: {spread: 0.1, source: x}",
        "adherence",
        "spread is of the share missed; add missed",
    ),
    "late by a number": ("adherence: {late: 2, source: x}", "adherence.late", "2 is not a time; write a number and"),
    "early": ("adherence: {late: -2 h, source: x}", "adherence.late", "'-2 h' must not be negative"),
    "all stop at once": (
        "adherence: {half_stop_within: 0 d, source: x}",
        "adherence.half_stop_within",
        "'0 d' must be more than 0",
    ),
    "adherence to a route that is not dosed": (
        "adherence: {missed: 0.1, routes: [sc, iv], source: x}",
        "adherence.routes.1",
        "the arm has no doses by 'iv'; write one of sc",
    ),
    "adherence to a misspelt route": (
        f"also: [{ALSO}], adherence: {{missed: 0.1, routes: [ivv], source: x}}",
        "adherence.routes.0",
        "the arm has no doses by 'ivv'; did you mean 'iv'?",
    ),
    "adherence to one route": (
        "adherence: {missed: 0.1, routes: sc, source: x}",
        "adherence.routes",
        "found 'sc'; write a list such as [a, b]",
    ),
    "unknown rule": (
        "rule: {name: treat_to_taget, every: 2 wk}",
        "rule.name",
        "'treat_to_taget' is no rule of the model; did you mean 'treat_to_target'?",
    ),
    "rule by its name alone": ("rule: treat_to_target", "rule", "found 'treat_to_target'; write keys and values below"),
    "rule that never decides": (
        "rule: {name: treat_to_target}",
        "rule",
        "it decides `every` so often or `at` times of its own; write one of the two",
    ),
    "rule that decides in two ways": (
        "rule: {name: treat_to_target, every: 1 wk, at: [0 d]}",
        "rule",
        "it decides `every` so often or `at` times of its own; write one of the two",
    ),
    "rule at times, and from a start": (
        "rule: {name: treat_to_target, at: [0 d], start: 1 d}",
        "rule",
        "start belongs to every; leave it out, for `at` says each time",
    ),
    "rule at times out of order": (
        "rule: {name: treat_to_target, at: [0 d, 3 d, 3 d]}",
        "rule",
        "at: '3 d' does not come after '3 d'; order the times, each once",
    ),
    "rule at no time": ("rule: {name: treat_to_target, at: []}", "rule.at", "found []; write at least 1 items"),
    "rule at what is no time": (
        "rule: {name: treat_to_target, at: [2 mg]}",
        "rule.at.0",
        "'2 mg' is not a time; write a number and one of h, d, wk, y",
    ),
    "rule after the trial": (
        "rule: {name: treat_to_target, at: [0 d, 1 y]}",
        "rule.at.1",
        "'1 y' is after the last visit; leave it out, or add a visit",
    ),
    "rule that decides all the time": (
        "rule: {name: treat_to_target, every: 0 d}",
        "rule.every",
        "'0 d' must be more than 0",
    ),
    "rule that decides before the start": (
        "rule: {name: treat_to_target, every: 2 wk, start: -2 wk}",
        "rule.start",
        "'-2 wk' must not be negative",
    ),
    "rule misspelt": (
        "rule: {name: treat_to_target, every: 2 wk, strat: 0 wk}",
        "rule.strat",
        "unknown key; did you mean 'start'?",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_an_arm_is_named_by_line_and_key(
    problems: Callable[..., list[Problem]], folder: Path, mine: Edit, case: str
):
    wrong, key, message = WRONG[case]
    edit = arm(wrong) if isinstance(wrong, str) else wrong
    name = NAME if isinstance(wrong, str) or NAME in edit[1] else "placebo_q2w"
    [found] = [p for p in problems(mine, edit) if p.line == _line(folder, edit[1])]
    assert found.key == f"arms.{name}.{key}".rstrip(".")
    assert message in found.message


def test_a_rule_of_a_model_without_rules_is_refused_with_how_to_write_one(problems):
    [found] = problems(arm("rule: {name: treat_to_target, every: 2 wk}"))
    assert found.key == f"arms.{NAME}.rule.name"
    assert found.message.endswith("is no rule of the model; the model has none; add rules={...} to its Model")


@pytest.mark.parametrize("more", ["start: 0 wk", "over: 1 h", f"also: [{ALSO}]", f"adherence: {ADHERENCE}"])
def test_arms_that_are_the_same_in_all_they_say_are_refused(problems, more: str):
    line, changed = arm(more, OTHER)
    [found] = problems(arm(more), (line, changed.replace("105 mg", "70 mg")))
    assert found.key == "arms.evolocumab_105_q2w"
    assert found.message == f"is the same as '{NAME}'; write each arm once"


@pytest.mark.parametrize("more", ["over: 1 h", f"also: [{ALSO}]", f"adherence: {ADHERENCE}"])
def test_arms_that_differ_in_one_of_these_keys_are_two(edited, more: str):
    read = read_study(edited(("dose: 105 mg, ", "dose: 70 mg,  "), arm(more)))
    assert read.arms[NAME].treatment != read.arms["evolocumab_105_q2w"].treatment


def test_arms_that_differ_in_their_number_or_control_are_the_same():
    one, other = Arm.model_validate({"n": 10}), Arm.model_validate({"n": 20, "control": "one"})
    assert one.treatment == other.treatment


NUMERICS = {
    "solver": ("{solver: implicit}", "found 'implicit'; write 'auto', 'linear', 'explicit' or 'stiff'"),
    "backend": ("{backend: cuda}", "found 'cuda'; write 'native' or 'xla'"),
    "rtol": ("{rtol: 0}", "found 0; write at least 1e-13"),
    "atol": ("{atol: 0}", "found 0; write more than 0"),
    "tol": ("{tol: 1e-6}", "unknown key; did you mean '"),
}


@pytest.mark.parametrize("key", NUMERICS)
def test_numerics_that_the_engine_does_not_have_are_refused(problems, folder: Path, key: str):
    given, message = NUMERICS[key]
    [found] = problems(("seed:", f"numerics: {given}\nseed:"))
    assert (found.key, found.line) == (f"numerics.{key}", _line(folder, "numerics:"))
    assert message in found.message


def test_all_that_is_wrong_with_the_arms_comes_at_once(problems, folder: Path):
    found = problems(
        arm("over: 0 h, rule: {name: treat, every: 2 wk}"),
        arm("also: [{dose: 30 mgs, route: sc, every: 1 d, for: 13 wk}], adherence: {missed: 2, source: x}", OTHER),
        (PLACEBO, "  placebo_q2w: {n: 78, start: 1 wk}"),
        ("seed:", "numerics: {solver: implicit}\nseed:"),
    )
    keys = [p.key for p in found]
    assert keys == [
        "arms.placebo_q2w",
        f"arms.{NAME}.over",
        "arms.evolocumab_105_q2w.also.0.dose",
        "arms.evolocumab_105_q2w.adherence.missed",
        "numerics.solver",
    ]
    lines = [_line(folder, f"  {name}:") for name in ("placebo_q2w", NAME, "evolocumab_105_q2w", "evolocumab_105_q2w")]
    assert [p.line for p in found[:4]] == lines


# --- the fingerprint -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mendel", "yukawa"])
def test_studies_that_use_none_of_it_are_those_that_were_registered(root: Path, laplace: Study, name: str):
    registered = json.loads((root / f"config/registered/{name}.json").read_text())["identity"]
    assert fingerprint(read_study(root / f"config/studies/{name}.yaml")) == registered["study"]
    assert fingerprint(laplace) == registered["calibration"]["study_hash"]


def test_numerics_that_are_the_engines_own_leave_the_fingerprint(edited, laplace: Study):
    said = read_study(edited(("seed:", "numerics: {solver: auto, rtol: 1e-8}\nseed:")))
    assert fingerprint(said) == fingerprint(laplace)


def test_no_other_regimens_leave_the_fingerprint(edited, laplace: Study):
    assert fingerprint(read_study(edited(arm("also: []")))) == fingerprint(laplace)


@pytest.mark.parametrize(
    "edit",
    [
        (ARM, ARM.replace("for: 12 wk", "for: 10 wk")),
        (ARM, ARM.replace("for: 12 wk", "for: 10 wk, start: 2 wk")),
        arm("over: 1 h"),
        arm("over: 2 h"),
        arm(f"also: [{ALSO}]"),
        arm(f"also: [{ALSO}, {ALSO}]"),
        arm("adherence: {missed: 0.1, source: x}"),
        arm("adherence: {missed: 0.1, runs: 0.1, source: x}"),
        arm("adherence: {missed: 0.1, source: y}"),
        ("seed:", "numerics: {rtol: 1e-7}\nseed:"),
        ("seed:", "numerics: {solver: stiff}\nseed:"),
    ],
    ids=lambda edit: edit[1][-60:].strip(),
)
def test_each_key_is_in_the_fingerprint_with_its_value(edited, laplace: Study, seen: dict[str, Any], edit: Edit):
    changed = fingerprint(read_study(edited(edit)))
    assert changed != fingerprint(laplace)
    assert seen.setdefault(changed, edit) == edit, "two studies have one fingerprint"


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    return {}


def test_a_rule_is_in_the_fingerprint_with_its_times(edited, mine: Edit):
    rules = ["{name: treat_to_target, every: 2 wk}", "{name: treat_to_target, every: 4 wk}"]
    rules += ["{name: treat_to_target, every: 2 wk, start: 4 wk}", "{name: treat_to_target, at: [2 wk]}"]
    path = edited(mine)
    prints = [fingerprint(read_study(path))]
    plain = path.read_text()
    for rule in rules:
        path.write_text(plain.replace(*arm(f"rule: {rule}")))
        prints.append(fingerprint(read_study(path)))
    assert len(set(prints)) == 5
