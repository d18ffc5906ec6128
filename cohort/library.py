"""Find a model by name in the library, or by path anywhere; a model is its file, and travels as its text.

A model is code, and reading it runs it. One from outside the library is named with its hash before it does; where the
environment variable COHORT_UNTRUSTED is 1, as `cohort --untrusted` sets it for itself and all that it starts, only text
that is in the library runs.
"""

import contextlib
import dataclasses
import functools
import hashlib
import linecache
import logging
import os
import re
import sys
import types
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from cohort.bounded import printable
from cohort.model import Model

_here = Path(__file__).resolve().parent
FOLDER = _here / "models" if (_here / "models").is_dir() else _here.parent / "models"


NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)  # of a model in the library
UNTRUSTED = "COHORT_UNTRUSTED"
_log = logging.getLogger(__name__)
_allowed: list[frozenset[str]] = []  # hashes of the texts that may run; any where there is no such list


class ModelError(ValueError):
    """A model that cannot be found or read; the message says what to write instead."""


def names() -> list[str]:
    return sorted(p.stem for p in FOLDER.glob("*.py") if not p.stem.startswith("_"))


def path_of(reference: str, beside: Path | None = None) -> Path:
    """The file of a model named as in a study: a name in the library, or a path ending in .py."""
    own = reference.endswith(".py")
    path = (beside or Path()) / reference if own else FOLDER / f"{reference}.py"
    if not (own or NAME.fullmatch(reference)) or not os.path.isfile(path):
        raise ModelError(
            f"no model {reference[:100]!r}; the library has: {', '.join(names())}. "
            "A model of your own is given by its path, ending in .py"
        )
    return path


def load(reference: str, beside: Path | None = None, within: Sequence[Path] = ()) -> Model:
    """`load("evolocumab")` from the library; `load("my/model.py")` from anywhere, or, as a study file names it, only
    from `within` these folders once links are followed. Errors: ModelError."""
    path = path_of(reference, beside)
    homes = [folder.resolve() for folder in within] if reference.endswith(".py") else []
    if homes and not any(path.resolve().is_relative_to(home) for home in homes):
        raise ModelError(f"{reference!r} leaves the project; keep a model of your own below its root")
    text = path.read_text(encoding="utf-8")
    if not in_library(text):
        _show(str(path), hashlib.sha256(text.encode()).hexdigest())
    return from_text(str(path), text)


def in_library(text: str) -> bool:
    """Whether this very text is that of a model of the library, wherever it stands."""
    return hashlib.sha256(text.encode()).hexdigest() in _shipped()


@functools.cache
def _shipped() -> frozenset[str]:
    return frozenset(hashlib.sha256(path_of(name).read_bytes()).hexdigest() for name in names())


@functools.cache
def _show(path: str, digest: str) -> None:
    """Once in a process: what is about to run."""
    if os.environ.get(UNTRUSTED) != "1":
        said = "%s: a model from outside the library, which is code and runs now; sha256 %s"
        _log.warning(said, printable(path), digest)


@contextlib.contextmanager
def only(texts: Collection[str]) -> Iterator[None]:
    """Meanwhile no model runs in this process whose text has not one of these SHA-256: a file may be another by the
    time it is read than when somebody asked what it holds."""
    _allowed.append(frozenset(texts))
    try:
        yield
    finally:
        _allowed.pop()


def from_text(path: str, text: str) -> Model:
    """The model that `text` defines. Errors: ModelError with the line that failed, or because it may not run."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    if any(digest not in texts for texts in _allowed):
        raise ModelError(f"{path}: its text is not the one that was asked about (sha256 {digest} now), and is not run")
    if os.environ.get(UNTRUSTED) == "1" and not in_library(text):
        raise ModelError(
            f"{path}: this model is code from outside the library (sha256 {digest}) and is not run as untrusted; "
            f"read it, then leave out --untrusted, or name one of the library: {', '.join(names())}"
        )
    return _run(path, text)


@functools.cache
def _run(path: str, text: str) -> Model:
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
