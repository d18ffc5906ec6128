"""A study of eighty virtual patients, small enough to be run for real in seconds."""

import shutil
from pathlib import Path

import numpy as np

from cohort.enrolment import columns_of, sample_population
from cohort.evidence import COLUMNS
from cohort.library import load
from cohort.population.table import schema, write
from cohort.posterior import parameter_draws
from cohort.record import canonical, code, digest, file_digest
from cohort.results import Results, open_results
from cohort.simulation import simulate
from cohort.store import write as whole
from cohort.store import write_table, write_text
from cohort.study import fingerprint
from cohort.trial import analysis_set

ARMS = ("placebo_q2w", "evolocumab_140_q2w")
STUDY = "config/studies/small.yaml"
CALIBRATED = {
    "kout": (0.31, 0.03),
    "smax": (2.6, 0.2),
    "sc50": (2.5, 0.3),
    "smax.spread": (0.4, 0.05),
    "sc50.spread": (0.4, 0.05),
    "sigma": (14.6, 1.0),
    "drift": (0.008, 0.016),
    "treatment_related_ae.background": (-2.6, 0.3),
    "treatment_related_ae.drug": (0.15, 0.3),
}


def small(text: str) -> str:
    """MENDEL cut to two arms of twenty, eighty people, and sixteen draws."""
    kept, section = [], ""
    for line in text.splitlines():
        section = line.split(":")[0] if line[:1].isalpha() else section
        arm = section == "arms" and line.startswith("  ") and line.split(":")[0].strip()
        if section != "comparison" and (not arm or arm in ARMS):
            kept.append(line.replace("control: placebo_q4w", "control: placebo_q2w"))
    cut = "\n".join(kept) + "\n"
    for before, after in (
        ("size: 2000", "size: 80"),
        ("draws: 64", "draws: 16"),
        ("{n: 45", "{n: 20"),
        ("mendel: {file: config/evidence/mendel.csv", "small: {file: config/evidence/small.csv"),
    ):
        assert before in cut
        cut = cut.replace(before, after)
    return cut


def evidence() -> str:
    lines = [
        {"arm": arm, "outcome": "ldl_change", "n": "20", "estimate": mean, "se": "4.5", "unit": "percent"}
        for arm, mean in zip(ARMS, ("1.5", "-58"), strict=True)
    ]
    lines.append({"arm": ARMS[0], "outcome": "treatment_related_ae", "n": "20", "events": "0", "unit": "subjects"})
    lines = [line | {"trial": "small", "visit": "12 wk"} for line in lines]
    return "\n".join([",".join(COLUMNS), *(",".join(line.get(c, "") for c in COLUMNS) for line in lines)]) + "\n"


def project(folder: Path, root: Path, model: str = "evolocumab") -> Results:
    """A project with this one study, whose parameters come from a posterior made by hand."""
    from arviz_base import from_dict

    (folder / "config/studies").mkdir(parents=True, exist_ok=True)
    (folder / "config/evidence").mkdir()
    shutil.copytree(root / "config/cluster", folder / "config/cluster")
    shutil.copy(root / "config/studies/laplace.yaml", folder / "config/studies")
    shutil.copy(root / "config/evidence/laplace.csv", folder / "config/evidence")
    text = small((root / "config/studies/mendel.yaml").read_text())
    assert "model: evolocumab\n" in text
    (folder / STUDY).write_text(text.replace("model: evolocumab\n", f"model: {model}\n"))
    (folder / "config/evidence/small.csv").write_text(evidence())
    rng = np.random.default_rng(1)
    tree = from_dict({"posterior": {k: m + s * rng.standard_normal((4, 40)) for k, (m, s) in CALIBRATED.items()}})
    owner = open_results(folder / "config/studies/laplace.yaml")
    tree.attrs |= {
        "study": "laplace",
        "study_hash": fingerprint(owner.study),
        "model_hash": digest(load(owner.study.model, owner.study.path.parent).text),
        "evidence_hash": canonical({"laplace.csv": file_digest(folder / "config/evidence/laplace.csv")}),
        "summary": "{}",
    }
    (folder / "results/laplace").mkdir(parents=True)
    tree.to_netcdf(folder / "results/laplace/posterior.nc")
    owner.stamp("calibrate")
    return open_results(folder / STUDY)


def simulated(results: Results) -> Results:
    """Population, simulation and trials, as the steps leave them, without a cluster."""
    study = results.study
    screening = sample_population(study)
    shape = schema(columns_of(study))
    rows = screening.people.select(shape.names).to_arrow().cast(shape)
    whole(results.population_file, lambda temporary: write(temporary, [rows], shape))
    counts = {"screened": screening.screened, "enrolled": screening.people.height, "excluded": screening.excluded}
    write_text(results.attrition_file, canonical(counts))
    results.stamp("population")
    results.audit.append("population", study=study.name, **counts)
    model = load(study.model, study.path.parent)
    parameters = parameter_draws(study, model, results.posterior)
    visits = simulate(study, screening.people, parameters)
    write_table(results.parameters_file, parameters)
    for (arm,), part in visits.partition_by("arm", as_dict=True).items():
        write_table(results.arm_file(str(arm)), part)
    results.stamp("simulate")
    results.audit.append("simulated", patients=visits.height // len(study.visits), failed=0, code=code())
    write_table(results.trial_file, analysis_set(study, model, visits, parameters))
    results.stamp("trial")
    results.audit.append("trials", draws=study.analysis.draws)
    return results
