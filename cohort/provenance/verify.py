"""Verifying a sealed folder: what it says of itself holds, and a sample of it can be made again.

It works on a folder from anywhere, read-only; it writes nothing into it, and executes nothing of it unless the model is
the installed library's, a key that the verifier trusts signed the manifest, or the verifier says so.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cohort import evidence
from cohort.library import UNTRUSTED
from cohort.provenance import bundle, integrity
from cohort.provenance.manifest import NAME, Manifest, ManifestError, entries, read_manifest, several_codes
from cohort.provenance.verdict import EXIT, UNSIGNED, Answer, Check, Verdict
from cohort.record import digest, file_digest
from cohort.study import fingerprint, planned

if TYPE_CHECKING:
    from cohort.provenance.inferred import Redraw

__all__ = ["EXIT", "UNSIGNED", "Answer", "Check", "Verdict", "VerifyError", "verify"]

type Marks = dict[str, tuple[int, int, int]]  # of each file: size, and when it and what is told of it were changed
_log = logging.getLogger(__name__)


class VerifyError(ValueError):
    """What cannot be asked of a folder; the message says what to write instead."""


@dataclass(frozen=True)
class Asked:
    """What is to be made again: `patients` that are drawn, by `seed` if not None, and `subjects` by their ids; or
    `everything`. `redraw`: draws report, tables and figures."""

    patients: int
    subjects: Sequence[str]
    everything: bool
    seed: int | None
    redraw: "Redraw | None"


def verify(
    folder: Path,
    *,
    patients: int = 20,
    subjects: Sequence[str] = (),
    trust: Path | None = None,
    run_model: bool = False,
    everything: bool = False,
    seed: int | None = None,
    redraw: "Redraw | None" = None,
    say: Callable[[Check], None] = lambda check: None,
) -> Verdict:
    """Ask a sealed folder whether it holds.

    patients: how many are drawn and made again; subjects: ids of others that are; trust: a file of the verifier's keys;
    run_model: execute the folder's own model text; everything: make again all people, courses, trials, and what was
    sampled, and with `redraw`, which draws them, report, tables and figures; seed: of the draw of patients, by default
    one that nobody could foresee. Errors: VerifyError.
    """
    if not (folder / NAME).exists():
        what = "is not sealed: it has no manifest.json" if folder.is_dir() else "is no folder"
        raise VerifyError(f"{folder} {what}; name one that `cohort seal` sealed, such as results/laplace")
    verdict = Verdict(folder, say)
    try:
        manifest = read_manifest(folder)
    except ManifestError as e:
        verdict.note("manifest", [str(e)])
        return verdict
    verdict.note("manifest", [], f"{manifest.format}, of {manifest.study.name}, canonical")
    marks = _marks(folder)
    lines = _whole(verdict, manifest)
    trusted = _signed(verdict, manifest, lines, trust)
    if verdict.wrong:
        verdict.skip("re-run", "nothing is made again from a folder that does not hold")
    elif _may_run(verdict, manifest, texts := bundle.models(folder), trusted, run_model):
        if patients or subjects or everything:
            asked = Asked(patients, subjects, everything, seed, redraw)
            _made_again(verdict, manifest, lines[: manifest.audit.lines], texts, asked)
            verdict.note("meanwhile", _changed(manifest, folder, marks), "no file was changed while it was asked")
        else:
            verdict.skip("re-run", "no patients were asked for")
    return verdict


def _marks(folder: Path) -> Marks:
    found, _ = entries(folder)
    stats = {name: path.stat() for name, path in found.items()}
    return {name: (s.st_size, s.st_mtime_ns, s.st_ctime_ns) for name, s in stats.items()}


def _changed(manifest: Manifest, folder: Path, marks: Marks) -> Iterator[str]:
    """What is not as it was when its hash was asked: what was made again may rest on something else."""
    now = _marks(folder)
    if touched := sorted(name for name in now.keys() | marks.keys() if now.get(name) != marks.get(name)):
        names = ", ".join(map(repr, touched[:5]))
        yield f"{names}: written to while the folder was asked; ask a copy that nobody else writes to"
    yield from integrity.files(manifest, entries(folder)[0])


def _whole(verdict: Verdict, manifest: Manifest) -> integrity.Lines:
    """Whether the folder holds what the manifest says, and says one thing of each. Returns the lines of its trail."""
    found, strange = entries(verdict.folder)
    files = verdict.note("files", [*strange, *integrity.files(manifest, found)], integrity.size(manifest))
    lines = list(integrity.read_lines(verdict.folder))
    trail = verdict.note("audit trail", integrity.trail(manifest, lines), integrity.later(manifest, lines))
    if files:
        verdict.note("tables", integrity.tables(manifest, found), "footers and contents are as the manifest says")
    if files and trail:
        wrong = integrity.agreement(manifest, verdict.folder, lines)
        verdict.note("inputs", wrong, "steps, evidence, posterior and trail tell the same of them")
    return lines


def _signed(verdict: Verdict, manifest: Manifest, lines: integrity.Lines, trust: Path | None) -> bool:
    """Whether a key that the verifier trusts signed the manifest."""
    from cohort.provenance import signature

    found = signature.check(verdict.folder, signature.trusted_keys(trust) if trust else {})
    verdict.signatures = [s.line for s in found if s.valid]
    trusted = any(s.trusted for s in found)
    wrong = [s.line for s in found if not s.valid]
    wrong += _untold(verdict.folder, manifest, lines, {s.file for s in found if s.valid})
    if trust and not trusted:
        wrong.append(f"none by a key that {trust} names")
    if found or wrong:
        verdict.note("signatures", wrong, "; ".join(verdict.signatures))
    else:
        verdict.skip("signatures", UNSIGNED)
    return trusted


def _untold(folder: Path, manifest: Manifest, lines: integrity.Lines, valid: set[str]) -> Iterator[str]:
    """Where the trail and signatures/ differ about who signed this manifest."""
    told = [line for _, line in lines if line and line["event"] == "signed"]
    told = [line for line in told if line.get("manifest") == digest(manifest.text)]
    there = {file_digest(folder / "signatures" / name): name for name in valid}
    for line in told:
        if line.get("signature") not in there:
            yield f"the trail tells that {line.get('name')!r} signed, with key {line.get('key')}: that is not there"
    known = {line.get("signature") for line in told}
    for sha, name in there.items():
        if sha not in known:
            yield f"signatures/{name}: the trail does not tell of it; its signer may sign again, and then it does"


def _may_run(
    verdict: Verdict, manifest: Manifest, texts: Sequence[bundle.Text], trusted: bool, run_model: bool
) -> bool:
    """Whether the models that reading the studies executes may run here."""
    if astray := [m for m in texts if m.file is None]:
        return verdict.note("model", [f"{m.study} names {m.reference!r}, which inputs/ has not" for m in astray])
    sealed = {verdict.folder.resolve() / name: part.sha256 for name, part in manifest.files.items()}
    if changed := [m for m in texts if m.file and digest(m.raw) != sealed.get(m.file)]:
        return verdict.note("model", [f"{m.reference}: not the text that was sealed, a moment ago" for m in changed])
    foreign = ", ".join(sorted({f"{m.file.name} ({m.sha256[:12]})" for m in texts if m.file and not m.in_library}))
    if foreign and os.environ.get(UNTRUSTED) == "1":
        verdict.skip("model", f"{foreign}: not a text of the installed library, and --untrusted runs no other")
        return False
    if foreign and not trusted and not run_model:
        verdict.skip(
            "model",
            f"{foreign}: not a text of the installed library, and a model is code. Read it in "
            f"{verdict.folder / 'inputs'}; then run it with --run-model, or name with --trust the key of who signed it",
        )
        return False
    why = "a trusted key signed it" if trusted else "as --run-model says"
    return verdict.note("model", [], f"{foreign}: {why}" if foreign else "the text of the installed library")


def _made_again(
    verdict: Verdict, manifest: Manifest, lines: integrity.Lines, texts: Sequence[bundle.Text], asked: Asked
) -> None:
    told = [line for _, line in lines if line]
    try:
        with bundle.opened(verdict.folder, manifest.study.name, texts, told) as results:
            if verdict.note("study", _rested(manifest, results), "fingerprint and stamps follow from inputs/"):
                _sample(verdict, manifest, results, asked)
    except VerifyError:
        raise
    except Exception as e:
        # Whoever writes a folder can make any code stumble over it: that is an answer, and its trace is for us.
        _log.debug("making it again stopped", exc_info=True)
        ours = type(e).__module__.startswith("cohort.") or isinstance(e, pl.exceptions.PolarsError)
        verdict.note(
            "re-run", [f"{'' if ours else 'stopped, as by no folder that cohort left: '}{type(e).__name__}: {e}"]
        )


def _rested(manifest: Manifest, results: bundle.Sealed) -> Iterator[str]:
    """Where the steps' stamps, or what the manifest says of the study, do not follow from inputs/."""
    study, there = results.study, "the study in inputs/ has"
    if fingerprint(study) != manifest.study.fingerprint or planned(study) != manifest.study.plan:
        yield f"{there} another fingerprint than the manifest says"
    if (study.seed, study.title, study.analysis.draws) != (manifest.study.seed, manifest.study.title, manifest.draws):
        yield f"{there} another seed, title or number of draws than the manifest says"
    if study.numerics.model_dump(mode="json") != manifest.numerics:
        yield f"{there} other numerics than the manifest says"
    if study.evidence.keys() != manifest.evidence.keys() or manifest.failures.keys() != study.arms.keys():
        yield f"{there} other evidence or arms than the manifest says"
    for name, use in study.evidence.items():
        part = manifest.evidence.get(name)
        rows = len(evidence.arms(study.root / use.file))
        if part and (part.file, part.use, part.rows) != (use.file.as_posix(), use.use, rows):
            yield f"evidence {name}: {there} another file or use of it, or the file other rows, than the manifest says"
    if Path(study.model).stem != manifest.model.name:
        yield f"{there} another model than the manifest names"
    for step, then in manifest.steps.items():
        now = results.basis(step)
        if changed := [key for key in now if then.get(key) != now[key]]:
            yield f"{step} rested on another {' and '.join(changed)} than inputs/ holds"


def _drawn(verdict: Verdict, everyone: pl.Series, asked: Asked) -> np.random.Generator:
    """Draw the patients who are made again."""
    subjects = list(asked.subjects)
    if unknown := sorted(set(subjects) - set(everyone.filter(everyone.is_in(subjects)))):
        raise VerifyError(f"--subject: no {', '.join(map(repr, unknown))}; the study's ids are such as {everyone[0]!r}")
    verdict.seed = int.from_bytes(os.urandom(6)) if asked.seed is None else asked.seed
    rng = np.random.default_rng(verdict.seed)
    drawn = rng.choice(len(everyone), min(asked.patients, len(everyone)), replace=False)
    verdict.patients = sorted({everyone[int(i)] for i in drawn} | set(subjects))
    return rng


def _sample(verdict: Verdict, manifest: Manifest, results: bundle.Sealed, asked: Asked) -> None:
    """Some patients again, from the seed to the trial, and whatever else is cheap; with `everything`, all there is."""
    from cohort.provenance import again, rows

    study, everything = results.study, asked.everything
    everyone = again.subjects_of(results)
    rng = _drawn(verdict, everyone, asked)
    chosen = verdict.patients
    verdict.machines, verdict.installed = again.excuses(manifest)
    if by := several_codes(manifest.steps):
        verdict.note("code", [], by)

    of = f"{len(chosen)} of {len(everyone):,} drawn with seed {verdict.seed}"
    if everything or results.attrition["screened"] <= again.POOL:
        verdict.judge(again.whole_population(results), f"{of}; everyone, and whom the criteria turned away")
    else:
        verdict.judge(again.people(results, everyone, chosen), f"{of}, and all who were screened beside them")
        verdict.skip("attrition", "whom the criteria turned away; --all screens everyone again")
        if study.population.match is not None:
            verdict.skip("matching", "who was drawn from the pool; --all draws again")
    verdict.judge(again.parameters(results), f"{manifest.draws} draws and their mean, from the posterior")
    allocation = rows.allocated(results, everyone, rng)
    verdict.judge(rows.counts(results, manifest, everyone, allocation), "everyone, each arm, draw, visit and failure")
    lanes = again.lanes(results, chosen, allocation)
    some = allocation.again < allocation.draws
    part = f", allocated again in {allocation.again} of {allocation.draws} draws" if some else ""
    verdict.judge(lanes.outcome, f"{len(chosen)} patients in {len(study.arms)} arms{part}")
    if everything:
        verdict.judge(again.whole_arms(results), "every patient in every arm")

    size = again.size(results)
    if "trial.parquet" in manifest.files:
        if everything or size <= again.WHOLE:
            verdict.judge(again.trial(results, None), "everyone's")
        elif not again.declares(study):
            verdict.judge(again.trial(results, lanes.recorded), f"of {len(chosen)} patients")
        else:
            verdict.skip("trial", f"{size:,} courses; --all makes their trials again")
    _inferred(verdict, manifest, results, asked)
    for what, n in _unasked(manifest):
        verdict.skip(what, f"{n} files that nothing here makes again")


def _inferred(verdict: Verdict, manifest: Manifest, results: bundle.Sealed, asked: Asked) -> None:
    """What was inferred, and the report of it; what takes minutes only with `everything`."""
    from cohort.provenance import inferred

    study, files = results.study, manifest.files
    if "comparison.nc" in files:
        rows = files["trial.parquet"].rows or 0 if "trial.parquet" in files else 0
        if asked.everything or rows <= integrity.SMALL:
            of = "from the trials, and beside the outcomes; when the registration was committed is taken as told"
            verdict.judge(inferred.predictions(results), of)
        else:
            verdict.skip("predictions", f"{rows:,} rows of trials; --all makes them again")
    if manifest.posterior is not None:
        if manifest.posterior.study != study.name:
            verdict.skip("calibration", f"that of {manifest.posterior.study}: verify its own folder")
        elif asked.everything:
            verdict.judge(inferred.calibration(results), "sampled again")
        else:
            verdict.skip("calibration", "sampled by MCMC; --all makes it again")
    if "comparison.nc" in files:
        if asked.everything:
            verdict.judge(inferred.comparison(results), "sampled again")
        else:
            verdict.skip("comparison", "what MCMC sampled of it; --all makes it again")
    if "sensitivity.json" in files:
        verdict.skip("sensitivity", "sampled by MCMC, and not here")
    if any(name.split("/")[0] in ("report.html", "tables", "figures") for name in files):
        if asked.everything and asked.redraw is not None:
            verdict.judge(inferred.report(results, asked.redraw), "text, tables and figures")
        else:
            verdict.skip("report", "its text, tables and figures; --all draws them again")


# Files and folders that some check above asks about, or says that it does not.
ASKED = frozenset(
    {"population.parquet", "attrition.json", "matching.json", "posterior.nc", "parameters.parquet", "arms", "inputs"}
    | {"trial.parquet", "trial", "comparison.nc", "sensitivity.json", "report.html", "tables", "figures", "made"}
)


def _unasked(manifest: Manifest) -> list[tuple[str, int]]:
    """What else the folder holds, by file or folder, and how many files that is."""
    return sorted(Counter(top for name in manifest.files if (top := name.split("/")[0]) not in ASKED).items())
