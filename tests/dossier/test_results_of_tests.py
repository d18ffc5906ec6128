"""A JUnit file is counted room by room, or refused: too large, too deep, with entities, or no such file at all."""

from pathlib import Path

import pytest

from cohort.dossier import DossierError, read_tests
from cohort.dossier import tests as reading
from cohort.dossier.tests import KNOWN, room_of

XML = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" timestamp="2026-11-26T01:39:49+00:00">
<properties><property name="commit" value="abc1234"/></properties>
<testcase classname="tests.engine.test_curves" name="test_a[1-2]"/>
<testcase classname="tests.engine.test_curves" name="test_b"><failure message="no">assert 1 == 2</failure></testcase>
<testcase classname="tests.engine.test_bits" name="test_c"><error message="fixture"/></testcase>
<testcase classname="tests.test_streams" name="test_d"/>
<testcase classname="tests.test_layers" name="test_e"><skipped message="not here"/></testcase>
</testsuite></testsuites>
"""


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "tests.xml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_tests_are_counted_by_room(written):
    found = read_tests(written(XML))
    assert [(r.name, r.passed, r.failed, r.skipped) for r in found.rooms] == [
        ("engine", 1, 2, 0),
        ("layers", 0, 0, 1),
        ("streams", 1, 0, 0),
    ]
    assert found.rooms[0].failures == ["tests.engine.test_curves::test_b", "tests.engine.test_bits::test_c"]
    assert (found.commit, found.when) == ("abc1234", "2026-11-26T01:39:49+00:00")
    assert (found.total("passed"), found.total("failed"), found.total("passed", ["streams"])) == (2, 2, 1)
    assert found.rooms[0].known
    assert not found.rooms[1].known


def test_the_commit_may_be_told(written):
    assert read_tests(written(XML), "fff0000").commit == "fff0000"
    assert read_tests(written(XML.replace('name="commit"', 'name="other"'))).commit is None


def test_rooms_that_compare_with_what_is_known_have_tests(root: Path):
    there = {
        room_of(str(p.relative_to(root).with_suffix("")).replace("/", ".")) for p in root.glob("tests/**/test_*.py")
    }
    assert set(KNOWN) <= there


BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]><testsuites>&c;</testsuites>'
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><testsuites>&b;</testsuites>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "document type"),
        (OUTSIDE, "document type"),
        ("<!DOCTYPE testsuites><testsuites/>", "document type"),
        (XML[:-30], "no whole XML"),
        ("", "no whole XML"),
        (b"\x00\xff\xfe nonsense", "no whole XML"),
        ("<html><body/></html>", "begins with <html>"),
        ("<testsuites/>", "holds no test"),
        ("<testsuites>" + "<a>" * 40 + "</a>" * 40 + "</testsuites>", "nested more than 32 deep"),
    ],
)
def test_what_is_no_such_file_is_refused(written, text, said):
    with pytest.raises(DossierError, match=said):
        read_tests(written(text))


def test_bounds_are_kept(written, tmp_path, monkeypatch):
    with pytest.raises(DossierError, match="no such file"):
        read_tests(tmp_path / "nothing.xml")
    monkeypatch.setattr(reading, "MOST", 3)
    with pytest.raises(DossierError, match="more than 3 tests"):
        read_tests(written(XML))
    monkeypatch.setattr(reading, "LARGEST", 10)
    with pytest.raises(DossierError, match="larger than"):
        read_tests(written(XML))
