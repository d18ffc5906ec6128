# population ─┬─> calibrate ─(posterior)─┐
#             └──────────────────────────┴─> simulate ─> trial ─> compare ─> [chapters] ─> report ─> dossier ─> seal
#
#   cohort run                 every study in config/studies, then a table
#   snakemake -c2              the same without the table
#   snakemake -c2 results/laplace/manifest.json      one study
#   snakemake --profile config/profiles/slurm        on a SLURM cluster
#
# made/<step>.json: what a step's output rests on. A step reads it beside the data and refuses what no longer holds.

import functools
import os

from cohort import read_study
from cohort.library import path_of

ALONE = config.get("alone") == "yes"  # one study: its steps have all cores
CLUSTER = config.get("cluster", "local")  # not a rule's param: what was made elsewhere is not made again
STUDIES = glob_wildcards("config/studies/{study}.yaml").study

wildcard_constraints:
    study="|".join(STUDIES),


@functools.cache
def protocol(name):
    return read_study(f"config/studies/{name}.yaml")


def study_of(wildcards):
    return protocol(wildcards.study)


def model_file(wildcards):
    study = study_of(wildcards)
    return os.path.relpath(path_of(study.model, study.path.parent))


def posterior(wildcards):
    """The calibration a study rests on: its own, another's, or none."""
    study = study_of(wildcards)
    owner = study.parameters_from or (study.calibration and wildcards.study)
    return [f"results/{owner}/posterior.nc", f"results/{owner}/made/calibrate.json"] if owner else []


def registered(wildcards):
    file = f"config/registered/{wildcards.study}.json"
    return [file] if os.path.exists(file) else []


def people_files(wildcards):
    return [str(file) for file in study_of(wildcards).population.files]


def taught_by(wildcards):
    """Comparisons that teach this one how far the model errs."""
    plan = study_of(wildcards).comparison
    return [f"results/{name}/comparison.nc" for name in (plan.discrepancy_from if plan else [])]


def chapters(wildcards):
    """What the study's own analyses left; none where it names none."""
    return [f"results/{wildcards.study}/made/chapters.json"] if study_of(wildcards).chapters else []


def outcomes(use):
    return lambda wildcards: [str(e.file) for e in study_of(wildcards).evidence.values() if e.use in use]


rule all:
    input: expand("results/{study}/manifest.json", study=STUDIES)

rule population:
    input: study="config/studies/{study}.yaml", model=model_file, files=people_files
    output: "results/{study}/population.parquet", "results/{study}/attrition.json", "results/{study}/made/population.json"
    log: "results/{study}/log/population.txt"
    shell: "cohort population {input.study:q} --cluster {CLUSTER:q} 2>&1 | tee {log:q}"

rule calibrate:
    input: study="config/studies/{study}.yaml", model=model_file, people=rules.population.output, outcomes=outcomes({"calibration"})
    output: "results/{study}/posterior.nc", "results/{study}/made/calibrate.json"
    log: "results/{study}/log/calibrate.txt"
    shell: "cohort calibrate {input.study:q} --cluster {CLUSTER:q} 2>&1 | tee {log:q}"

rule simulate:
    input: study="config/studies/{study}.yaml", model=model_file, people=rules.population.output, posterior=posterior
    output: directory("results/{study}/arms"), "results/{study}/parameters.parquet", "results/{study}/made/simulate.json"
    log: "results/{study}/log/simulate.txt"
    threads: workflow.cores if ALONE else max(1, workflow.cores // 2)  # starting up leaves cores idle: two studies at a time
    shell: "cohort simulate {input.study:q} --cluster {CLUSTER:q} --workers {threads} 2>&1 | tee {log:q}"

rule trial:
    input: study="config/studies/{study}.yaml", people=rules.population.output, arms=rules.simulate.output, posterior=posterior
    output: "results/{study}/trial.parquet", "results/{study}/made/trial.json"
    log: "results/{study}/log/trial.txt"
    threads: workflow.cores if ALONE else max(1, workflow.cores // 2)
    shell: "cohort trial {input.study:q} --cluster {CLUSTER:q} --workers {threads} 2>&1 | tee {log:q}"

rule compare:
    input: study="config/studies/{study}.yaml", trial=rules.trial.output, posterior=posterior, registered=registered, learnt=taught_by, outcomes=outcomes({"calibration", "validation"})
    output: "results/{study}/comparison.nc", "results/{study}/made/compare.json"
    log: "results/{study}/log/compare.txt"
    shell: "cohort compare {input.study:q} --cluster {CLUSTER:q} 2>&1 | tee {log:q}"

rule chapters:
    input: study="config/studies/{study}.yaml", comparison=rules.compare.output, posterior=posterior
    output: "results/{study}/made/chapters.json"
    log: "results/{study}/log/chapters.txt"
    threads: workflow.cores
    shell: "cohort chapters {input.study:q} --cluster {CLUSTER:q} --workers {threads} 2>&1 | tee {log:q}"

rule report:
    input: study="config/studies/{study}.yaml", comparison=rules.compare.output, chapters=chapters, posterior=posterior
    output: "results/{study}/report.html"
    log: "results/{study}/log/report.txt"
    shell: "cohort report {input.study:q} 2>&1 | tee {log:q}"

rule dossier:
    input: study="config/studies/{study}.yaml", report=rules.report.output
    output: "results/{study}/dossier.html"
    log: "results/{study}/log/dossier.txt"
    shell: "cohort dossier {input.study:q} 2>&1 | tee {log:q}"

rule seal:
    input: study="config/studies/{study}.yaml", report=rules.report.output, dossier=rules.dossier.output
    output: "results/{study}/manifest.json"
    log: "results/{study}/log/seal.txt"
    shell: "cohort seal {input.study:q} 2>&1 | tee {log:q}"
