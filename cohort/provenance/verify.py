"""Verifying a sealed folder: what it says of itself holds, and a sample of it can be made again.

It works on a folder from anywhere, read-only; it writes nothing into it, and executes nothing of it unless the model is
the installed library's, a key that the verifier trusts signed the manifest, or the verifier says so.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from cohort.bounded import printable
from cohort.library import UNTRUSTED
from cohort.provenance import bundle, integrity
from cohort.provenance.manifest import NAME, Manifest, ManifestError, entries, read_manifest
from cohort.results import Results
from cohort.study import fingerprint, planned

if TYPE_CHECKING:
    from cohort.provenance.again import Outcome

Answer = Literal["identical", "within tolerance", "different or tampered", "not re-run"]
EXIT: dict[Answer, int] = {"identical": 0, "within tolerance": 3, "different or tampered": 4, "not re-run": 5}
UNSIGNED = "internally consistent only: nobody vouches for it"


class VerifyError(ValueError):
    """What cannot be asked of a folder; the message says what to write instead."""


def _line(text: str) -> str:
    """One line for a terminal, in which nothing from the folder can steer it."""
    return printable(text.replace("\n", "; "))


@dataclass(frozen=True)
class Check:
    what: str
    state: Literal["ok", "not ok", "not done"]
    said: str

    def __str__(self) -> str:
        return _line(f"{self.what:<12} {self.state:<9} {self.said}")


@dataclass
class Verdict:
    """What was asked of a folder, in order, and the answer. `seed`: with which the patients were drawn; `excuses`: how
    this machine differs from the one that made the results; `off`: what is not the same to the bit, though as near as
    that allows. `say` hears of each check as it is done."""

    folder: Path
    say: Callable[[Check], None] = lambda check: None
    checks: list[Check] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    seed: int | None = None
    excuses: list[str] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    off: "list[Outcome]" = field(default_factory=list)

    def note(self, what: str, wrong: Iterable[str], fine: str = "") -> bool:
        """Ask one thing: `wrong` has every reason why not. Returns whether it holds."""
        found = list(wrong)
        more = f"; {len(found) - 8} more" if len(found) > 8 else ""
        self._add(Check(what, "not ok" if found else "ok", "; ".join(found[:8]) + more if found else fine))
        return not found

    def skip(self, what: str, why: str) -> None:
        self._add(Check(what, "not done", why))

    def judge(self, outcome: "Outcome", of: str) -> None:
        """Ask whether what was made again is what was recorded: to the bit, or on another machine nearly."""
        if outcome.identical or (outcome.within and not outcome.problem and self.excuses):
            self.note(outcome.what, [], f"{of}: {outcome}")
            self.off += [] if outcome.identical else [outcome]
        elif outcome.within and not outcome.problem:
            self.note(outcome.what, [f"{outcome}; with the same instruction set and versions every bit is the same"])
        else:
            self.note(outcome.what, [str(outcome)])

    def _add(self, check: Check) -> None:
        self.checks.append(check)
        self.say(check)

    @property
    def wrong(self) -> list[str]:
        return [check.what for check in self.checks if check.state == "not ok"]

    @property
    def answer(self) -> Answer:
        if self.wrong:
            return "different or tampered"
        if not any(check.what == "people" for check in self.checks):
            return "not re-run"
        return "within tolerance" if self.off else "identical"

    @property
    def said(self) -> str:
        """The answer in one line."""
        return _line(self._said())

    def _said(self) -> str:
        vouched = f"signed by {'; '.join(self.signatures)}" if self.signatures else UNSIGNED
        match self.answer:
            case "different or tampered":
                return f"different or tampered: {', '.join(self.wrong)}"
            case "not re-run":
                return f"hashes hold, not re-run; {vouched}"
            case "within tolerance":
                worst = max(self.off, key=lambda o: o.largest)
                return (
                    f"within tolerance: {worst.what}: {worst}; made with {'; '.join(self.excuses)}; "
                    f"{len(self.patients)} patients made again; {vouched}"
                )
            case "identical":
                return f"identical: {len(self.patients)} patients made again, every bit the same; {vouched}"

    @property
    def exit_code(self) -> int:
        return EXIT[self.answer]

    def as_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "answer": self.answer,
            "exit_code": self.exit_code,
            "said": self.said,
            "checks": [vars(check) for check in self.checks],
            "patients": self.patients,
            "seed": self.seed,
            "excuses": self.excuses,
            "signatures": self.signatures,
            "off": [vars(outcome) for outcome in self.off],
        }


def verify(
    folder: Path,
    *,
    patients: int = 20,
    subjects: Sequence[str] = (),
    trust: Path | None = None,
    run_model: bool = False,
    everything: bool = False,
    seed: int | None = None,
    say: Callable[[Check], None] = lambda check: None,
) -> Verdict:
    """Ask a sealed folder whether it holds.

    patients: how many are drawn and made again; subjects: ids of others that are; trust: a file of the verifier's keys;
    run_model: execute the folder's own model text; everything: make again all people, courses, trials, and what was
    sampled; seed: of the draw of patients, by default one that nobody could foresee. Errors: VerifyError.
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
    lines = _whole(verdict, manifest)
    trusted = _signed(verdict, trust)
    if verdict.wrong:
        verdict.skip("re-run", "nothing is made again from a folder that does not hold")
    elif _may_run(verdict, trusted, run_model):
        if patients or subjects or everything:
            _made_again(verdict, manifest, lines, patients, subjects, everything, seed)
        else:
            verdict.skip("re-run", "no patients were asked for")
    return verdict


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


def _signed(verdict: Verdict, trust: Path | None) -> bool:
    """Whether a key that the verifier trusts signed the manifest."""
    from cohort.provenance import signature

    found = signature.check(verdict.folder, signature.trusted_keys(trust) if trust else {})
    verdict.signatures = [s.line for s in found if s.valid]
    if found:
        verdict.note("signatures", [s.line for s in found if not s.valid], "; ".join(verdict.signatures))
    else:
        verdict.skip("signatures", UNSIGNED)
    return any(s.trusted for s in found)


def _may_run(verdict: Verdict, trusted: bool, run_model: bool) -> bool:
    """Whether the models that reading the studies executes may run here."""
    texts = bundle.models(verdict.folder)
    if astray := [m for m in texts if m.file is None]:
        return verdict.note("model", [f"{m.study} names {m.reference!r}, which inputs/ has not" for m in astray])
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
    verdict: Verdict,
    manifest: Manifest,
    lines: integrity.Lines,
    patients: int,
    subjects: Sequence[str],
    everything: bool,
    seed: int | None,
) -> None:
    try:
        with bundle.opened(verdict.folder, manifest.study.name) as results:
            if verdict.note("study", _rested(manifest, results), "fingerprint and stamps follow from inputs/"):
                _sample(verdict, manifest, results, lines, patients, subjects, everything, seed)
    except VerifyError:
        raise
    except (ValueError, RuntimeError, pl.exceptions.PolarsError) as e:
        # Ours, and polars' own of tables that lack a column, are about what the folder holds; others are defects.
        if not (type(e).__module__.startswith("cohort.") or isinstance(e, pl.exceptions.PolarsError)):
            raise
        verdict.note("re-run", [f"{type(e).__name__}: {e}"])


def _rested(manifest: Manifest, results: Results) -> Iterator[str]:
    """Where the steps' stamps do not follow from inputs/."""
    study, there = results.study, "the study in inputs/ has"
    if fingerprint(study) != manifest.study.fingerprint or planned(study) != manifest.study.plan:
        yield f"{there} another fingerprint than the manifest says"
    if (study.seed, study.title, study.analysis.draws) != (manifest.study.seed, manifest.study.title, manifest.draws):
        yield f"{there} another seed, title or number of draws than the manifest says"
    if study.numerics.model_dump(mode="json") != manifest.numerics:
        yield f"{there} other numerics than the manifest says"
    if study.evidence.keys() != manifest.evidence.keys() or manifest.failures.keys() != study.arms.keys():
        yield f"{there} other evidence or arms than the manifest says"
    for step, then in manifest.steps.items():
        now = results.basis(step)
        if changed := [key for key in now if then.get(key) != now[key]]:
            yield f"{step} rested on another {' and '.join(changed)} than inputs/ holds"


def _sample(
    verdict: Verdict,
    manifest: Manifest,
    results: Results,
    lines: integrity.Lines,
    patients: int,
    subjects: Sequence[str],
    everything: bool,
    seed: int | None,
) -> None:
    """Some patients again, from the seed to the trial, and whatever else is cheap; with `everything`, all there is."""
    from cohort.provenance import again

    study, steps = results.study, manifest.steps
    everyone = again.subjects_of(results)
    if unknown := sorted(set(subjects) - set(everyone.filter(everyone.is_in(list(subjects))))):
        raise VerifyError(f"--subject: no {', '.join(map(repr, unknown))}; the study's ids are such as {everyone[0]!r}")
    verdict.seed = int.from_bytes(os.urandom(6)) if seed is None else seed
    rng = np.random.default_rng(verdict.seed)
    drawn = rng.choice(len(everyone), min(patients, len(everyone)), replace=False)
    verdict.patients = chosen = sorted({everyone[int(i)] for i in drawn} | set(subjects))
    verdict.excuses = again.excuses(manifest)

    of = f"{len(chosen)} of {len(everyone):,} drawn with seed {verdict.seed}"
    if everything or results.attrition["screened"] <= again.POOL:
        verdict.judge(again.whole_population(results), f"{of}; everyone, and whom the criteria turned away")
    else:
        verdict.judge(again.people(results, everyone, chosen), f"{of}, and all who were screened beside them")
    verdict.judge(again.parameters(results), f"{manifest.draws} draws and their mean, from the posterior")
    verdict.judge(again.counts(results, manifest, everyone), "rows, draws and failures of every arm")
    lanes = again.lanes(results, everyone, chosen, rng)
    part = (
        "" if lanes.reallocated == lanes.draws else f", allocated again in {lanes.reallocated} of {lanes.draws} draws"
    )
    verdict.judge(lanes.outcome, f"{len(chosen)} patients in {len(study.arms)} arms{part}")
    if everything:
        verdict.judge(again.whole_arms(results), "every patient in every arm")

    size = again.size(results)
    if "trial" in steps:
        if everything or size <= again.WHOLE:
            verdict.judge(again.trial(results, None), "everyone's")
        elif not again.declares(study):
            verdict.judge(again.trial(results, lanes.recorded), f"of {len(chosen)} patients")
        else:
            verdict.skip("trial", f"{size:,} courses; --all makes their trials again")
    if "compare" in steps:
        frozen = [line["predictions"] for _, line in lines if line and line["event"] == "predictions frozen"]
        rows = manifest.files["trial.parquet"].rows or 0
        if everything or rows <= integrity.SMALL:
            verdict.judge(again.predictions(results, frozen[-1] if frozen else None), "from the trials")
        else:
            verdict.skip("predictions", f"{rows:,} rows of trials; --all makes them again")
    for what, owner in (("calibration", manifest.posterior and manifest.posterior.study), ("comparison", study.name)):
        if owner is None or (what == "comparison" and "compare" not in steps):
            continue
        if owner != study.name:
            verdict.skip(what, f"that of {owner}: verify its own folder")
        elif not everything:
            verdict.skip(what, "sampled by MCMC; --all makes it again")
        elif what == "calibration":
            verdict.judge(again.calibration(results, bool(verdict.excuses)), "sampled again")
        else:
            verdict.judge(again.comparison(results), "sampled again")
    if "sensitivity" in steps:
        verdict.skip("sensitivity", "sampled by MCMC, and not here")
    if "report.html" in manifest.files:
        verdict.skip("report", "its text, tables and figures are not drawn again")
