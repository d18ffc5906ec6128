"""Data of others is found in one folder, or a sentence says what to obtain."""

import pytest

from cohort import external


def test_a_file_is_found_below_the_folder(tmp_path, monkeypatch):
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "a.csv").write_text("x\n")
    monkeypatch.setenv(external.VARIABLE, str(tmp_path))
    assert external.file("trials/a.csv", obtain="nothing").read_text() == "x\n"
    assert external.found("trials/b.csv") is None


def test_an_absent_file_says_what_to_obtain_and_where_to_put_it(monkeypatch):
    monkeypatch.delenv(external.VARIABLE, raising=False)
    with pytest.raises(
        external.AbsentData, match=r"a\.csv is not there: obtain the survey, and put it at .*COHORT_DATA"
    ):
        external.file("trials/a.csv", obtain="the survey")


@pytest.mark.parametrize("path", ["/etc/passwd", "trials/../../x"])
def test_a_path_does_not_leave_the_folder(path, tmp_path, monkeypatch):
    monkeypatch.setenv(external.VARIABLE, str(tmp_path))
    with pytest.raises(ValueError, match="leaves the folder"):
        external.found(path)
