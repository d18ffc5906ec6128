"""The answer to whether a sealed folder holds: what was asked, one line each, and what follows."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cohort.bounded import printable

if TYPE_CHECKING:
    from cohort.provenance.same import Outcome

Answer = Literal["identical", "within tolerance", "different or tampered", "not re-run"]
EXIT: dict[Answer, int] = {"identical": 0, "within tolerance": 3, "different or tampered": 4, "not re-run": 5}
UNSIGNED = "internally consistent only: nobody vouches for it"
ASKED_APART = ("signatures", "model", "re-run")  # what is not done and yet no part of the results


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
    """What was asked of a folder, in order, and the answer. `seed`: with which the patients were drawn; `machines` and
    `installed`: how this machine, and what is installed on it, differ from what made the results; `off`: what is not
    the same to the bit, though as near as that allows. `say` hears of each check as it is done."""

    folder: Path
    say: Callable[[Check], None] = lambda check: None
    checks: list[Check] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    seed: int | None = None
    machines: list[str] = field(default_factory=list)
    installed: list[str] = field(default_factory=list)
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

    @property
    def excuses(self) -> list[str]:
        return self.machines + self.installed

    def judge(self, outcome: "Outcome", of: str) -> None:
        """Ask whether what was made again is what was recorded: to the bit, or on another machine nearly. Where people,
        courses and trials have the same bits, versions excuse nothing that was sampled: the verifier can install those
        of the run."""
        excuses = self.machines if outcome.sampled and not self.off else self.excuses
        if outcome.identical or (outcome.within and not outcome.problem and excuses):
            self.note(outcome.what, [], f"{of}: {outcome}")
            self.off += [] if outcome.identical else [outcome]
        elif outcome.within and not outcome.problem:
            same = "with the same instruction set and versions every bit is the same"
            if self.excuses:
                same = f"all else has the same bits: ask again with the versions of the run ({'; '.join(self.excuses)})"
            self.note(outcome.what, [f"{outcome}; {same}"])
        else:
            self.note(outcome.what, [str(outcome)])

    def _add(self, check: Check) -> None:
        self.checks.append(check)
        self.say(check)

    @property
    def wrong(self) -> list[str]:
        return [check.what for check in self.checks if check.state == "not ok"]

    @property
    def unasked(self) -> list[str]:
        """What of the results was not made again."""
        return [check.what for check in self.checks if check.state == "not done" and check.what not in ASKED_APART]

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
        unasked = f"; not made again: {', '.join(self.unasked)}" if self.unasked else ""
        match self.answer:
            case "different or tampered":
                return f"different or tampered: {', '.join(self.wrong)}"
            case "not re-run":
                return f"hashes hold, not re-run; {vouched}"
            case "within tolerance":
                worst = max(self.off, key=lambda o: o.largest)
                return (
                    f"within tolerance: {worst.what}: {worst}; made with {'; '.join(self.excuses)}; "
                    f"{len(self.patients)} patients made again; {vouched}{unasked}"
                )
            case "identical":
                return f"identical: {len(self.patients)} patients made again, every bit the same; {vouched}{unasked}"

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
            "unasked": self.unasked,
            "signatures": self.signatures,
            "off": [vars(outcome) for outcome in self.off],
        }
