"""A study is read into one frozen object, or refused with every reason at once, each with its place."""

import re
import shutil
from pathlib import Path

import pydantic
import pytest

from cohort.library import path_of
from cohort.study import Study, StudyError, fingerprint, read_study

type Edit = tuple[str, str]


def _line(path: Path, text: str) -> int:
    return path.read_text().split(text, 1)[0].count("\n") + 1


@pytest.mark.parametrize("name", ["laplace", "mendel", "yukawa"])
def test_the_shipped_studies_are_read(root: Path, name: str):
    study = read_study(root / f"config/studies/{name}.yaml")
    assert study.name == name
    assert study.root == root
    assert study.results == root / "results" / name


def test_a_study_is_frozen(laplace):
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        laplace.seed = 1
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        laplace.arms["placebo_q2w"].n = 1


def test_a_study_says_what_its_file_says(laplace):
    arm = laplace.arms["evolocumab_140_q2w"]
    assert (arm.n, str(arm.dose), arm.route, arm.every.to("d"), arm.duration.to("d")) == (78, "140 mg", "sc", 14, 84)
    assert laplace.arms["placebo_q2w"].dose is None
    assert [v.to("wk") for v in laplace.visits] == pytest.approx(range(13))
    assert laplace.seed == 20121106


ARM = "  evolocumab_70_q2w:  {n: 79, dose: 70 mg,  route: sc, every: 2 wk, for: 12 wk, control: placebo_q2w}"
SPREAD = "    pcsk9:     {mean: 430 ng/mL, sd: 130 ng/mL, source"
EVIDENCE = "  laplace: {file: config/evidence/laplace.csv, use: calibration}"

# One thing wrong with laplace.yaml: what is exchanged, the key that is named, and what is said of it.
WRONG = {
    "unknown key": (("seed: 20121106", "seed: 20121106\nsede: 3"), "sede", "unknown key; did you mean 'seed'?"),
    "unknown key like nothing": (("seed:", "zzz: 3\nseed:"), "zzz", "unknown key; known keys: title, registry"),
    "unknown key of an arm": (
        (ARM, ARM.replace("every", "evry")),
        "arms.evolocumab_70_q2w.evry",
        "unknown key; did you mean 'every'?",
    ),
    "unknown key of a covariate": (
        (SPREAD, SPREAD.replace("sd:", "sdd: 3, sd:")),
        "population.covariates.pcsk9.sdd",
        "unknown key; did you mean 'sd'?",
    ),
    "unknown key of the analysis": (("  draws: 64", "  drawz: 64"), "analysis.drawz", "did you mean 'draws'?"),
    "duplicate key": (("seed: 20121106", "seed: 20121106\nseed: 3"), "seed", "written twice, first on line"),
    "duplicated arm name": ((ARM, ARM + "\n" + ARM), "arms.evolocumab_70_q2w", "written twice, first on line"),
    "missing section": (("seed: 20121106", ""), "", "'seed' is missing; add it"),
    "missing key": (("  dropout: 0.04\n", ""), "conduct.dropout", "missing; add it"),
    "no is a word": (
        ("  dropout: 0.04", "  dropout: no"),
        "conduct.dropout",
        "found 'no'; write a number such as 0.05",
    ),
    "true is no number": (
        ("{n: 78}", "{n: true}"),
        "arms.placebo_q2w.n",
        "found True; write a whole number such as 2000",
    ),
    "quoted number": (("{n: 78}", "{n: '78'}"), "arms.placebo_q2w.n", "found '78'; write a whole number such as 2000"),
    "half a patient": (("{n: 78}", "{n: 78.5}"), "arms.placebo_q2w.n", "found 78.5; write a whole number such as 2000"),
    "negative arm": (("{n: 78}", "{n: -78}"), "arms.placebo_q2w.n", "found -78; write more than 0"),
    "negative size": (("size: 2000", "size: -1"), "population.size", "found -1; write more than 0"),
    "no size": (("size: 2000", "size: 0"), "population.size", "found 0; write more than 0"),
    "negative seed": (("seed: 20121106", "seed: -1"), "seed", "found -1; write at least 0"),
    "misspelt unit": (
        ("dose: 70 mg", "dose: 70 mgs"),
        "arms.evolocumab_70_q2w.dose",
        "'70 mgs' is not a mass; write a number and one of ug, mg, g, kg",
    ),
    "dose in days": (
        ("dose: 70 mg", "dose: 70 d"),
        "arms.evolocumab_70_q2w.dose",
        "'70 d' is not a mass; write a number",
    ),
    "dose without unit": (
        ("dose: 70 mg", "dose: 70"),
        "arms.evolocumab_70_q2w.dose",
        "70 is not a mass; write a number",
    ),
    "negative dose": (("dose: 70 mg", "dose: -70 mg"), "arms.evolocumab_70_q2w.dose", "'-70 mg' must be more than 0"),
    "endless dose": (("dose: 70 mg", "dose: 1e999 mg"), "arms.evolocumab_70_q2w.dose", "is not a mass"),
    "interval in mg": ((ARM, ARM.replace("2 wk", "2 mg", 1)), "arms.evolocumab_70_q2w.every", "'2 mg' is not a time"),
    "no interval": (
        (ARM, ARM.replace("2 wk", "0 wk", 1)),
        "arms.evolocumab_70_q2w.every",
        "'0 wk' must be more than 0",
    ),
    "half a regimen": (
        (ARM, ARM.replace("every: 2 wk, ", "")),
        "arms.evolocumab_70_q2w",
        "add every, or leave out all four",
    ),
    "unknown route": (
        (ARM, ARM.replace("route: sc", "route: oral")),
        "arms.evolocumab_70_q2w.route",
        "'oral' is no route of the model; write one of sc, iv",
    ),
    "unknown control": (
        (ARM, ARM.replace("control: placebo_q2w", "control: placebo_q3w")),
        "arms.evolocumab_70_q2w.control",
        "'placebo_q3w' is no other arm; did you mean 'placebo_q",
    ),
    "own control": (
        (ARM, ARM.replace("control: placebo_q2w", "control: evolocumab_70_q2w")),
        "arms.evolocumab_70_q2w.control",
        "'evolocumab_70_q2w' is no other arm",
    ),
    "same arm under another name": (
        ("dose: 70 mg, ", "dose: 105 mg, "),
        "arms.evolocumab_105_q2w",
        "is the same as 'evolocumab_70_q2w'; write each arm once",
    ),
    "arm with a bad name": (
        ("placebo_q4w:        {n: 79}", "Placebo Q4W: {n: 79}"),
        "arms.Placebo Q4W",
        "is not a name",
    ),
    "dosing beyond the last visit": (
        (ARM, ARM.replace("for: 12 wk", "for: 14 wk")),
        "arms.evolocumab_70_q2w.for",
        "'14 wk' ends after the last visit",
    ),
    "first visit later": (
        ("visits: [0 wk, 1 wk", "visits: [1 wk"),
        "visits.0",
        "the first visit is the baseline; write 0 wk",
    ),
    "visits out of order": (
        ("1 wk, 2 wk, 3 wk", "1 wk, 3 wk, 2 wk"),
        "visits.3",
        "does not come after the visit before",
    ),
    "visit before the start": (
        ("visits: [0 wk, 1 wk", "visits: [-1 wk, 1 wk"),
        "visits.0",
        "'-1 wk' must not be negative",
    ),
    "unknown endpoint": (
        ("  ldl_below_25:  ", "  ldl_below_52:  "),
        "endpoints.ldl_below_52",
        "did you mean 'ldl_below_25'?",
    ),
    "negative margin": (
        ("margin: 5 percent", "margin: -5 percent"),
        "endpoints.ldl_change.margin",
        "'-5 percent' must be more",
    ),
    "margin in mg": (
        ("margin: 5 percent", "margin: 5 mg"),
        "endpoints.ldl_change.margin",
        "'5 mg' is not a quantity in percent",
    ),
    "role unknown": (
        ("role: efficacy", "role: eficacy"),
        "endpoints.ldl_change.role",
        "found 'eficacy'; write 'efficacy' or 'safety'",
    ),
    "no discrepancy": (
        ("  discrepancy: 5", "  discrepancy: -5"),
        "analysis.discrepancy",
        "'-5 percent' must be more than 0",
    ),
    "everyone drops out": (
        ("dropout: 0.04", "dropout: 1.0"),
        "conduct.dropout",
        "found 1.0; write less than 1",
    ),
    "missing covariate": (
        (SPREAD, "    pcsk10:    {mean: 430 ng/mL, sd: 130 ng/mL, source"),
        "population.covariates",
        "the model needs 'pcsk9' (ng/mL) and the source lacks it; add it",
    ),
    "covariate in another dimension": (
        (SPREAD, SPREAD.replace("430 ng/mL", "430 kg")),
        "population.covariates.pcsk9.mean",
        "'430 kg' is not a quantity in ng/mL; write it in ng/mL",
    ),
    "covariate that is negative": (
        (SPREAD, SPREAD.replace("430 ng/mL", "-430 ng/mL")),
        "population.covariates.pcsk9.mean",
        "'-430 ng/mL' must be more than 0",
    ),
    "share of a quantity": (
        ("{mean: 430 ng/mL, sd: 130 ng/mL, source", "{fraction: 0.5, source"),
        "population.covariates.pcsk9",
        "is a quantity in ng/mL; write mean and sd",
    ),
    "mean of a category": (
        ("statin:    {fraction: 1,", "statin:    {mean: 1 kg, sd: 1 kg,"),
        "population.covariates.statin",
        "has the levels no, yes; write fraction",
    ),
    "share beyond one": (
        ("{fraction: 1,", "{fraction: 1.5,"),
        "population.covariates.statin.fraction",
        "found 1.5; write at most 1",
    ),
    "eligibility of no one": (
        ("    - ldl >= 85 mg/dL", "    - ldl >= 85 mg/dL\n    - ldl < 70 mg/dL"),
        "population.eligibility.2",
        "no one can meet 'ldl < 70 mg/dL' together with the lines above; ldl has no value left",
    ),
    "eligibility of a single excluded point": (
        ("    - ldl >= 85 mg/dL", "    - ldl >= 85 mg/dL\n    - ldl < 85 mg/dL"),
        "population.eligibility.2",
        "no one can meet 'ldl < 85 mg/dL'",
    ),
    "eligibility of two levels": (
        ("    - ldl >= 85 mg/dL", "    - statin == yes\n    - statin == no"),
        "population.eligibility.2",
        "no one can meet 'statin == no' together with the lines above",
    ),
    "eligibility upside down": (
        ("18 y <= age <= 80 y", "80 y <= age <= 18 y"),
        "population.eligibility.0",
        "no one can meet '80 y <= age <= 18 y'",
    ),
    "eligibility of an unknown column": (
        ("ldl >= 85 mg/dL", "ldll >= 85 mg/dL"),
        "population.eligibility.1",
        "'ldll' in 'ldll >= 85 mg/dL' is no column; did you mean 'ldl'?",
    ),
    "eligibility in another dimension": (
        ("ldl >= 85 mg/dL", "ldl >= 85 kg"),
        "population.eligibility.1",
        "'ldl >= 85 kg': kg cannot be written in mg/dL; ldl is in mg/dL",
    ),
    "eligibility of an unknown level": (
        ("ldl >= 85 mg/dL", "statin == maybe"),
        "population.eligibility.1",
        "'maybe' is no level of statin; write one of no, yes",
    ),
    "eligibility that is code": (
        ("ldl >= 85 mg/dL", "__import__('os').system('true')"),
        "population.eligibility.1",
        "is not a criterion; write such as 18 y <= age <= 80 y",
    ),
    "unknown source of people": (
        ("source: us ", "source: uk "),
        "population.source",
        "found 'uk'; write 'us', 'europe', 'japan'",
    ),
    "unknown model": (("model: evolocumab", "model: evolocumap"), "model", "no model 'evolocumap'; the library has: "),
    "evidence that is not there": (
        ("config/evidence/laplace.csv", "config/evidence/laplase.csv"),
        "evidence.laplace.file",
        "there is no file 'config/evidence/laplase.csv'",
    ),
    "evidence outside the project": (
        ("config/evidence/laplace.csv", "../laplace.csv"),
        "evidence.laplace.file",
        "'../laplace.csv' leaves the project; write a path below its root",
    ),
    "evidence at the root of the disk": (
        ("config/evidence/laplace.csv", "/etc/passwd"),
        "evidence.laplace.file",
        "'/etc/passwd' leaves the project",
    ),
    "evidence for nothing": (
        (EVIDENCE, EVIDENCE.replace("use: calibration", "use: validation")),
        "calibration",
        "there is no evidence with use: calibration; add it",
    ),
    "calibration of no endpoint": (
        ("  endpoint: ldl_change", "  endpoint: ldl_chance"),
        "calibration.endpoint",
        "'ldl_chance' is no endpoint; did you mean 'ldl_change'?",
    ),
    "prior of no parameter": (
        ("    smax:      ", "    smacks:    "),
        "calibration.priors.smacks",
        "neither a parameter of the model nor of an event",
    ),
    "prior that is none": (
        ("lognormal(2, 0.7)", "lognormal(2)"),
        "calibration.priors.smax.prior",
        "lognormal takes 2 finite",
    ),
    "prior in another dimension": (
        ('prior: "lognormal(0.305, 0.3)", unit: 1/d', 'prior: "lognormal(0.305, 0.3)", unit: d'),
        "calibration.priors.kout.unit",
        "'d' does not measure what kout does; write 1/d",
    ),
    "prior that is no log-normal": (
        ('"lognormal(2, 0.7)"', '"normal(2, 0.7)"'),
        "calibration.priors.smax.prior",
        "smax is log-normal, 'normal(2, 0.7)' is not; write lognormal(median, sd of log)",
    ),
    "prior that is half a normal": (
        ('"lognormal(2, 0.7)"', '"halfnormal(2)"'),
        "calibration.priors.smax.prior",
        "smax is log-normal, 'halfnormal(2)' is not; write lognormal",
    ),
    "prior of a spread below zero": (
        ('smax.spread: {prior: "halfnormal(0.5)"', 'smax.spread: {prior: "normal(0.5, 0.2)"'),
        "calibration.priors.smax.spread.prior",
        "'normal(0.5, 0.2)' lets a standard deviation be negative; write halfnormal(scale) or lognormal(",
    ),
    "prior of a residual below zero": (
        ('"lognormal(15, 0.3)"', '"normal(15, 5)"'),
        "calibration.priors.sigma.prior",
        "'normal(15, 5)' lets a standard deviation be negative",
    ),
    "another prior of no parameter": (
        ("priors: {kout: [", "priors: {kuot: ["),
        "calibration.sensitivity.priors.kuot",
        "is not among the priors above; did you mean 'kout'?",
    ),
    "groups apart in no parameter": (
        ("per_group: drift", "per_group: drif"),
        "calibration.sensitivity.per_group",
        "'drif' is not among the priors above; did you mean 'drift'?",
    ),
    "groups apart in another dimension": (
        ("per_group: drift", "per_group: sc50"),
        "calibration.sensitivity.per_group",
        "sc50 is in ug/mL, ldl_change in percent; name a parameter that shifts it",
    ),
    "discrepancy in another dimension": (
        ("  discrepancy: 5 percent", "  discrepancy: 5 mg/dL"),
        "analysis.discrepancy",
        "'5 mg/dL' measures no endpoint; write it in percent",
    ),
    "calibration of an event": (
        ("  endpoint: ldl_change", "  endpoint: treatment_related_ae"),
        "calibration.endpoint",
        "'treatment_related_ae' counts subjects; write one that is measured: ldl_change",
    ),
    "calibration of yes or no": (
        ("  endpoint: ldl_change", "  endpoint: ldl_below_25"),
        "calibration.endpoint",
        "'ldl_below_25' counts subjects; write one that is measured: ldl_change",
    ),
    "coarse grid": (
        ("  step: 0.75 d", "  step: 8 d"),
        "calibration.step",
        "'8 d' is longer than the 7 d between the first two visits; write less",
    ),
    "more draws than there are": (
        ("  draws: 64", "  draws: 2401"),
        "analysis.draws",
        "2401 are more than the 2400 that the calibration makes (chains times draws); write fewer",
    ),
    "arm of one": (
        ("{n: 78}", "{n: 1}"),
        "arms.placebo_q2w.n",
        "1 patient has no standard deviation; write at least 2",
    ),
    "population smaller than its trial": (
        ("size: 2000", "size: 630"),
        "population.size",
        "the arms plan 631 patients, the population has 630; raise it",
    ),
    "dosing for no time": (
        (ARM, ARM.replace("for: 12 wk", "for: 0 wk")),
        "arms.evolocumab_70_q2w.for",
        "'0 wk' must be more than 0",
    ),
    "interval beyond the dosing": (
        (ARM, ARM.replace("every: 2 wk, for: 12 wk", "every: 4 wk, for: 2 wk")),
        "arms.evolocumab_70_q2w.every",
        "'4 wk' is longer than for, '2 wk'; for a single dose write the same time twice",
    ),
    "eligibility below what a model holds possible": (
        ("ldl >= 85 mg/dL", "ldl < 1 mg/dL"),
        "population.eligibility.1",
        "no one can meet 'ldl < 1 mg/dL'; write a limit on ldl within 10 to 800 mg/dL",
    ),
    "eligibility beyond what a model holds possible": (
        ("ldl >= 85 mg/dL", "ldl > 10000 mg/dL"),
        "population.eligibility.1",
        "no one can meet 'ldl > 10000 mg/dL'",
    ),
    "eligibility of the oldest": (
        ("18 y <= age <= 80 y", "age > 121 y"),
        "population.eligibility.0",
        "no one can meet 'age > 121 y'; write a limit on age within 0 to 120 y",
    ),
    "eligibility before birth": (("18 y <= age <= 80 y", "age < 0 y"), "population.eligibility.0", "no one can meet"),
    "eligibility of giants": (
        ("ldl >= 85 mg/dL", "height >= 3 m"),
        "population.eligibility.1",
        "write a limit on height within 50 to 250 cm",
    ),
    "eligibility of the weightless": (
        ("ldl >= 85 mg/dL", "weight < 10 kg"),
        "population.eligibility.1",
        "write a limit on weight within 20 to 300 kg",
    ),
    "eligibility by an impossible index": (
        ("ldl >= 85 mg/dL", "bmi > 200 kg/m**2"),
        "population.eligibility.1",
        "write a limit on bmi within 8 to 150 kg/m**2",
    ),
    "mean that no one has": (
        (SPREAD, SPREAD.replace("430 ng/mL", "430 ug/mL")),
        "population.covariates.pcsk9.mean",
        "'430 ug/mL' is no plausible mean; write one within 20 to 3000 ng/mL",
    ),
    "nothing": (("seed: 20121106", "seed:"), "seed", "found nothing; write a whole number such as 2000"),
    "words that are a list": (
        ("model: evolocumab", "model: [evolocumab]"),
        "model",
        "found ['evolocumab']; write text, in quotes if it looks like a number",
    ),
    "words that are a number": (("model: evolocumab", "model: 3"), "model", "found 3; write text, in quotes if"),
    "no words": (("title: ", "title: '' # "), "title", "found ''; write some text"),
    "list that is none": (
        ("visits: [0 wk, ", "visits: 12 wk # "),
        "visits",
        "found '12 wk'; write a list such as [a, b]",
    ),
    "range of visits backwards": (
        ("visits: [0 wk, 1 wk", "visits: [0 wk, {from: 1 wk, until: 0 wk, every: 1 d}"),
        "visits.1",
        "until '0 wk' comes before from '1 wk'; write a later one",
    ),
    "range of visits off its steps": (
        ("visits: [0 wk, 1 wk", "visits: [0 wk, {from: 1 d, until: 6 d, every: 2 d}, 1 wk"),
        "visits.1",
        "from '1 d' to '6 d' is no whole number of '2 d'; write until: 5 d",
    ),
    "range of visits without an end": (
        ("visits: [0 wk, 1 wk", "visits: [0 wk, {from: 1 wk, every: 1 d}"),
        "visits.1.until",
        "missing; add it",
    ),
    "range of visits misspelt": (
        ("visits: [0 wk, 1 wk", "visits: [0 wk, {from: 1 wk, until: 2 wk, evry: 1 d}"),
        "visits.1",
        "unknown key 'evry'; did you mean 'every'?",
    ),
    "range of visits in no steps": (
        ("visits: [0 wk, 1 wk", "visits: [0 wk, {from: 1 wk, until: 2 wk, every: 0 d}"),
        "visits.1.every",
        "'0 d' must be more than 0",
    ),
    "range of very many visits": (
        ("visits: [0 wk, 1 wk", "visits: [0 wk, {from: 1 wk, until: 2 wk, every: 1 ms}"),
        "visits.1",
        "'1 ms' makes 6.05e+08 visits; write at most 100,000",
    ),
    "one visit": (("visits: [0 wk, ", "visits: [0 wk] # "), "visits", "write at least 2 items"),
    "python in a tag": (
        ("seed: 20121106", "seed: !!python/object/apply:os.system ['touch /tmp/cohort-was-here']"),
        "seed",
        "the tag 'tag:yaml.org,2002:python/object/apply:os.system'; a file like this holds plain values only",
    ),
}


# Named at the section that lacks something, or at the second of two lines of which the first was changed or equal.
ELSEWHERE = {
    "missing section", "missing key", "missing covariate", "evidence for nothing", "same arm under another name",
    "duplicated arm name", "half a regimen",
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_by_file_line_and_key_with_what_to_write(problems, root: Path, folder: Path, case: str):
    edit, key, message = WRONG[case]
    found = problems(edit)
    hit = [p for p in found if p.key == key and message in p.message]
    assert len(hit) == 1, "\n".join(map(str, found))
    path = folder / "config/studies/laplace.yaml"
    assert hit[0].file == str(path)
    shipped = (root / "config/studies/laplace.yaml").read_text().splitlines()
    changed = [i for i, line in enumerate(path.read_text().splitlines(), 1) if line not in shipped]
    assert hit[0].line in changed or case in ELSEWHERE
    assert not Path("/tmp/cohort-was-here").exists()


def test_a_duplicated_key_is_named_on_its_second_line(problems, folder: Path):
    [problem] = problems(("question:", "title: Again\nquestion:"))
    assert problem.key == "title"
    assert problem.line == _line(folder / "config/studies/laplace.yaml", "title: Again")
    assert problem.message == "written twice, first on line 3; keep one"


def test_aliases_are_refused(problems):
    found = problems(("{n: 78}", "&same {n: 78}"), ("placebo_q4w:        {n: 79}", "placebo_q4w: *same"))
    assert any(p.key == "arms.placebo_q4w" and "an alias (*name); write the value out" in p.message for p in found)


def test_all_errors_come_at_once_each_with_its_place(problems, folder: Path):
    found = problems(
        ("dropout: 0.04", "droput: 0.04"),
        ("dose: 70 mg", "dose: 70 mgs"),
        ("dose: 105 mg,", "dose: 105 mg, rote: sc,"),
        ("margin: 5 percent", "margin: -5 percent"),
        ("ldl >= 85 mg/dL", "ldll >= 85 mg/dL"),
        ("seed: 20121106", "seed: soon"),
    )
    path = folder / "config/studies/laplace.yaml"
    wanted = {
        "conduct.droput": ("droput", "did you mean 'dropout'?"),
        "arms.evolocumab_70_q2w.dose": ("70 mgs", "'70 mgs' is not a mass"),
        "arms.evolocumab_105_q2w.rote": ("rote: sc", "did you mean 'route'?"),
        "endpoints.ldl_change.margin": ("-5 percent", "'-5 percent' must be more than 0"),
        "population.eligibility.1": ("ldll", "did you mean 'ldl'?"),
        "seed": ("seed: soon", "found 'soon'; write a whole number such as 2000"),
    }
    for key, (text, message) in wanted.items():
        hit = [p for p in found if p.key == key]
        assert hit, f"{key} is not among\n" + "\n".join(map(str, found))
        assert message in hit[0].message
        assert str(hit[0]).startswith(f"{path}:{_line(path, text)}  {key}: ")
    assert [p.line for p in found] == sorted(p.line for p in found)


def test_a_study_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(StudyError, match=r"no such file; name a study file such as config/studies/laplace\.yaml"):
        read_study(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "laplace", "42"])
def test_a_file_that_is_no_study_is_refused(folder: Path, text: str):
    path = folder / "config/studies/laplace.yaml"
    path.write_text(text)
    with pytest.raises(StudyError, match="not a study: write keys such as title"):
        read_study(path)


def test_a_file_in_another_encoding_is_refused_with_its_line(folder: Path):
    path = folder / "config/studies/laplace.yaml"
    path.write_bytes(b"# a comment\n" + "title: Größe".encode("latin-1"))
    with pytest.raises(StudyError, match=r"laplace\.yaml:2  not UTF-8 text"):
        read_study(path)


def test_a_study_without_arms_is_refused(problems, folder: Path):
    path = folder / "config/studies/laplace.yaml"
    text = path.read_text()
    section = re.search(r"^arms:.*?(?=^visits:)", text, re.MULTILINE | re.DOTALL)
    assert section
    found = problems((section[0], "arms: {}\n\n"))
    assert any(p.key == "arms" and "no arms; write at least one" in p.message for p in found)


def test_parameters_from_a_study_that_is_not_there_are_refused(problems):
    found = problems(
        ("parameters_from: laplace", "parameters_from: laplase"), file="config/studies/mendel.yaml", study="mendel"
    )
    told = [(p.key, p.message) for p in found if not p.key.startswith("comparison")]
    assert told == [("parameters_from", "there is no study 'laplase' beside this one; did you mean 'laplace'?")]


def test_visits_may_be_ranges_counted_in_decimals(edited):
    visits = "visits: [0 wk, {from: 0.1 d, until: 0.4 d, every: 0.1 d}, {from: 1 d, until: 1.5 d, every: 6 h}, 2 wk, "
    read = read_study(edited(("visits: [0 wk, 1 wk, 2 wk, ", visits), ("step: 0.75 d", "step: 0.05 d")))
    told = [str(visit) for visit in read.visits]
    assert told[:9] == ["0 wk", "0.1 d", "0.2 d", "0.3 d", "0.4 d", "24 h", "30 h", "36 h", "2 wk"]


def test_a_range_is_the_visits_that_it_stands_for(edited, laplace: Study):
    weeks = re.search(r"visits: .*", edited().read_text())
    assert weeks is not None
    whole = read_study(edited((weeks[0], "visits: [{from: 0 wk, until: 12 wk, every: 1 wk}]")))
    assert whole.visits == laplace.visits
    assert fingerprint(whole) == fingerprint(laplace)


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        ("mendel", "is this study itself; write one of laplace"),
        ("yukawa", "the study 'yukawa' has no calibration section; write one of laplace"),
    ],
)
def test_parameters_come_from_a_study_that_calibrates(problems, folder: Path, origin: str, message: str):
    for other in folder.glob("config/studies/*.yaml"):
        if other.stem not in ("laplace", "mendel", "yukawa"):
            other.unlink()
    edit = ("parameters_from: laplace", f"parameters_from: {origin}")
    found = problems(edit, file="config/studies/mendel.yaml", study="mendel")
    assert [(p.key, p.message) for p in found if not p.key.startswith("comparison")] == [("parameters_from", message)]


def test_a_study_does_not_both_calibrate_and_take_parameters(problems):
    found = problems(("model: evolocumab", "model: evolocumab\nparameters_from: mendel"))
    assert any(p.key == "calibration" and "keep one of the two" in p.message for p in found)


def test_a_study_is_read_without_parsing_an_outcome(edited, folder: Path):
    edited((",2.76,2.39,", ",secret,secret,"), file="config/evidence/laplace.csv")
    assert "secret" not in repr(read_study(folder / "config/studies/laplace.yaml"))


def test_a_model_that_raises_is_named_with_its_line(problems, folder: Path):
    text = path_of("evolocumab").read_text().replace("size = x.weight / 84", "size = x.wait / 84")
    (folder / "config/studies/mine.py").write_text(text)
    [problem] = problems(("model: evolocumab", "model: mine.py"))
    line = text[: text.index("x.wait")].count("\n") + 1
    assert problem.key == "model"
    assert f"mine.py:{line}: AttributeError" in problem.message


def test_a_model_that_takes_people_in_another_unit_is_refused(problems, folder: Path):
    text = path_of("evolocumab").read_text().replace('weight: Scalar = quantity("kg"', 'weight: Scalar = quantity("lb"')
    (folder / "config/studies/mine.py").write_text(text)
    [problem] = problems(("model: evolocumab", "model: mine.py"))
    assert problem.key == "model"
    assert problem.message == "its covariate weight is in lb, but people come in kg; declare it so"


def test_a_model_of_ones_own_is_found_beside_the_study(edited, folder: Path):
    shutil.copy(path_of("evolocumab"), folder / "config/studies/mine.py")
    assert read_study(edited(("model: evolocumab", "model: mine.py"))).model == "mine.py"


def test_comments_layout_and_the_order_of_keys_leave_the_fingerprint(edited, laplace):
    changed = read_study(
        edited(
            ("seed: 20121106", "\n\n# the day of publication\nseed:   20121106   # so"),
            ("conduct:\n  dropout: 0.04\n", "conduct:\n  # a few\n  dropout: 0.04\n"),
            ("  source: us ", "  source: 'us' "),
            ("{n: 79, dose: 70 mg,  route: sc,", "{route: sc, dose: 70 mg, n: 79,"),
        )
    )
    assert fingerprint(changed) == fingerprint(laplace)


def test_sections_and_arms_in_another_order_leave_the_fingerprint(edited, laplace):
    text = edited().read_text()
    arm = next(line for line in text.splitlines(keepends=True) if "evolocumab_420_q4w:" in line)
    changed = read_study(
        edited(
            ("seed: 20121106", ""),
            ("title:", "seed: 20121106\ntitle:"),
            (arm, ""),
            ("  placebo_q2w:  ", arm + "  placebo_q2w:  "),
        )
    )
    assert next(iter(changed.arms)) == "evolocumab_420_q4w"
    assert fingerprint(changed) == fingerprint(laplace)


@pytest.mark.parametrize(
    "edit",
    [
        ("seed: 20121106", "seed: 20121107"),
        ("dose: 70 mg", "dose: 71 mg"),
        ("dose: 70 mg", "dose: 70.00000000000001 mg"),
        ("size: 2000", "size: 2001"),
        ("lognormal(2, 0.7)", "lognormal(2, 0.7000000000000001)"),
        ("ldl >= 85", "ldl > 85"),
        ("  - Race, statin", "  - Race and statin"),
    ],
)
def test_anything_a_study_says_is_in_its_fingerprint(edited, laplace, edit: Edit):
    assert fingerprint(read_study(edited(edit))) != fingerprint(laplace)
