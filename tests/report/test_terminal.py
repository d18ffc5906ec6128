"""What is printed of a planned comparison."""

import io
from types import SimpleNamespace

import pytest
from hand_made import comparison
from rich.console import Console

from cohort.report.terminal import _print_decision


def printed(summary: dict) -> str:
    text = io.StringIO()
    results = SimpleNamespace(study=SimpleNamespace(name="mendel"), summary=summary)
    _print_decision(Console(file=text, width=110, highlight=False), results)  # type: ignore[arg-type]
    return text.getvalue()


def test_the_decision_is_printed_without_with_robust_and_with_full_borrowing():
    lines = printed({"comparison": comparison()}).splitlines()
    words = {line.split("  ")[0]: line.rstrip().split("  ")[-1].strip() for line in lines if "borrowing  " in line}
    assert words == {"no borrowing": "no success", "robust borrowing": "success", "full borrowing": "success"}
    assert any("0.960" in line for line in lines)
    assert any("type I error of up to 0.057, with 0.025 allowed" in line for line in lines)


@pytest.mark.parametrize("says", ["no conclusion: no published mean"])
def test_no_conclusion_is_printed_with_its_reason(says: str):
    before = {k: v for k, v in comparison().items() if k != "methods"} | {"says": says}
    assert says in printed({"comparison": before})


def test_a_study_without_a_plan_has_no_decision():
    assert printed({}) == ""
