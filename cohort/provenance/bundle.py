"""What a sealed folder carries of its inputs, as a small project of its own; and whether its models may run here.

A study names its model, and reading a study executes that model. So nobody opens the inputs of a folder from elsewhere
but `opened`, after `models` has said whose text would run.
"""

import contextlib
import io
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cohort import library, record
from cohort.bounded import BoundError, read, text
from cohort.provenance.history import Retold
from cohort.provenance.manifest import SealError, entries
from cohort.record import Audit, digest, file_digest
from cohort.results import Results
from cohort.store import write
from cohort.study import read_study

STUDIES = "config/studies"
INPUTS = "inputs/"


@dataclass(frozen=True)
class Text:
    """A model as a bundle carries it, read once: the file may be another by the time that it runs."""

    reference: str  # as the study names it
    study: str
    file: Path | None  # in the bundle; None where there is none, or one that lies elsewhere
    raw: bytes = field(default=b"", repr=False)

    @property
    def text(self) -> str:
        return io.TextIOWrapper(io.BytesIO(self.raw), encoding="utf-8", errors="replace").read()

    @property
    def sha256(self) -> str:
        """Of the text that would run; "" without a file."""
        return digest(self.text) if self.file else ""

    @property
    def in_library(self) -> bool:
        """Whether the installed library has this very text, and of one named from it, under this name."""
        if self.file is None or not library.in_library(self.text):
            return False
        own = library.FOLDER / f"{self.reference}.py"
        return self.reference.endswith(".py") or (own.is_file() and digest(own.read_text()) == self.sha256)


# ------------------------------------------------------------------------------------------------------- gathering


def wanted(results: Results) -> dict[str, Path]:
    """Every file that a study's results rest on, by its path below the project's root: the study, its model, evidence,
    people and registered predictions; and the same of studies whose calibration it takes or whose trials teach it, with
    what was found of them. Errors: SealError for what lies outside the project, for it would have no place elsewhere.
    """
    root, found, wrong = results.study.root.resolve(), dict[str, Path](), list[str]()

    def add(path: Path, what: str) -> None:
        if not path.is_file():
            wrong.append(f"{what} {path} is not there")
        elif path.absolute() != path.resolve() and not path.resolve().is_relative_to(root):
            wrong.append(f"{what} {path} is a link that leads out of the project; put the file there")
        elif not path.resolve().is_relative_to(root):
            wrong.append(f"{what} {path} lies outside the project {root}; move it below")
        else:
            found[path.resolve().relative_to(root).as_posix()] = path

    def add_model(one: Results) -> None:
        study = one.study
        path = library.path_of(study.model, study.path.parent)
        if not study.model.endswith(".py"):
            found[f"models/{study.model}.py"] = path
        elif Path(study.model).is_absolute():
            wrong.append(f"{study.path}: model: {study.model!r} is absolute; write it from the study file's folder on")
        else:
            add(path, f"{study.path}: model")

    seen: set[str] = set()

    def visit(one: Results) -> None:
        study = one.study
        if study.name in seen:
            return
        seen.add(study.name)
        if study.path.resolve() != root / STUDIES / f"{study.name}.yaml":
            wrong.append(f"{study.path}: move the study to {root / STUDIES}; a sealed one is found there")
            return
        add(study.path, "the study")
        add_model(one)
        for file in [use.file for use in study.evidence.values()] + study.population.files:
            add(study.root / file, f"{study.path}:")
        if (registered := study.root / "config" / "registered" / f"{study.name}.json").is_file():
            add(registered, "the registration")
        if study.calibration is not None and one is not results:
            add(one.posterior_file, "the calibration")
            add(one.folder / "made" / "calibrate.json", "what the calibration rests on,")
        if one.calibrated is not one:
            visit(results if one.calibrated.study.name == results.study.name else one.calibrated)
        for other in one.taught_by.values():
            add(other.comparison_file, "the comparison that teaches this study,")
            add(other.folder / "made" / "compare.json", "what that comparison rests on,")
            visit(other)

    visit(results)
    if results.study.calibration is not None and len(seen) > 1:
        add(results.posterior_file, "the calibration")  # others in the bundle rest on it
        add(results.folder / "made" / "calibrate.json", "what the calibration rests on,")
    if wrong:
        raise SealError("\n".join(f"not sealed: {line}" for line in wrong))
    lock = Path(record.__file__).resolve().parent.parent / "requirements.lock"
    return found | ({"requirements.lock": lock} if lock.is_file() else {})


def gather(results: Results) -> int:
    """Copy what the results rest on into inputs/, and remove what else is there. Returns how many files it holds now.
    Errors: SealError."""
    target = results.folder / INPUTS
    if target.is_symlink():
        raise SealError(f"not sealed: {target} is a symbolic link; remove it")
    sources = wanted(results)
    there, links = entries(target) if target.is_dir() else ({}, [])
    if links:
        raise SealError("\n".join(f"not sealed: inputs/: {line}; remove it" for line in links))
    for name in there.keys() - sources.keys():
        there[name].unlink()
    for name, source in sources.items():
        copy = target / name
        if not (copy.is_file() and file_digest(copy) == file_digest(source)):
            write(copy, lambda temporary, source=source: shutil.copyfile(source, temporary))
    for folder in sorted((p for p in target.rglob("*") if p.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    return len(sources)


# --------------------------------------------------------------------------------------------------------- opening


def models(folder: Path) -> list[Text]:
    """The models that reading the studies of a bundle would execute. Nothing is executed to find them: study files are
    read as plain YAML."""
    inputs = (folder / INPUTS).resolve()
    found = []
    for path in sorted((inputs / STUDIES).glob("*.yaml")):
        try:
            data = read(text(path)).data
        except BoundError:
            continue  # `read_study` refuses it before any model
        reference = data.get("model") if isinstance(data, dict) else None
        if not isinstance(reference, str):
            continue  # `read_study` refuses it before any model
        if reference.endswith(".py"):
            file = (path.parent / reference).resolve()
            inside = file.is_relative_to(inputs)
        else:
            file = inputs / "models" / f"{reference}.py"
            inside = library.NAME.fullmatch(reference) is not None
        known = file if inside and file.is_file() else None
        found.append(Text(reference, path.stem, known, known.read_bytes() if known else b""))
    return found


@dataclass(frozen=True)
class Sealed(Results):
    """The results of a sealed folder, with the trail as it was when sealed."""

    told: tuple[dict[str, Any], ...] = ()

    @property
    def audit(self) -> Audit:
        return Retold(self.told)

    def when(self, event: str) -> "Sealed":
        """The same as it was when this was last told."""
        last = max(i for i, line in enumerate(self.told) if line["event"] == event)
        return replace(self, told=self.told[:last])


@contextlib.contextmanager
def opened(
    folder: Path, name: str, texts: Sequence[Text] | None = None, told: Sequence[dict[str, Any]] = ()
) -> Iterator[Sealed]:
    """A sealed folder as `Results`, whose study and all it names are those of inputs/. It EXECUTES the models of the
    bundle: only after `models` was asked and someone said that they may. `texts`: what `models` returned then, and no
    other text runs, whatever lies there now; told: the trail. Of a model that a study names from the library, the
    bundle's text runs where the installed one is another. Git is never asked about a bundle."""
    own = library.FOLDER
    texts = models(folder) if texts is None else texts
    try:
        if not all(m.in_library for m in texts if not m.reference.endswith(".py")):
            library.FOLDER = (folder / INPUTS / "models").resolve()
        with library.only({m.sha256 for m in texts}), record.without_git(folder):
            study = read_study(folder / INPUTS / STUDIES / f"{name}.yaml")
            yield Sealed(study, folder, tuple(told))
    finally:
        library.FOLDER = own
