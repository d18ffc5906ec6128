"""What a study says of its conduct is read, has no part in the fingerprint where it is left out, or is refused."""

from typing import Any

import pytest

from cohort.library import path_of
from cohort.study import fingerprint, read_study

CONDUCT = """conduct:
  dropout: 0
  source: a test
  enrolment: {rate: 30 1/wk, ramp: 8 wk, cutoff: 2 y, source: a test}
  allocation: {blocks: [8, 16], ratio: {ARMS}, strata: [sex, "ldl >= 130 mg/dL"]}
  visits: {window: 2 d, missed: 0.05, source: a test}
  discontinuation:
    share: 0.1
    depends: [{on: ldl, log_hazard: 0.1, per: 10 mg/dL, reference: 120 mg/dL}]
    after: {treatment_related_ae: 0.3}
    source: a test
  withdrawal:
    share: 0.05
    depends: [{on: ldl_change, log_hazard: 0.2, per: 10 percent, reference: 0 percent, value: actual}]
    source: a test
  rescue: {when: "ldl >= 190 mg/dL", since: 2 wk, output: ldl, effect: -30 percent, half_time: 1 wk, source: a test}
"""
ESTIMAND = """estimand:
      population: all randomised
      treatment: evolocumab beside a statin against placebo
      variable: percent change of LDL cholesterol from baseline to week 12
      summary: mean difference
      events: {discontinuation: treatment policy, rescue: {strategy: composite, value: 0 percent}}
"""
OLD = """conduct:
  dropout: 0.04
  source: "assumption: not found; a few percent in 12 weeks"
"""
TEXT = "estimand: Mean percent change from baseline at week 12 in all randomised, had nobody left the trial\n"
ARMS = (
    "placebo_q2w: 1, evolocumab_70_q2w: 1, evolocumab_105_q2w: 1, evolocumab_140_q2w: 1, "
    "placebo_q4w: 1, evolocumab_280_q4w: 1, evolocumab_350_q4w: 1, evolocumab_420_q4w: 1"
)
WHOLE = ((OLD, CONDUCT.replace("ARMS", ARMS)), (TEXT, ESTIMAND))

DOSE = "{on: dose, log_hazard: 0.1, per: 70 mg, reference: 0 mg}"

REGISTERED = {"mendel": "a29559d83259", "yukawa": "85329691e6b5"}


@pytest.mark.parametrize("name", REGISTERED)
def test_regression_registered_studies_keep_their_fingerprint(root, name: str):
    assert fingerprint(read_study(root / f"config/studies/{name}.yaml")).startswith(REGISTERED[name])


def test_a_conduct_says_what_its_lines_say(edited):
    study = read_study(edited(*WHOLE))
    conduct = study.conduct
    assert conduct.enrolment is not None
    assert conduct.enrolment.rate.to("1/d") == pytest.approx(30 / 7)
    assert conduct.allocation is not None
    assert conduct.allocation.blocks == [8, 16]
    assert [str(s) for s in conduct.allocation.strata] == ["sex", "ldl >= 130 mg/dL"]
    assert conduct.visits is not None
    assert [str(w) for w in conduct.visits.window or []] == ["2 d"]
    assert conduct.discontinuation is not None
    assert conduct.discontinuation.after == {"treatment_related_ae": 0.3}
    assert conduct.rescue is not None
    assert str(conduct.rescue.effect) == "-30 percent"
    estimand = study.endpoints["ldl_change"].estimand
    assert not isinstance(estimand, str)
    assert estimand.events.rescue is not None
    assert str(estimand.events.rescue.value) == "0 percent"
    assert estimand.events.withdrawal == "hypothetical"


def test_what_is_said_of_the_conduct_is_part_of_the_fingerprint(edited):
    plain = fingerprint(read_study(edited()))
    whole = fingerprint(read_study(edited(*WHOLE)))
    assert plain != whole
    assert fingerprint(read_study(edited(("missed: 0.05", "missed: 0.06")))) != whole


# One thing wrong: what is exchanged, the key that is named, and what is said of it.
WRONG: dict[str, tuple[tuple[str, str], str, str]] = {
    "dropout and withdrawal": (("dropout: 0\n", "dropout: 0.1\n"), "conduct.dropout", "write dropout: 0, or leave out"),
    "unknown key": (("ramp:", "rampe:"), "conduct.enrolment.rampe", "did you mean 'ramp'?"),
    "a rate that is a time": (("30 1/wk", "30 wk"), "conduct.enrolment.rate", "is not a quantity in 1/d"),
    "no rate": (("30 1/wk", "0 1/wk"), "conduct.enrolment.rate", "must be more than 0"),
    "cut off too early": (
        ("cutoff: 2 y", "cutoff: 20 wk"),
        "conduct.enrolment.cutoff",
        "comes before the 631 patients planned are in, about day 175; write a later one, or a higher rate",
    ),
    "blocks that cannot be shared out": (
        ("blocks: [8, 16]", "blocks: [8, 12]"),
        "conduct.allocation.blocks.1",
        "12 places cannot be shared out as 1:1:1:1:1:1:1:1; write a multiple of 8",
    ),
    "planned numbers in no simple ratio": (
        (f"ratio: {{{ARMS}}}, ", ""),
        "conduct.allocation.blocks.0",
        "write a multiple of 631, or a simpler ratio",
    ),
    "a ratio of an unknown arm": (
        ("{placebo_q2w: 1, ", "{placebo_q2: 1, placebo_q2w: 1, "),
        "conduct.allocation.ratio.placebo_q2",
        "is no arm; did you mean 'placebo_q2w'?",
    ),
    "strata of nothing": (
        ("strata: [sex,", "strata: [sx,"),
        "conduct.allocation.strata.0",
        "'sx' is no column of people",
    ),
    "strata of a quantity": (
        ("strata: [sex,", "strata: [ldl,"),
        "conduct.allocation.strata.0",
        "is a quantity in mg/dL; write a criterion such as ldl >= 1 mg/dL",
    ),
    "strata in another unit": (
        ('"ldl >= 130 mg/dL"', '"ldl >= 130 kg"'),
        "conduct.allocation.strata.1",
        "'130 kg' does not measure ldl; write it in mg/dL",
    ),
    "windows that meet": (
        ("window: 2 d", "window: 4 d"),
        "conduct.visits.window",
        "the windows of '1 wk' and '2 wk' meet; write a narrower one",
    ),
    "windows of some visits": (
        ("window: 2 d", "window: [2 d, 2 d]"),
        "conduct.visits.window",
        "2 windows for the 12 visits after the first; write one for all, or one each",
    ),
    "a hazard on nothing": (
        ("{on: ldl,", "{on: lld,"),
        "conduct.discontinuation.depends.0.on",
        "'lld' is neither an output, an endpoint of the course nor dose; did you mean 'ldl'?",
    ),
    "a hazard in another unit": (
        ("reference: 120 mg/dL", "reference: 120 kg"),
        "conduct.discontinuation.depends.0.reference",
        "'120 kg' does not measure ldl; write it in mg/dL",
    ),
    "leaving after what is no event": (
        ("after: {treatment_related_ae: 0.3}", "after: {ldl_change: 0.3}"),
        "conduct.discontinuation.after.ldl_change",
        "is no endpoint of kind event; write one of treatment_related_ae",
    ),
    "more than everyone": (
        ("after: {treatment_related_ae: 0.3}", "after: {treatment_related_ae: 1.3}"),
        "conduct.discontinuation.after.treatment_related_ae",
        "found 1.3; write at most 1",
    ),
    "rescue from what is not measured": (
        ('when: "ldl >= 190 mg/dL"', 'when: "hba1c >= 8 percent"'),
        "conduct.rescue.when",
        "'hba1c' is neither an output nor an endpoint of the course",
    ),
    "rescue of nothing": (("output: ldl,", "output: hdl,"), "conduct.rescue.output", "'hdl' is no output of the model"),
    "rescue that takes all": (
        ("effect: -30 percent", "effect: -100 percent"),
        "conduct.rescue.effect",
        "leaves nothing of ldl; write more than -100 percent",
    ),
    "rescue in another unit": (
        ("effect: -30 percent", "effect: -30 d"),
        "conduct.rescue.effect",
        "does not measure ldl",
    ),
    "rescue after the last visit": (
        ("since: 2 wk", "since: 12 wk"),
        "conduct.rescue.since",
        "leaves no visit after it; write less than '12 wk'",
    ),
    "an event without a strategy": (
        ("{discontinuation: treatment policy, rescue", "{rescue"),
        "endpoints.ldl_change.estimand.events",
        "conduct has discontinuation, and no strategy is given for it; add discontinuation",
    ),
    "a strategy that is none": (
        ("discontinuation: treatment policy,", "discontinuation: intention to treat,"),
        "endpoints.ldl_change.estimand.events.discontinuation.strategy",
        "found 'intention to treat'; write 'treatment policy'",
    ),
    "a strategy for who is not seen": (
        ("events: {disc", "events: {withdrawal: composite, disc"),
        "endpoints.ldl_change.estimand.events.withdrawal",
        "found 'composite'; write 'hypothetical'",
    ),
    "failure of what is measured": (
        ("value: 0 percent", "value: failure"),
        "endpoints.ldl_change.estimand.events.rescue.value",
        "is a measured quantity; write a number with its unit",
    ),
    "a composite in another unit": (
        ("value: 0 percent", "value: 0 mg/dL"),
        "endpoints.ldl_change.estimand.events.rescue.value",
        "'0 mg/dL' does not measure ldl_change; write it in percent",
    ),
    "a summary of shares": (
        ("summary: mean difference", "summary: odds ratio"),
        "endpoints.ldl_change.estimand.summary",
        "but ldl_change is a measured quantity; write one of mean difference",
    ),
    "a stratum nobody sees": (
        ("discontinuation: treatment policy,", "discontinuation: principal stratum,"),
        "endpoints.ldl_change.estimand.events.discontinuation",
        "not identifiable: a trial has each person in one arm; add predictor",
    ),
    "an attribute missing": (
        ("      population: all randomised\n", ""),
        "endpoints.ldl_change.estimand.population",
        "missing; add it",
    ),
    "an unknown attribute": (
        ("      population: all", "      pupulation: all"),
        "endpoints.ldl_change.estimand.pupulation",
        "unknown key; did you mean 'population'?",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_refused_with_place_and_advice(problems, name: str):
    exchanged, key, said = WRONG[name]
    found = problems(*WHOLE, exchanged)
    mine = [p for p in found if p.key == key]
    assert mine, [str(p) for p in found]
    assert said in mine[0].message


RULE = """

class Memory(Record):
    decisions: Scalar = fixed(0.0, "1", about="decisions so far")


def decide(t, seen, memory):
    return Decision(memory, doses={"sc": 1.0})


model = model.replace(rules={"titrate": Rule(Memory, decide, "a test")})
"""


def test_a_hazard_on_the_dose_is_refused_where_a_rule_sets_it(folder, problems):
    text = path_of("evolocumab").read_text().replace("import (\n", "import (\n    Decision,\n    Rule,\n", 1)
    (folder / "config/studies/ruled.py").write_text(text + RULE)
    found = problems(
        *WHOLE,
        ("model: evolocumab", "model: ruled.py"),
        ("{on: ldl, log_hazard: 0.1, per: 10 mg/dL, reference: 120 mg/dL}", DOSE),
        ("evolocumab_70_q2w:  {", "evolocumab_70_q2w:  {rule: {name: titrate, every: 2 wk}, "),
    )
    mine = [p.message for p in found if p.key == "conduct.discontinuation.depends.0.on"]
    assert mine, [str(p) for p in found]
    assert "a rule sets the doses of evolocumab_70_q2w, which are not known beforehand" in mine[0]


def test_a_hazard_on_the_dose_is_taken_where_regimens_set_it(edited):
    edits = ("{on: ldl, log_hazard: 0.1, per: 10 mg/dL, reference: 120 mg/dL}", DOSE)
    conduct = read_study(edited(*WHOLE, edits)).conduct
    assert conduct.discontinuation is not None
    assert conduct.discontinuation.depends[0].on == "dose"


def test_a_study_that_is_all_wrong_says_so_at_once(problems):
    found: list[Any] = problems(
        *WHOLE, ("dropout: 0\n", "dropout: 0.1\n"), ("window: 2 d", "window: 4 d"), ("output: ldl,", "output: hdl,")
    )
    assert {p.key for p in found} >= {"conduct.dropout", "conduct.visits.window", "conduct.rescue.output"}
