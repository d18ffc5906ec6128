"""Find a model by name in the library, or by path anywhere; a model is its file, and travels as its text."""

import dataclasses
import functools
import hashlib
import linecache
import sys
import types
from collections.abc import Iterator
from pathlib import Path

from cohort.model import Model

_here = Path(__file__).resolve().parent
FOLDER = _here / "models" if (_here / "models").is_dir() else _here.parent / "models"


class ModelError(ValueError):
    """A model that cannot be found or read; the message says what to write instead."""


def names() -> list[str]:
    return sorted(p.stem for p in FOLDER.glob("*.py") if not p.stem.startswith("_"))


def path_of(reference: str, beside: Path | None = None) -> Path:
    """The file of a model named as in a study: a name in the library, or a path ending in .py."""
    path = (beside or Path()) / reference if reference.endswith(".py") else FOLDER / f"{reference}.py"
    if not path.is_file():
        raise ModelError(
            f"no model {reference!r}; the library has: {', '.join(names())}. "
            "A model of your own is given by its path, ending in .py"
        )
    return path


def load(reference: str, beside: Path | None = None) -> Model:
    """`load("evolocumab")` from the library; `load("my/model.py")` from anywhere. Errors: ModelError."""
    path = path_of(reference, beside)
    return from_text(str(path), path.read_text())


@functools.cache
def from_text(path: str, text: str) -> Model:
    """The model that `text` defines. Errors: ModelError with the line that failed."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    module = types.ModuleType(f"cohort.models.{Path(path).stem}_{digest[:8]}")
    module.__file__ = path
    sys.modules[module.__name__] = module
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    try:
        exec(compile(text, path, "exec"), module.__dict__)
        if isinstance(module.__dict__.get("model"), Model):
            module.__dict__["model"].rehearse()
    except Exception as e:
        line = next((t.tb_lineno for t in reversed(list(_frames(e))) if t.tb_frame.f_code.co_filename == path), None)
        line = e.lineno if isinstance(e, SyntaxError) else line
        raise ModelError(f"{path}:{line or 1}: {type(e).__name__}: {e}") from e
    model = module.__dict__.get("model")
    if not isinstance(model, Model):
        raise ModelError(f"{path}: does not end with `model = Model(...)`")
    return dataclasses.replace(model, text=text, name=Path(path).stem, recipe=(from_text, (path, text)))


def _frames(e: BaseException) -> Iterator[types.TracebackType]:
    trace = e.__traceback__
    while trace is not None:
        yield trace
        trace = trace.tb_next
