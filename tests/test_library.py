"""A model is its file: found by name or path, refused with the line that failed."""

from pathlib import Path

import pytest

from cohort.library import ModelError, load, names, path_of


def test_the_library_holds_evolocumab():
    assert "evolocumab" in names()
    assert load("evolocumab").name == "evolocumab"


def test_a_copy_of_a_shipped_file_is_the_same_model(tmp_path: Path):
    (tmp_path / "mine.py").write_text(path_of("evolocumab").read_text())
    mine = load("mine.py", tmp_path)
    assert mine.text == load("evolocumab").text
    assert mine.typical() == load("evolocumab").typical()


def test_every_model_of_the_library_names_its_sources():
    for name in names():
        parameters = load(name).parameters.fields()
        assert [p for p, meta in parameters.items() if not meta["source"]] == [], name


def test_an_unknown_name_is_refused_with_what_there_is():
    with pytest.raises(ModelError, match=r"no model 'evolocumap'; the library has: .*evolocumab"):
        load("evolocumap")


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match=r"no model 'mine\.py'"):
        load("mine.py", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "line_of", "reason"),
    [
        ("    size = x.weight / 84  # [1]", "    size = x.wait / 84", "x.wait", "no attribute 'wait'"),
        (
            "    return State(depot=0.0, central=0.0, ldl=p.base)",
            "    raise RuntimeError('no')",
            "raise R",
            "RuntimeError: no",
        ),
        ("import jax.numpy as jnp", "import jax.numpy as jnp\n1 / 0", "1 / 0", "ZeroDivisionError"),
        ("import jax.numpy as jnp", "import jax.numpy as jnp\ndef", "def\n", "SyntaxError"),
        ('time="d",', 'time="d", tyme="h",', "model = Model(", "unexpected keyword argument 'tyme'"),
        ('vmax"): 0.5}', 'vmax"): 2.0}', "model = Model(", "is 2.0; write a number between -1 and 1"),
        ("    return 100 * (last", "    return 100 * (lats", "(lats(", "name 'lats' is not defined"),
    ],
)
def test_a_model_that_raises_is_named_with_its_line(tmp_path: Path, old: str, new: str, line_of: str, reason: str):
    text = path_of("evolocumab").read_text().replace(old, new, 1)
    (tmp_path / "bad.py").write_text(text)
    line = text[: text.index(line_of)].count("\n") + 1
    with pytest.raises(ModelError) as refused:
        load("bad.py", tmp_path)
    assert f"bad.py:{line}: " in str(refused.value)
    assert reason in str(refused.value)


def test_a_file_without_a_model_is_refused(tmp_path: Path):
    (tmp_path / "empty.py").write_text("model = 3\n")
    with pytest.raises(ModelError, match=r"does not end with `model = Model\(\.\.\.\)`"):
        load("empty.py", tmp_path)
