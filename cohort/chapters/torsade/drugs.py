"""What is known of the 28 drugs: class, free Cmax, and the samples of what they do to the currents.

References
----------
[1] FDA/CiPA, branch Lab_Specific_Validation_Calibration_2020 (4bfb160d): samples, and which of them belong together.
[2] Mistry 2018, PeerJ 6:e4352: block of hERG less block of ICaL and INaL as the model to beat.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from cohort.analysis.torsade import CLASSES, block, net_block
from cohort.chapters import Data
from cohort.record import file_digest
from cohort.results import Results

DRUGS = "config/evidence/cipa_drugs.csv"
OBTAIN = "FDA/CiPA, branch Lab_Specific_Validation_Calibration_2020 (github.com/FDA/CiPA, 4bfb160d)"
HERG = ("Kmax", "Ku", "n", "halfmax", "Vhalf")
HILL = ("INa", "INaL", "ICaL")  # the currents that the 2020 set blocks beside hERG [1]


def table(results: Results, *, validation: bool) -> pl.DataFrame:
    """drug, set, cmax, class (0 to 2), and FDA's leave-one-out counts; those of drugs for validation are null unless
    they are asked for, which the audit trail tells."""
    file = results.study.root / DRUGS
    use = "validation" if validation else "calibration"
    results.audit.append("data opened", chapter="torsade", use=use, file=DRUGS, sha256=file_digest(file))
    whole = pl.read_csv(file).select(
        "drug",
        "set",
        pl.col("cmax_nM").cast(pl.Float64).alias("cmax"),
        pl.col("class").replace_strict({name: k for k, name in enumerate(CLASSES)}).alias("class"),
        "fda_low",
        "fda_intermediate",
        "fda_high",
    )
    if validation:
        return whole
    shown = pl.when(pl.col("set") == "training").then(pl.col("class"))
    return whole.select("drug", "set", "cmax", shown.alias("class"))


def classes(drugs: pl.DataFrame) -> dict[str, int]:
    """Of those drugs whose class is told."""
    known = drugs.drop_nulls("class")
    return dict(zip(known["drug"], known["class"], strict=True))


def samples(drug: str, n: int, data: Data) -> pl.DataFrame:
    """The first n samples: hERG kinetics beside Hill curves, of the same row each; FDA paired them so [1]."""
    parts = [
        pl.read_csv(
            data.open(f"cipa/hill_samples/{drug}_{kind}.csv.gz", use="input", obtain=OBTAIN), infer_schema=False
        )
        for kind in ("hERG_boot_pars_2020", "IC50_samples")
    ]
    wanted = [*HERG, *(f"{current}_{what}" for current in (*HILL, "hERG") for what in ("IC50", "h"))]
    return pl.concat(parts, how="horizontal").select(pl.col(wanted).cast(pl.Float64)).head(n)


def net_blocks(samples: Mapping[str, pl.DataFrame], drugs: pl.DataFrame) -> dict[str, dict[str, np.ndarray]]:
    """Net block of currents at Cmax, of every sample: what a cell model has to beat [2]."""

    def of(drug: str, current: str, cmax: float) -> np.ndarray:
        own = samples[drug]
        return block(np.array(cmax), own[f"{current}_IC50"].to_numpy(), own[f"{current}_h"].to_numpy())

    both, calcium = {}, {}
    for drug, cmax in zip(drugs["drug"], drugs["cmax"], strict=True):
        herg, ical, inal = (of(drug, current, cmax) for current in ("hERG", "ICaL", "INaL"))
        both[drug], calcium[drug] = net_block(herg, ical, inal), net_block(herg, ical)
    return {"net_block": both, "herg_ical": calcium}
