"""A Define-XML describes every data set and variable, none besides, and each reference in it leads somewhere."""

import subprocess
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from cohort.cdisc.checks import NotExportable
from cohort.cdisc.dataset import Dataset
from cohort.cdisc.define import write_define

PEERS = Path(__file__).parents[2] / ".tools/peers/bin/python"
ODM, DEF = "{http://www.cdisc.org/ns/odm/v1.3}", "{http://www.cdisc.org/ns/def/v2.1}"
XLINK = "{http://www.w3.org/1999/xlink}"
DEFINED = {"OID", "ID", "FileOID"}


@pytest.fixture
def define(adsl: Dataset, adeff: Dataset, tmp_path: Path, when: datetime) -> Path:
    write_define([adsl, adeff], tmp_path / "define.xml", when, study="SIM-TEST", description="A <virtual> trial & more")
    return tmp_path / "define.xml"


def test_every_reference_leads_somewhere_and_every_definition_is_referred_to(define: Path):
    root = ET.parse(define).getroot()
    nodes = list(root.iter())
    defined = [n.attrib[a] for n in nodes for a in DEFINED if a in n.attrib]
    refers = {
        value
        for n in nodes
        for name, value in n.attrib.items()
        if name.removeprefix(DEF) not in DEFINED and name.endswith(("OID", "ArchiveLocationID"))
    }
    assert len(defined) == len(set(defined))
    assert refers <= set(defined)
    top = {n.get("OID") for tag in ("Study", "MetaDataVersion", "ItemGroupDef") for n in root.iter(ODM + tag)}
    assert set(defined) - refers == {*top, root.get("FileOID")}


def test_every_variable_is_in_it_and_none_besides(define: Path, adsl: Dataset, adeff: Dataset):
    root = ET.parse(define).getroot()
    items = {n.get("OID"): n for n in root.iter(ODM + "ItemDef")}
    groups = {n.get("Name"): n for n in root.iter(ODM + "ItemGroupDef")}
    assert list(groups) == ["ADSL", "ADEFF"]
    for dataset in (adsl, adeff):
        refs = groups[dataset.name].findall(ODM + "ItemRef")
        assert [items[r.get("ItemOID")].get("Name") for r in refs] == [v.name for v in dataset.variables]
        keys = sorted((int(r.get("KeySequence", 0)), r) for r in refs if r.get("KeySequence"))
        assert [items[r.get("ItemOID")].get("Name") for _, r in keys] == list(dataset.keys)
        assert [items[r.get("ItemOID")].findtext(f"{ODM}Description/{ODM}TranslatedText") for r in refs] == [
            v.label for v in dataset.variables
        ]
    assert len(items) == len(adsl.variables) + len(adeff.variables) + 2  # and AVAL's two parameters


def test_it_says_what_the_data_are(define: Path, adsl: Dataset):
    root = ET.parse(define).getroot()
    assert root.get(DEF + "Context") == "Other"
    assert root.findtext(f".//{ODM}StudyDescription") == "A <virtual> trial & more"
    group = next(root.iter(ODM + "ItemGroupDef"))
    assert group.findtext(f"{ODM}Description/{ODM}TranslatedText") == adsl.label
    assert [n.get("Repeating") for n in root.iter(ODM + "ItemGroupDef")] == ["No", "Yes"]
    assert group.find(DEF + "Class").get("Name") == "SUBJECT LEVEL ANALYSIS DATASET"  # type: ignore[union-attr]
    assert group.find(DEF + "leaf").get(XLINK + "href") == "adsl.xpt"  # type: ignore[union-attr]
    standard = {n.get("OID"): (n.get("Name"), n.get("Version")) for n in root.iter(DEF + "Standard")}
    assert standard == {group.get(DEF + "StandardOID"): ("ADaMIG", "1.3")}
    items = {n.get("OID"): n for n in root.iter(ODM + "ItemDef")}
    said = {oid: (n.get("DataType"), n.get("Length"), n.get("SignificantDigits")) for oid, n in items.items()}
    assert said["IT.ADSL.WEIGHTBL"] == ("float", "8", "1")
    assert said["IT.ADEFF.AVAL"] == ("float", "17", "16")
    assert said["IT.ADSL.USUBJID"] == ("text", "4", None)
    assert said["IT.ADSL.BRTHDTC"] == ("partialDate", None, None)
    assert said["IT.ADSL.RFSTDTC"] == ("partialDatetime", None, None)
    assert said["IT.ADSL.TRTSDT"] == ("integer", "9", None)
    origin = items["IT.ADSL.RFSTDTC"].find(DEF + "Origin")
    assert origin is not None
    assert origin.attrib == {"Type": "Predecessor"}
    assert origin.findtext(f"{ODM}Description/{ODM}TranslatedText") == "DM.RFSTDTC"
    methods = {n.get("OID"): n.findtext(f"{ODM}Description/{ODM}TranslatedText") for n in root.iter(ODM + "MethodDef")}
    assert methods["MT.ADSL.WEIGHTBL"] == "Sampled, < 200 & > 30."


def test_an_analysis_value_is_described_parameter_by_parameter(define: Path):
    root = ET.parse(define).getroot()
    listed = root.find(f".//{DEF}ValueListDef[@OID='VL.ADEFF.AVAL']")
    assert listed is not None
    wheres = {n.get("OID"): n for n in root.iter(DEF + "WhereClauseDef")}
    methods = {n.get("OID"): n.findtext(f"{ODM}Description/{ODM}TranslatedText") for n in root.iter(ODM + "MethodDef")}
    found = {}
    for ref in listed:
        check = wheres[ref[0].get("WhereClauseOID")][0]
        assert check.get(DEF + "ItemOID") == "IT.ADEFF.PARAMCD"
        found[check.findtext(ODM + "CheckValue")] = methods[ref.get("MethodOID")]
    assert found == {"LDL": "Observed by the model.", "LDLPCT": "100 (LDL - baseline) / baseline."}


def test_one_set_of_codes_is_one_list(define: Path):
    root = ET.parse(define).getroot()
    lists = {n.get("OID"): [i.get("CodedValue") for i in n] for n in root.iter(ODM + "CodeList")}
    assert lists["CL.ADSL.SEX"] == ["F", "M"]
    assert lists["CL.ADSL.SIMFL"] == ["Y"]
    assert "CL.ADEFF.SIMFL" not in lists
    refs = {n.get("OID"): n.find(ODM + "CodeListRef") for n in root.iter(ODM + "ItemDef")}
    assert refs["IT.ADEFF.SIMFL"].get("CodeListOID") == "CL.ADSL.SIMFL"  # type: ignore[union-attr]


def test_two_writes_are_the_same_bytes(define: Path, adsl: Dataset, adeff: Dataset, when: datetime):
    again = define.with_name("again.xml")
    write_define([adsl, adeff], again, when, study="SIM-TEST", description="A <virtual> trial & more")
    assert again.read_bytes() == define.read_bytes()
    assert define.read_bytes().startswith(b"<?xml version='1.0' encoding='UTF-8'?>\n<ODM ")


def test_what_is_not_described_is_refused_for_all_data_sets_at_once(
    adsl: Dataset, adeff: Dataset, tmp_path: Path, when: datetime
):
    with pytest.raises(NotExportable) as refused:
        write_define(
            [replace(adsl, structure=""), replace(adeff, class_=None)],
            tmp_path / "define.xml",
            when,
            study="SIM-TEST",
            description="A trial",
        )
    assert "data set ADSL\n  no structure" in str(refused.value)
    assert "data set ADEFF\n  no class" in str(refused.value)
    with pytest.raises(NotExportable, match="in a Define-XML of study 'SIM-OTHER'"):
        write_define([adsl], tmp_path / "define.xml", when, study="SIM-OTHER", description="A trial")
    with pytest.raises(NotExportable, match="none twice"):
        write_define([adsl, adsl], tmp_path / "define.xml", when, study="SIM-TEST", description="A trial")
    assert list(tmp_path.iterdir()) == []


READ = """
import sys
from pathlib import Path
import odmlib, xmlschema
from odmlib import define_loader, loader
found = loader.ODMLoader(define_loader.XMLDefineLoader(model_package="define_2_1", ns_uri="http://www.cdisc.org/ns/def/v2.1"))
found.open_odm_document(sys.argv[1])
version = found.MetaDataVersion()
for group in version.ItemGroupDef:
    print(group.Name, *(ref.ItemOID for ref in group.ItemRef))
print("items", len(version.ItemDef), "methods", len(version.MethodDef), "standard", version.Standards.Standard[0].Name)
schema = Path(odmlib.__file__).parent / "schemas/define/2.1/define2-1-0.xsd"
for error in xmlschema.XMLSchema(str(schema)).iter_errors(sys.argv[1]):
    print("invalid:", error.path, error.reason)
"""


@pytest.mark.faults
def test_odmlib_reads_it_and_the_standards_schema_finds_nothing_wrong(define: Path, adsl: Dataset, adeff: Dataset):
    if not PEERS.is_file():
        pytest.skip("no odmlib: `make test-faults` installs it in .tools/peers")
    done = subprocess.run([PEERS, "-c", READ, define], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    want = [" ".join([d.name, *(d.item_oid(v) for v in d.variables)]) for d in (adsl, adeff)]
    methods = sum(v.origin == "Derived" and bool(v.method) for d in (adsl, adeff) for v in d.variables) + 2
    items = len(adsl.variables) + len(adeff.variables) + 2
    assert done.stdout.splitlines() == [*want, f"items {items} methods {methods} standard ADaMIG"]
