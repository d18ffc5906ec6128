"""What a study says of how much rests on it: ratings and goals, or a refusal; no fingerprint, no typed-in risk."""

import pytest

from cohort.study import fingerprint, planned, read_study
from cohort.study.protocol import FACTORS, RISK, Credibility, Rated

FILE = {"file": "config/studies/mendel.yaml", "study": "mendel"}


def test_risk_is_the_table(folder):
    """Every pair; as both weigh the same the table is symmetric, and no cell falls as either rises."""
    levels = ["low", "medium", "high"]
    for i in levels:
        for c in levels:
            own = Credibility.model_validate(
                {k: {"level": v, "because": "x"} for k, v in (("influence", i), ("consequence", c), ("impact", "low"))}
            )
            assert own.model_risk == RISK[i][c] == RISK[c][i]
    order = levels.index
    for i in range(3):
        row = [order(RISK[levels[i]][c]) for c in levels]
        assert row == sorted(row)
        assert order(RISK[levels[i]][levels[i]]) == i
    assert RISK["low"]["high"] == "medium"
    assert RISK["low"]["medium"] == "low"
    assert RISK["medium"]["high"] == "high"


def test_the_studies_state_theirs(root):
    for name in ("laplace", "mendel", "yukawa"):
        study = read_study(root / f"config/studies/{name}.yaml")
        assert study.credibility is not None
        assert study.credibility.influence == Rated(level="high", because=study.credibility.influence.because)
        assert study.credibility.model_risk == "medium"
        assert set(study.credibility.goals) < set(FACTORS)


def test_nothing_registered_rests_on_it(folder, edited):
    """The fingerprints that MENDEL and YUKAWA were registered under; without the section, and in other words."""
    for name, known in (("mendel", "a29559d83259"), ("yukawa", "85329691e6b5")):
        assert fingerprint(read_study(folder / f"config/studies/{name}.yaml")).startswith(known)
    before = read_study(folder / "config/studies/mendel.yaml")
    path = edited(("level: high", "level: low"), file=FILE["file"])
    after = read_study(path)
    assert after.credibility != before.credibility
    text = path.read_text()
    start, end = text.index("credibility:"), text.index("\nassumptions:")
    path.write_text(text[:start] + text[end:])
    none = read_study(path)
    assert none.credibility is None
    assert {fingerprint(s) for s in (before, after, none)} == {fingerprint(before)}
    assert planned(before) == planned(none) == planned(after)


@pytest.mark.parametrize(
    ("edit", "key", "said"),
    [
        (("level: high", "level: extreme"), "influence.level", "write 'low', 'medium' or 'high'"),
        (("level: high", "levle: high"), "influence.levle", "did you mean 'level'?"),
        (("    level: high\n", ""), "influence.level", "missing; add it"),
        (("  consequence:\n", "  consequences:\n"), "consequences", "did you mean 'consequence'?"),
        (("  consequence:\n", "  risk: low\n  consequence:\n"), "risk", "follows from influence and consequence"),
        (("    model_form:\n", "    model_from:\n"), "goals.model_from", "did you mean 'model_form'?"),
        (("    model_form:\n", "    courage:\n"), "goals.courage", "is no credibility factor; write one of"),
        (("  deviations:\n    - The", "  deviations: 3\n  limits:\n    - The"), "deviations", "write a list"),
        (("      goal: Every arm inside its 95 % predictive interval.\n", ""), "goals.model_form.goal", "missing"),
        (("  limits:\n    - One", "  limits:\n    - ''\n    - One"), "limits", "write some text"),
    ],
)
def test_what_it_cannot_say_is_refused(problems, edit, key: str, said: str):
    if edit[0].startswith("  deviations"):
        edit = (edit[0], "  deviations: 3\n  limits:\n    - The")
        found = problems(edit, ("  limits:\n    - One", "    - One"), **FILE)
    else:
        found = problems(edit, **FILE)
    told = [str(p) for p in found]
    assert any(p.key.startswith(f"credibility.{key}") and said in p.message for p in found), told


def test_all_that_is_wrong_comes_at_once(problems):
    found = problems(("level: high", "level: extreme"), ("    model_form:\n", "    model_from:\n"), **FILE)
    assert len([p for p in found if p.key.startswith("credibility")]) == 2
