"""Define-XML 2.1: what a set of data sets is made of, for whoever opens them [1].

One file describes all data sets: their structure, class and keys, every variable with its type, length and origin, how
it was derived, the codes it takes, and, for an AVAL that each parameter derives in another way, one description a
parameter. Code lists are marked non-standard: none is matched to CDISC's controlled terminology. The context is
`Other`, for simulated data are no submission. Elements stand in the order of the standard's schema.

[1] CDISC Define-XML Specification Version 2.1, www.cdisc.org/standards/data-exchange/define-xml
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree as ET

from cohort.cdisc.checks import NotExportable, refuse, refuse_undescribed, whole
from cohort.cdisc.dataset import Class, Dataset, Variable, created, format_parts
from cohort.store import write

NAMESPACES = {
    "xmlns": "http://www.cdisc.org/ns/odm/v1.3",
    "xmlns:def": "http://www.cdisc.org/ns/def/v2.1",
    "xmlns:xlink": "http://www.w3.org/1999/xlink",
}
GUIDES = {"STD.ADaMIG": ("ADaMIG", "1.3"), "STD.OCCDS": ("ADaM-OCCDSIG", "1.1")}
"""Standards by their OID here: name in CDISC's terminology, version."""
OCCURRENCE: Class = "OCCURRENCE DATA STRUCTURE"
PARTIAL = {"date": "partialDate", "datetime": "partialDatetime", "time": "partialTime"}
DIGITS = (17, 16)
"""Length and digits after the point of a double without a format: its shortest decimal has at most 17 digits."""


def write_define(
    datasets: Sequence[Dataset],
    path: Path,
    when: datetime | None = None,
    *,
    study: str,
    description: str,
    suffix: str = ".xpt",
) -> None:
    """Write `path` whole or not at all. `study`: its STUDYID; the files stand beside, named `adsl` + `suffix`.

    `when`: UTC; SOURCE_DATE_EPOCH where it is None. Raises `NotExportable` for what the standard asks and nobody said.
    """
    names = [d.name for d in datasets]
    if not names or len(set(names)) < len(names):
        raise NotExportable(f"data sets {names}; write at least one, and none twice")
    datasets = [d.fitted() for d in datasets]
    errors: list[str] = []
    for dataset in datasets:
        try:
            refuse(dataset)
            refuse_undescribed(dataset)
            _of_study(dataset, study)
        except NotExportable as error:
            errors.append(str(error))
    if errors:
        raise NotExportable("\n".join(errors))
    root = _root(datasets, created(when).isoformat().replace("+00:00", "Z"), study, description, suffix)
    ET.indent(root)
    text = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    write(path, lambda temporary: temporary.write_bytes(text + b"\n"))


def _of_study(dataset: Dataset, study: str) -> None:
    found = dataset.rows["STUDYID"].unique().to_list() if "STUDYID" in dataset.rows.columns else []
    if found != [study] and dataset.rows.height:
        raise NotExportable(f"data set {dataset.name}: STUDYID {found} in a Define-XML of study {study!r}")


def _root(datasets: Sequence[Dataset], at: str, study: str, description: str, suffix: str) -> ET.Element:
    root = ET.Element(
        "ODM",
        {
            **NAMESPACES,
            "FileType": "Snapshot",
            "FileOID": f"DEF.{study}",
            "ODMVersion": "1.3.2",
            "CreationDateTime": at,
            "Originator": "cohort",
            "SourceSystem": "cohort",
            "SourceSystemVersion": metadata.version("insilico-cohort"),
            "def:Context": "Other",
        },
    )
    node = ET.SubElement(root, "Study", OID=study)
    names = ET.SubElement(node, "GlobalVariables")
    for tag, text in (("StudyName", study), ("StudyDescription", description), ("ProtocolName", study)):
        ET.SubElement(names, tag).text = text
    version = ET.SubElement(
        node,
        "MetaDataVersion",
        {"OID": f"MDV.{study}", "Name": f"{study}, data definitions", "def:DefineVersion": "2.1.0"},
    )
    codes = _code_lists(datasets)
    version.append(_standards(datasets))
    version.extend(x for d in datasets for x in _value_lists(d))
    version.extend(x for d in datasets for x in _where_clauses(d))
    version.extend(_group(d, suffix) for d in datasets)
    version.extend(x for d in datasets for v in d.variables for x in _items(d, v, codes))
    version.extend(codes.values())
    version.extend(x for d in datasets for v in d.variables for x in _methods(d, v))
    version.extend(
        _described(ET.Element("def:CommentDef", OID=_oid("COM", d, v)), v.comment)
        for d in datasets
        for v in d.variables
        if v.comment
    )
    return root


def _oid(kind: str, dataset: Dataset, v: Variable, code: str = "") -> str:
    return ".".join(filter(None, (kind, dataset.name, v.name, code)))


def _described(node: ET.Element, text: str) -> ET.Element:
    """The node, with a description in English as its next child."""
    said = ET.SubElement(ET.SubElement(node, "Description"), "TranslatedText", {"xml:lang": "en"})
    said.text = text
    return node


def _standard(dataset: Dataset) -> str:
    return "STD.OCCDS" if dataset.class_ == OCCURRENCE else "STD.ADaMIG"


def _standards(datasets: Iterable[Dataset]) -> ET.Element:
    node = ET.Element("def:Standards")
    used = {_standard(d) for d in datasets}
    for oid, (name, version) in GUIDES.items():
        if oid in used:
            ET.SubElement(node, "def:Standard", OID=oid, Name=name, Type="IG", Version=version, Status="Final")
    return node


def _group(dataset: Dataset, suffix: str) -> ET.Element:
    file, leaf = f"{dataset.name.lower()}{suffix}", f"LF.{dataset.name}"
    subject = dataset.class_ == "SUBJECT LEVEL ANALYSIS DATASET"
    node = ET.Element(
        "ItemGroupDef",
        {
            "OID": dataset.oid,
            "Name": dataset.name,
            "Repeating": "No" if subject else "Yes",
            "IsReferenceData": "No",
            "SASDatasetName": dataset.name,
            "Purpose": "Analysis",
            "def:Structure": dataset.structure,
            "def:ArchiveLocationID": leaf,
            "def:StandardOID": _standard(dataset),
        },
    )
    _described(node, dataset.label)
    for order, v in enumerate(dataset.variables, start=1):
        ref = ET.SubElement(node, "ItemRef", ItemOID=dataset.item_oid(v), OrderNumber=str(order))
        ref.set("Mandatory", "Yes" if v.mandatory or v.name in dataset.keys else "No")
        if v.name in dataset.keys:
            ref.set("KeySequence", str(dataset.keys.index(v.name) + 1))
        if v.origin == "Derived" and v.method:
            ref.set("MethodOID", _oid("MT", dataset, v))
    kind = ET.SubElement(node, "def:Class", Name=str(dataset.class_))
    if dataset.subclass:
        ET.SubElement(kind, "def:SubClass", Name=dataset.subclass)
    place = ET.SubElement(node, "def:leaf", {"ID": leaf, "xlink:href": file})
    ET.SubElement(place, "def:title").text = file
    return node


def _items(dataset: Dataset, v: Variable, codes: dict[tuple, ET.Element]) -> Iterable[ET.Element]:
    """The variable's definition, then those of its values, parameter by parameter."""
    yield _item(dataset, v, codes, "")
    for code, _ in v.by_parameter:
        yield _item(dataset, v, codes, code)


def _item(dataset: Dataset, v: Variable, codes: dict[tuple, ET.Element], code: str) -> ET.Element:
    kind, length, digits = _type(dataset, v)
    oid, name = dataset.item_oid(v), v.name
    node = ET.Element("ItemDef", OID=f"{oid}.{code}" if code else oid, Name=f"{name}.{code}" if code else name)
    node.set("DataType", kind)
    if length:
        node.set("Length", str(length))
    if digits is not None:
        node.set("SignificantDigits", str(digits))
    node.set("SASFieldName", v.name)
    if v.format:
        node.set("def:DisplayFormat", v.format)
    if v.comment and not code:
        node.set("def:CommentOID", _oid("COM", dataset, v))
    _described(node, v.label)
    if v.codelist:
        ET.SubElement(node, "CodeListRef", CodeListOID=codes[_codes(v)].get("OID", ""))
    origin = ET.SubElement(node, "def:Origin", Type=v.origin)
    if v.origin == "Predecessor":
        _described(origin, v.method)
    else:
        origin.set("Source", "Sponsor")
    if v.by_parameter and not code:
        ET.SubElement(node, "def:ValueListRef", ValueListOID=_oid("VL", dataset, v))
    return node


def _type(dataset: Dataset, v: Variable) -> tuple[str, int | None, int | None]:
    """The standard's data type, length, and digits after the point."""
    _, width, decimals = format_parts(v.format)
    if v.kind == "text":
        return "text", v.length, None
    if v.kind == "integer":
        return "integer", width or 8, None
    if v.kind == "number":
        return ("float", width, decimals) if width else ("float", *DIGITS)
    values = dataset.rows[v.name].drop_nulls().unique()
    return (v.kind if all(whole(v.kind, x) for x in values) else PARTIAL[v.kind]), None, None


def _value_lists(dataset: Dataset) -> Iterable[ET.Element]:
    for v in dataset.variables:
        if not v.by_parameter:
            continue
        node = ET.Element("def:ValueListDef", OID=_oid("VL", dataset, v))
        for order, (code, _) in enumerate(v.by_parameter, start=1):
            ref = ET.SubElement(node, "ItemRef", ItemOID=f"{dataset.item_oid(v)}.{code}", OrderNumber=str(order))
            ref.set("Mandatory", "Yes" if v.mandatory else "No")
            ref.set("MethodOID", _oid("MT", dataset, v, code))
            ET.SubElement(ref, "def:WhereClauseRef", WhereClauseOID=f"WC.{dataset.name}.{code}")
        yield node


def _where_clauses(dataset: Dataset) -> Iterable[ET.Element]:
    """PARAMCD = code, once for every code that some variable is described by."""
    codes = dict.fromkeys(code for v in dataset.variables for code, _ in v.by_parameter)
    for code in codes:
        node = ET.Element("def:WhereClauseDef", OID=f"WC.{dataset.name}.{code}")
        asked = {"Comparator": "EQ", "SoftHard": "Soft", "def:ItemOID": dataset.item_oid(dataset["PARAMCD"])}
        ET.SubElement(ET.SubElement(node, "RangeCheck", asked), "CheckValue").text = code
        yield node


def _codes(v: Variable) -> tuple:
    return ("text" if v.is_text else "integer" if v.kind == "integer" else "float", v.codelist)


def _code_lists(datasets: Iterable[Dataset]) -> dict[tuple, ET.Element]:
    """A code list for each set of codes, however many variables take it; named after the first."""
    found: dict[tuple, ET.Element] = {}
    for dataset, v in ((d, v) for d in datasets for v in d.variables if v.codelist):
        if _codes(v) in found:
            continue
        node = ET.Element("CodeList", OID=_oid("CL", dataset, v), Name=v.label, DataType=_codes(v)[0])
        node.set("def:IsNonStandard", "Yes")
        for order, (code, decode) in enumerate(v.codelist or (), start=1):
            item = ET.SubElement(node, "CodeListItem", CodedValue=code, OrderNumber=str(order))
            said = ET.SubElement(ET.SubElement(item, "Decode"), "TranslatedText", {"xml:lang": "en"})
            said.text = decode
        found[_codes(v)] = node
    return found


def _methods(dataset: Dataset, v: Variable) -> Iterable[ET.Element]:
    whole_variable = [("", v.method)] if v.origin == "Derived" and v.method else []
    for code, method in (*whole_variable, *v.by_parameter):
        name = f"{dataset.name}.{v.name}{f' of {code}' if code else ''}"
        node = ET.Element("MethodDef", OID=_oid("MT", dataset, v, code), Name=name, Type="Computation")
        yield _described(node, method)
