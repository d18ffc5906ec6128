"""Names and labels from files are text wherever they are shown: on a page, in a table, on a terminal, in a command."""

import ast
import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohort.display.style import grid, svg
from cohort.display.table import FORMULA, Column, Table
from cohort.population.resample import PeopleError, read_people
from cohort.population.sources import source
from cohort.report.chain import print_chain

pytestmark = pytest.mark.faults

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><b>",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "&lt;b&gt;",
    "javascript:alert(1)",
]
STEERING = [
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\r\x1b[K",
    "\u202e",
    "[bold]x[/bold]",
    "[link=http://x]y[/link]",
    "[/]",
    "$x_1$",
    "$(id)",
    "`id`",
]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, [name for name, _ in attrs]))


def _table(text: str, number: object = 1.5) -> Table:
    return Table(
        number="T1",
        name="t",
        title=text,
        caption=text,
        columns=(Column("name", text, plain=True), Column("x", "x", lambda v: str(v))),
        rows=[{"name": text, "x": number}],
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_a_label_is_text_in_the_page(text: str):
    page = jinja2.Environment(loader=jinja2.PackageLoader("cohort.report", "page"), autoescape=True)
    shown = page.from_string('{% from "table.html" import show %}{{ show(t) }}').render(t=_table(text))
    tags = _Tags()
    tags.feed(shown)
    assert not {tag for tag, _ in tags.seen} & {"script", "img", "b", "style"} - {"b"}
    assert not [names for _, names in tags.seen if any(name.startswith("on") for name in names)]
    assert shown.count("<b>") == 1  # the table's own
    assert "49" not in shown


def test_every_page_escapes_and_none_says_that_a_text_is_safe(root: Path):
    for path in [
        *(root / "cohort").rglob("*.html"),
        *(root / "cohort").rglob("*.j2"),
        *(root / "cohort").rglob("*.jinja"),
    ]:
        text = path.read_text()
        assert not re.search(r"\|\s*safe\b|autoescape\s+false|Markup|\bon\w+\s*=\s*\"|<script|javascript:", text), path
    environments = 0
    for path in (root / "cohort").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
                "Environment",
                "SandboxedEnvironment",
            ):
                environments += 1
                said = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert said.get("autoescape") == "True", f"{path}:{node.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Template":
                assert "jinja2" not in ast.unparse(node.func), (
                    f"{path}:{node.lineno}: a template without an environment"
                )
    assert environments


@pytest.mark.parametrize("text", [*HOSTILE, *STEERING])
def test_a_label_is_text_in_a_figure(text: str):
    figure, (axes,) = grid(1, 1, 1.0)
    axes.set_title(text.replace("\x1b", "?").replace("\x9b", "?").replace("\x07", "?").replace("\r", "?"))
    drawn = svg(figure, f'a "title" of <b>{text}')
    tags = _Tags()
    tags.feed(drawn)
    assert not {tag for tag, _ in tags.seen} & {"script", "img", "b", "foreignobject", "image"}
    assert not [names for _, names in tags.seen if any(name.startswith("on") for name in names)]


@given(st.text(max_size=20), st.sampled_from(FORMULA))
def test_no_cell_of_a_table_is_a_formula(text: str, first: str):
    lines = list(csv.reader(io.StringIO(_table(first + text).csv(), newline="")))
    assert lines[1][0] == f"'{first}{text}"
    assert lines[1][1] == "1.5"


@pytest.mark.parametrize("number", [-1.5, 1e-300, -3, 0.0])
def test_a_number_of_a_table_stays_one(number: float):
    lines = list(csv.reader(io.StringIO(_table("a", number).csv())))
    assert lines[1][1] == str(number)


def test_a_key_of_a_table_is_no_formula_either():
    table = Table(number="T1", name="t", title="t", caption="", columns=(Column("=1+1", "x"),), rows=[{"=1+1": 2}])
    assert table.csv() == "'=1+1\n2\n"


@pytest.mark.parametrize("text", [t for t in STEERING if "/" not in t])
def test_what_a_file_of_people_is_called_steers_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
):
    path = tmp_path / f"p{text}.csv"
    path.write_text("subject,sex,age,height,weight,ancestry,site\n0012,male,50,178,80,Other,north\n")
    print_chain(source("resample", people=path))
    shown = capsys.readouterr().out
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)
    if text == "[bold]x[/bold]":
        assert "[bold]x[/bold]" in shown.replace("\n", "")


SECRET = ["SECRET-0012", "777.125", "Atlantis", "4711", "-98765"]


@pytest.mark.parametrize(
    "row",
    [
        "SECRET-0012 ,male,50,178,80,Other,1",
        "SECRET-0012,Atlantis,50,178,80,Other,1",
        "SECRET-0012,male,Atlantis,178,80,Other,1",
        "SECRET-0012,male,-98765,178,80,Other,1",
        "SECRET-0012,male,50,178,80,Atlantis,1",
        "SECRET-0012,male,50,178,80,Other,777.125",
        "SECRET-0012,male,50,178,80,Other,1\nSECRET-0012,male,50,178,80,Other,1",
        "SECRET-0012,male,50,178,80,Other,1,4711",
        "SECRET-0012,male,50,178,,Other,777.125",
        'SECRET-0012,"male',
    ],
)
def test_no_value_and_no_id_of_a_person_is_in_a_message(tmp_path: Path, row: str):
    path = tmp_path / "people.csv"
    path.write_text(f"subject,sex,age,height,weight,ancestry,bmi\n{row}\n")
    with pytest.raises(PeopleError) as refusal:
        read_people(path, source("us").columns)
    assert not [word for word in SECRET if word in str(refusal.value)]


def test_every_word_of_a_rule_s_command_is_quoted_or_constrained(root: Path):
    """In a rule's command stand a study's file and log, whose names are constrained, numbers, and quoted words."""
    for line in (root / "Snakefile").read_text().splitlines():
        if line.strip().startswith("shell:"):
            for word in re.findall(r"\{([^}]*)\}", line):
                assert word in ("input.study", "log", "threads") or word.endswith(":q"), line
