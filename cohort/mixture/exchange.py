"""Mixtures and simulated subjects for other programs: RBesT's JSON in and out [1], and FACTS's external subjects [2].

RBesT. An object of "comp", a matrix by rows (w, a, b of beta and gamma; w, m, s of normal; w, then m[.], s[.] and the
correlations rho[.,.] by columns of the lower triangle of mvnormal), a column for each component, and "meta": "dim",
"dimnames", "link", "class", "likelihood", and of a normal mixture "sigma". Seen in files that RBesT wrote: all of it
for mvnormal. Not seen in a file, but taken from its documented row names, classes and likelihoods: beta, gamma and
normal, and that the reference scale's key is "sigma".

FACTS. Comma-separated lines without a header, all of a subject's together, of
    patient, dose index, visit, response     continuous and dichotomous endpoints; visit 0 is the baseline
    patient, dose index, time to event       time-to-event endpoints
and, of enrichment designs, a group index after the patient. Dose index 1 is the control. Seen in scripts that write
such files and quote the user guide of FACTS 3; the guides of later versions say that the files exist, not what is in
them.

References
----------
[1] RBesT 1.8-2 and later, help of write_mix_json and read_mix_json, marked experimental there.
[2] FACTS user guides, Berry Consultants: virtual subject response, external.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cohort.mixture.families import BetaMixture, GammaMixture, NormalMixture
from cohort.mixture.multivariate import MvNormalMixture
from cohort.mixture.scalar import ScalarMixture
from cohort.mixture.validation import MixtureError, require

ROUNDED = 0.05  # weights written with few digits may sum to this far from 1; read_mix_json rescales them too
CLASSES = {
    "betaMix": (BetaMixture, ["w", "a", "b"], "binomial"),
    "normMix": (NormalMixture, ["w", "m", "s"], "normal"),
    "gammaMix": (GammaMixture, ["w", "a", "b"], "poisson"),
    "mvnormMix": (MvNormalMixture, ["w"], "mvnormal"),
}


def to_rbest(m: ScalarMixture | MvNormalMixture, sigma: float | None = None) -> str:
    """JSON text that RBesT::read_mix_json reads, with all digits.

    sigma: the reference scale of a NormalMixture, the standard deviation of one subject; RBesT's ess and oc need one.
    Errors: MixtureError of something else than a mixture, or a sigma that is not positive or not wanted."""
    found = [name for name, (family, _, _) in CLASSES.items() if isinstance(m, family)]
    reasons = [] if found else [f"m: is a {type(m).__name__}; write a mixture"]
    if sigma is not None and not isinstance(m, NormalMixture):
        reasons.append(f"sigma: {sigma} has no meaning for a {type(m).__name__}; leave it out")
    elif sigma is not None and not (np.isfinite(sigma) and sigma > 0):
        reasons.append(f"sigma: {sigma} is not a standard deviation; write more than 0")
    require("a mixture for RBesT", reasons)
    _, rows, likelihood = CLASSES[found[0]]
    if isinstance(m, MvNormalMixture):
        rows, values = _mv_rows(m)
    else:
        values = np.array([m.weight, *m.parameters])
    names = [f"comp{i + 1}" for i in range(m.components)]
    meta = {"dim": list(values.shape), "dimnames": [rows, names], "link": ["identity"]}
    meta |= {} if sigma is None else {"sigma": [float(sigma)]}
    meta |= {"class": [found[0], "mix"], "likelihood": [likelihood]}
    return json.dumps({"meta": meta, "comp": values.tolist()}, indent=2)


def from_rbest(text: str) -> Any:
    """The mixture of JSON text that RBesT::write_mix_json wrote; weights are rescaled to a sum of 1, as it does.

    A reference scale is left behind: see `rbest_sigma`. Errors: MixtureError of what is no such text, and of what no
    mixture here can hold: another class, a link other than the identity, an exponential likelihood."""
    meta, values = _read(text)
    reasons: list[str] = []
    classes = _texts(meta.get("class"))
    known = [c for c in classes if c in CLASSES]
    if not known:
        reasons.append(f"meta.class: {classes} names no mixture that is known; write one of {', '.join(CLASSES)}")
    if (link := _texts(meta.get("link", "identity"))) != ["identity"]:
        reasons.append(f"meta.link: {link}; write a mixture on the scale of its parameter, link 'identity'")
    if known:
        _, rows, likelihood = CLASSES[known[0]]
        if (said := _texts(meta.get("likelihood", likelihood))) != [likelihood]:
            reasons.append(f"meta.likelihood: {said}; only '{likelihood}' can update a {known[0]}")
        if known[0] != "mvnormMix" and len(values) != len(rows):
            reasons.append(f"comp: has {len(values)} rows; write {', '.join(rows)}")
        if known[0] == "mvnormMix" and not _quantities(values):
            reasons.append(f"comp: has {len(values)} rows, which no number of quantities has")
        elif known[0] == "mvnormMix" and not np.all(values[1 + _quantities(values) : 1 + 2 * _quantities(values)] > 0):
            reasons.append("comp: an SD is not positive; write rows w, m, s, rho")
    total = float(values[0].sum())
    if not abs(total - 1) <= ROUNDED:
        reasons.append(f"comp[0]: weights sum to {total:g}; write weights that sum to 1")
    require("a mixture from RBesT", reasons)
    weight = values[0] / total
    if known[0] != "mvnormMix":
        return CLASSES[known[0]][0](weight, values[1], values[2])
    p = _quantities(values)
    mean, sd, rho = np.split(values[1:].T, [p, 2 * p], axis=1)
    correlation = np.tile(np.eye(p), (len(weight), 1, 1))
    column, row = np.triu_indices(p, 1)  # the lower triangle by columns is the upper one by rows
    correlation[:, row, column] = correlation[:, column, row] = rho
    return MvNormalMixture(weight, mean, correlation * sd[:, :, None] * sd[:, None, :])


def rbest_sigma(text: str) -> float | None:
    """The reference scale of a normal mixture that RBesT wrote, if it has one."""
    sigma = _read(text)[0].get("sigma")
    return None if sigma is None else float(np.ravel(sigma)[0])


def _read(text: str) -> tuple[dict[str, Any], np.ndarray]:
    try:
        held = json.loads(text)
        meta, values = held["meta"], np.array([np.ravel(row) for row in held["comp"]], dtype=float)
    except (ValueError, KeyError, TypeError) as error:
        raise MixtureError(f"a mixture from RBesT\n  the text holds no 'meta' and 'comp': {error}") from error
    if not isinstance(meta, dict) or values.ndim != 2 or not values.size:
        raise MixtureError("a mixture from RBesT\n  comp: is no matrix; write a row for each parameter")
    return meta, values


def _quantities(values: np.ndarray) -> int:
    """How many quantities a matrix of rows w, m, s and rho is of; 0 if of no number of them."""
    p = round((np.sqrt(8 * len(values) + 1) - 3) / 2)
    return p if 1 + 2 * p + p * (p - 1) // 2 == len(values) and p > 0 else 0


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(v) for v in value or []]


def _mv_rows(m: MvNormalMixture) -> tuple[list[str], np.ndarray]:
    """Names of rows and their values: weights, means, SDs, and correlations by columns of the lower triangle."""
    sd = np.sqrt(np.diagonal(m.component_cov, axis1=1, axis2=2))
    correlation = m.component_cov / (sd[:, :, None] * sd[:, None, :])
    column, row = np.triu_indices(m.dimension, 1)
    names = [f"{letter}[{i + 1}]" for letter in "ms" for i in range(m.dimension)]
    names += [f"rho[{i + 1},{j + 1}]" for i, j in zip(row, column, strict=True)]
    return ["w", *names], np.concatenate([m.weight[None], m.component_mean.T, sd.T, correlation[:, row, column].T])


def facts_subjects(table: pl.DataFrame, path: str | Path, arms: Sequence[str] | None = None) -> pl.DataFrame:
    """Writes simulated subjects as a FACTS file of external subjects; returns which patient number each one got.

    table: one row for each subject and visit, of columns
        subject   any id                -> patient, 1, 2, ... in order of appearance
        group     a whole number, 1 ... -> group index, only of enrichment designs; leave it out else
        arm       a whole number, 1 ... -> dose index, 1 the control; or a name, and `arms` holds the names in order
        visit     a whole number, 0 ... -> visit; 0 is the baseline
        response  a number              -> response; 0 or 1 of a dichotomous endpoint
    or, of a time to event, one row for each subject, with `time` in place of visit and response.
    Returns columns subject and patient. Errors: MixtureError of columns missing or that the file cannot hold, values
    missing or not finite, a subject in two arms or groups, a visit twice, visits that not every subject has, and times
    that are not positive: FACTS has no line for a missing or censored response here."""
    timed = "time" in table.columns
    wanted = ["subject", *(["group"] if "group" in table.columns else []), "arm"]
    wanted += ["time"] if timed else ["visit", "response"]
    reasons = [f"{name}: column is missing; write it" for name in wanted if name not in table.columns]
    reasons += [
        f"{name}: the file has no place for this column; drop it" for name in table.columns if name not in wanted
    ]
    if not table.height:
        reasons.append("the table has no rows; write at least one subject")
    require("subjects for FACTS", reasons)
    kept = table.select(wanted)
    if kept["arm"].dtype == pl.String or arms is not None:
        kept = _indexed(kept, arms, reasons)
    for name in wanted:
        reasons += _cells(kept[name], name)
    require("subjects for FACTS", reasons)
    kept = kept.with_columns(pl.col(pl.Boolean).exclude("subject").cast(pl.Int64))
    reasons += _subjects(kept, timed)
    require("subjects for FACTS", reasons)
    patients = kept.select("subject").unique(maintain_order=True).with_row_index("patient", offset=1)
    lines = kept.join(patients, on="subject", maintain_order="left").with_columns(subject="patient").drop("patient")
    lines.sort(["subject", *([] if timed else ["visit"])]).write_csv(path, include_header=False)
    return patients.select("subject", pl.col("patient").cast(pl.Int64))


def _subjects(table: pl.DataFrame, timed: bool) -> list[str]:
    """What keeps the rows of a subject from being one subject's."""
    reasons = []
    if (twice := table.select("subject", *([] if timed else ["visit"])).is_duplicated()).any():
        reasons.append(f"subject {table['subject'].filter(twice)[0]!r}: has {'two rows' if timed else 'a visit twice'}")
    by = table.group_by("subject", maintain_order=True).agg(pl.exclude("subject").n_unique())
    for name in [n for n in ("group", "arm") if n in table.columns]:
        if (many := by.filter(pl.col(name) > 1)).height:
            reasons.append(f"subject {many['subject'][0]!r}: is in {many[name][0]} of {name}; write one")
    if not timed:
        visits = sorted(table["visit"].unique())
        if (few := by.filter(pl.col("visit") < len(visits))).height:
            found = f"subject {few['subject'][0]!r}: has {few['visit'][0]} of {len(visits)} visits"
            reasons.append(f"{found}; complete or drop {few.height} subjects")
        if visits != list(range(visits[0], visits[0] + len(visits))) or visits[0] > 1:
            reasons.append(f"visit: holds {visits}; number them from 1, and the baseline 0")
    return reasons


def _indexed(table: pl.DataFrame, arms: Sequence[str] | None, reasons: list[str]) -> pl.DataFrame:
    """The table with arms by their place in `arms`, from 1."""
    names = table["arm"].cast(pl.String)
    unknown = sorted(set(names.drop_nulls()) - set(arms or []))
    if arms is None:
        reasons.append(f"arm: holds names, {', '.join(unknown[:5])}; write them in order as arms, the control first")
    elif unknown:
        reasons.append(f"arm: {', '.join(unknown[:5])} not in arms {list(arms)}; write every arm once")
    elif len(set(arms)) < len(arms):
        reasons.append(f"arms: {list(arms)} names one twice; write every arm once")
    require("subjects for FACTS", reasons)
    place = {name: i + 1 for i, name in enumerate(arms or [])}
    return table.with_columns(arm=names.replace_strict(place, return_dtype=pl.Int64))


def _cells(column: pl.Series, name: str) -> list[str]:
    """What of a column no line of the file can hold."""
    if (missing := column.null_count()) > 0:
        return [f"{name}: {missing} of {len(column)} values are missing; complete or drop these subjects"]
    if name == "subject":
        return []
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        return [f"{name}: holds {column.dtype}; write numbers"]
    x = column.cast(pl.Float64).to_numpy()
    if not np.isfinite(x).all():
        return [f"{name}: {int((~np.isfinite(x)).sum())} of {len(x)} values are not finite; write numbers"]
    if name == "time":
        return [f"time: {x.min():g} is not positive; write the time to the event"] if x.min() <= 0 else []
    if name == "response":
        return []
    least = 0 if name == "visit" else 1
    if column.dtype.is_float() or column.dtype == pl.Boolean or x.min() < least:
        return [f"{name}: holds {column.dtype} from {x.min():g}; write whole numbers from {least}"]
    return []
