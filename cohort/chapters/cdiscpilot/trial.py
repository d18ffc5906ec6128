"""The trial's own data sets, patient by patient, and what of each may be read when.

Every file holds all three arms. What is read before the predictions are frozen goes through `baseline` and `taught`,
which drop everything else as they read: what was measured after baseline, and every row of the high dose.

References
----------
[1] CDISC pilot study CDISCPILOT01, ADaM data sets (CDISC; PHUSE, MIT licence, as packed in safetyData).
[2] Its table 14-3.01, as in atorus-research/CDISC_pilot_replication, outputs/14-3.01.rtf.
[3] The same repository, notes/divergences.md: the trial's repeated measures by SAS PROC MIXED, type UN.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from cohort.analysis.longitudinal import Longitudinal
from cohort.analysis.subjects import Subjects
from cohort.chapters import Data, Use
from cohort.trial import adam, apply
from cohort.trial.estimand import handling

FOLDER = "trials/cdiscpilot01"
OBTAIN = "the ADaM data sets of CDISCPILOT01 (CDISC; PHUSE's copy, MIT licence, packed in SafetyGraphics/safetyData)"
ARMS = {"placebo": "Placebo", "low dose": "Xanomeline Low Dose", "high dose": "Xanomeline High Dose"}
STUDY = {"placebo": "placebo", "low dose": "xanomeline_54", "high dose": "xanomeline_81"}  # the study file's names
DOSE = {"placebo": 0.0, "low dose": 54.0, "high dose": 81.0}  # mg
NAMES = {theirs: ours for ours, theirs in ARMS.items()}
VISITS = ("Week 8", "Week 16", "Week 24")
DAYS = (56.0, 112.0, 168.0)  # d after the first patch, as planned (AWTARGET)
END = DAYS[-1]
GRACE = 7.0  # d after the last patch in which a value still counts as on treatment: the visit at which one stops
PUBLISHED = {"placebo": (79, 2.54, 5.80), "low dose": (81, 2.00, 5.55), "high dose": (74, 1.47, 4.26)}
ANCOVA = {"low dose": (-0.5, 0.82, -2.1, 1.1), "high dose": (-1.0, 0.84, -2.7, 0.7)}  # [2]: difference, SE, 95 % CI
REPEATED = {"low dose": -0.5939, "high dose": -0.8282}  # [3]: differences at week 24
BEFORE = ("USUBJID", "SITEGR1", "TRT01P", "EFFFL", "AGE", "SEX", "MMSETOT", "EDUCLVL", "DURDIS")


def read(file: Path) -> pl.DataFrame:
    return pl.read_csv(file, infer_schema_length=None)


def opened(data: Data, name: str, use: Use) -> Path:
    """Errors: AbsentData, ChapterError."""
    return data.open(f"{FOLDER}/adam_{name}.csv.gz", use=use, obtain=OBTAIN)


def baseline(adsl: pl.DataFrame, adqsadas: pl.DataFrame) -> pl.DataFrame:
    """Everybody randomised as before the first patch: subject, arm, site (as the trial pooled them), efficacy (whether
    in its efficacy set), age (y), female, mmse, education (y), duration (months since onset), base (ADAS-Cog(11))."""
    score = adqsadas.filter(pl.col("PARAMCD") == "ACTOT", pl.col("ABLFL") == "Y")
    people = adsl.select(BEFORE).join(score.select("USUBJID", base="AVAL"), on="USUBJID", how="left")
    return people.select(
        subject="USUBJID",
        arm=pl.col("TRT01P").replace_strict(NAMES),
        site=pl.col("SITEGR1").cast(pl.String),
        efficacy=pl.col("EFFFL") == "Y",
        age="AGE",
        female=(pl.col("SEX") == "F").cast(pl.Float64),
        mmse="MMSETOT",
        education="EDUCLVL",
        duration="DURDIS",
        base=pl.col("base").cast(pl.Float64),
    ).sort("subject")


def taught(adqsadas: pl.DataFrame) -> pl.DataFrame:
    """Rows of placebo and of the low dose: what a prediction of the high dose may be fitted to."""
    return adqsadas.filter(pl.col("TRTP") != ARMS["high dose"])


def carried(adqsadas: pl.DataFrame, visit: str = "Week 24") -> pl.DataFrame:
    """The trial's primary endpoint: subject, arm, change of ADAS-Cog(11) from baseline, the last value carried forward,
    of its efficacy set."""
    rows = adqsadas.filter(
        pl.col("PARAMCD") == "ACTOT", pl.col("AVISIT") == visit, pl.col("ANL01FL") == "Y", pl.col("EFFFL") == "Y"
    )
    arm = pl.col("TRTP").replace_strict(NAMES)
    return rows.select(subject="USUBJID", arm=arm, change=pl.col("CHG").cast(pl.Float64)).sort("subject")


@dataclass(frozen=True)
class Trial:
    """people: as `baseline`. adsl: with EOTSTT, which the trial's lacks, from the reason of stopping. scores: of
    `adam.measurements`, the baseline among them. stops: of `adam.intercurrent`."""

    people: pl.DataFrame
    adsl: pl.DataFrame
    adqsadas: pl.DataFrame
    scores: pl.DataFrame
    stops: pl.DataFrame

    @classmethod
    def of(cls, adsl: pl.DataFrame, adqsadas: pl.DataFrame) -> "Trial":
        """Who stopped treatment is told by DCDECOD: by the day of the last patch completers would count as stopping,
        for most of them took the last one some days before 26 weeks."""
        completed = pl.when(pl.col("DCDECOD") == "COMPLETED")
        adsl = adsl.with_columns(EOTSTT=completed.then(pl.lit("COMPLETED")).otherwise(pl.lit("DISCONTINUED")))
        scores = adam.measurements(adqsadas, "ACTOT", visits=["Baseline", *VISITS])
        scores = scores.with_columns(arm=pl.col("arm").replace_strict(NAMES))
        return cls(baseline(adsl, adqsadas), adsl, adqsadas, scores, adam.intercurrent(adsl, scores))

    @property
    def order(self) -> list[str]:
        return self.people["subject"].to_list()

    def handled(self, discontinuation: str, grace: float = GRACE) -> pl.DataFrame:
        """The scores under a strategy for stopping. grace: d, by which stopping counts as later. Who died keeps the
        last score while alive."""
        late = pl.when(pl.col("event") == "discontinuation").then(pl.col("time") + grace).otherwise("time")
        plan = handling({"discontinuation": discontinuation})
        return apply(plan, self.scores, self.stops.with_columns(time=late), death="while alive")

    def changes(self, handled: pl.DataFrame) -> np.ndarray:
        """Changes from baseline, (subjects, visits) in the order of `people`, NaN where missing."""
        wide = handled.filter(pl.col("visit") != "Baseline").pivot("visit", index="subject", values="analysis_change")
        rows = self.people.select("subject").join(wide, on="subject", how="left", maintain_order="left")
        return rows.select(VISITS).to_numpy().astype(float)

    def longitudinal(self, y: np.ndarray, *, sites: bool = True, twin: np.ndarray | None = None) -> Longitudinal:
        """Changes as the data of an MMRM: arms, baseline and, as in the trial's own model, pooled sites."""
        people = self.people
        own = {"site": people["site"].to_numpy()} if sites else {}
        subjects = Subjects(people["arm"].to_numpy(), tuple(ARMS), own)
        return Longitudinal(y, subjects, VISITS, people["base"].to_numpy(), twin)

    def since_last_patch(self) -> pl.DataFrame:
        """Scores after baseline that were seen: subject, arm, visit, value, gap (d from the last patch; negative while
        on treatment), retrieval (whether the trial names the visit so)."""
        last = self.adsl.select(
            subject="USUBJID",
            stop=(pl.col("TRTEDT").str.to_date() - pl.col("TRTSDT").str.to_date()).dt.total_days().cast(pl.Float64),
        )
        named = self.adqsadas.filter(
            pl.col("PARAMCD") == "ACTOT", pl.col("ANL01FL") == "Y", pl.col("DTYPE").is_null()
        ).select(subject="USUBJID", visit="AVISIT", retrieval=pl.col("VISIT") == "RETRIEVAL")
        rows = self.scores.filter(pl.col("visit") != "Baseline", pl.col("value").is_not_null())
        rows = rows.join(last, on="subject", how="left").join(named, on=["subject", "visit"], how="left")
        return rows.select(
            "subject", "arm", "visit", "value", gap=pl.col("time") - pl.col("stop"), retrieval="retrieval"
        )

    def retrieved(self, visit: str = VISITS[-1]) -> dict[str, int]:
        """How many scores of a visit were taken after treatment, by rule of what that is."""
        rows = self.since_last_patch().filter(pl.col("visit") == visit)
        return {
            "named RETRIEVAL": rows.filter("retrieval").height,
            f"more than {GRACE:g} d after the last patch": rows.filter(pl.col("gap") > GRACE).height,
            "on any day after the last patch": rows.filter(pl.col("gap") > 0).height,
        }

    def after(self, visit: str = VISITS[-1]) -> dict[str, dict[str, float]]:
        """By arm, number and mean change of those seen on treatment (on_n, on), and after it (after_n, after)."""
        base = self.people.select("subject", "base")
        rows = self.since_last_patch().filter(pl.col("visit") == visit).join(base, on="subject", how="left")
        change, late = pl.col("value") - pl.col("base"), pl.col("gap") > GRACE
        found = rows.group_by("arm").agg(
            on_n=(~late).sum().cast(pl.Float64),
            on=change.filter(~late).mean(),
            after_n=late.sum().cast(pl.Float64),
            after=change.filter(late).mean(),
        )
        return {row.pop("arm"): row for row in found.iter_rows(named=True)}
