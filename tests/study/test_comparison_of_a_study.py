"""A planned comparison that cannot be made is refused where it stands, with what to write instead."""

import pytest

from cohort.study import fingerprint, planned, read_study

FILE = {"file": "config/studies/mendel.yaml", "study": "mendel"}
ENDPOINT = "  endpoint: ldl_change\n  treatment"
DECISION = "P(evolocumab_140_q2w - placebo_q2w < 0 percent) > 0.975"


def test_the_plan_is_no_part_of_what_was_registered(edited, folder):
    before = read_study(folder / "config/studies/mendel.yaml")
    after = read_study(edited(("  weight: 0.8\n  disc", "  weight: 0.5\n  disc"), file="config/studies/mendel.yaml"))
    assert fingerprint(before) == fingerprint(after)
    assert planned(before) != planned(after)


def test_a_study_without_a_plan_has_none(folder):
    assert planned(read_study(folder / "config/studies/yukawa.yaml")) is None


@pytest.mark.parametrize(
    ("edit", "key", "said"),
    [
        (
            ("  endpoint: ldl_change\n  treat", "  endpoint: ldl_chang\n  treat"),
            "endpoint",
            "did you mean 'ldl_change'?",
        ),
        (
            ("  endpoint: ldl_change\n  treat", "  endpoint: ldl_below_25\n  treat"),
            "endpoint",
            "no endpoint with means",
        ),
        (("treatment: evolocumab_140_q2w\n", "treatment: evolocumab_140\n"), "treatment", "'evolocumab_140' is no arm"),
        (("  treatment: evolocumab_140_q2w\n", "  treatment: placebo_q4w\n"), "treatment", "is given nothing"),
        (("  control: placebo_q2w\n", "  control: evolocumab_70_q2w\n"), "control", "is given a dose"),
        (("  weight: 0.8\n  disc", "  weight: 1.8\n  disc"), "weight", "write less than 1"),
        (("  weight: 0.8\n  disc", "  weight: 0\n  disc"), "weight", "write more than 0"),
        ((DECISION, DECISION.replace("placebo_q2w", "placebo")), "decision", "placebo"),
        ((DECISION, DECISION.replace("percent", "mg")), "decision", "write the threshold in percent"),
        ((DECISION, DECISION.replace("< 0", "> 0")), "decision", "is met by harm, for lower is better; write <"),
        ((DECISION, DECISION.replace("0.975", "1.975")), "decision", "1.975"),
        ((DECISION, "P of success"), "decision", "not a criterion"),
        (("treatment_related_ae.drug -", "treatment_related.drug -"), "harm", "treatment_related.drug"),
        (("drift: 20 percent", "drift: 20 mg"), "drift", "write it in percent"),
        (("drift: 20 percent", "drift: -20 percent"), "drift", "must be more than 0"),
        (("type_one_error: 0.025", "type_one_error: 0.9"), "type_one_error", "write less than 0.5"),
        (("discrepancy_from: [yukawa]", "discrepancy_from: [mendel]"), "discrepancy_from", "is this study itself"),
        (("discrepancy_from: [yukawa]", "discrepancy_from: [laplace]"), "discrepancy_from", "does not validate alone"),
        (("discrepancy_from: [yukawa]", "discrepancy_from: [yukaw]"), "discrepancy_from", "did you mean 'yukawa'?"),
    ],
)
def test_what_cannot_be_compared_is_refused(problems, edit, key: str, said: str):
    found = [p for p in problems(edit, **FILE) if p.key.startswith(f"comparison.{key}")]
    assert any(said in p.message for p in found), [str(p) for p in problems(edit, **FILE)]


def test_two_studies_that_teach_each_other_are_refused(folder, problems):
    yukawa = folder / "config/studies/yukawa.yaml"
    plan = (folder / "config/studies/mendel.yaml").read_text()
    plan = plan[plan.index("comparison:") : plan.index("assumptions:")].replace("[yukawa]", "[mendel]")
    yukawa.write_text(yukawa.read_text().replace("assumptions:", plan + "assumptions:"))
    found = problems(("seed: 20121107", "seed: 20121108"), **FILE)
    assert any("learns from this study in turn" in p.message for p in found)
