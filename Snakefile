# population ─┬─> calibrate ─(posterior)─┐
#             └──────────────────────────┴─> simulate ─> trial ─> compare ─> report
#
#   cohort run                 every study in config/studies, then a table
#   snakemake -c2              the same without the table
#   snakemake -c2 results/laplace/report.html        one study

from cohort import read_study

STUDIES = glob_wildcards("config/studies/{study}.yaml").study

wildcard_constraints:
    study="|".join(STUDIES),


def study_of(wildcards):
    return read_study(f"config/studies/{wildcards.study}.yaml")


def model_file(wildcards):
    reference = study_of(wildcards).model
    return reference if reference.endswith(".py") else f"models/{reference}.py"


def posterior(wildcards):
    """The calibration a study rests on: its own, another's, or none."""
    study = study_of(wildcards)
    owner = study.parameters_from or (study.calibration and wildcards.study)
    return [f"results/{owner}/posterior.nc"] if owner else []


def outcomes(use):
    return lambda wildcards: [str(e.file) for e in study_of(wildcards).evidence.values() if e.use in use]


rule all:
    input: expand("results/{study}/report.html", study=STUDIES)

rule population:
    input: study="config/studies/{study}.yaml", model=model_file
    output: "results/{study}/population.parquet", "results/{study}/attrition.json"
    log: "results/{study}/log/population.txt"
    shell: "cohort population {input.study} 2>&1 | tee {log}"

rule calibrate:
    input: study="config/studies/{study}.yaml", model=model_file, people="results/{study}/population.parquet", outcomes=outcomes({"calibration"})
    output: "results/{study}/posterior.nc"
    log: "results/{study}/log/calibrate.txt"
    threads: workflow.cores
    shell: "cohort calibrate {input.study} 2>&1 | tee {log}"

rule simulate:
    input: study="config/studies/{study}.yaml", model=model_file, people="results/{study}/population.parquet", posterior=posterior
    output: directory("results/{study}/arms"), "results/{study}/parameters.parquet"
    log: "results/{study}/log/simulate.txt"
    threads: max(1, workflow.cores // 2)  # starting up leaves cores idle: two studies at a time
    params: cluster=config.get("cluster", "local")
    shell: "cohort simulate {input.study} --cluster {params.cluster:q} --workers {threads} 2>&1 | tee {log}"

rule trial:
    input: study="config/studies/{study}.yaml", arms="results/{study}/arms", parameters="results/{study}/parameters.parquet"
    output: "results/{study}/trial.parquet"
    log: "results/{study}/log/trial.txt"
    shell: "cohort trial {input.study} 2>&1 | tee {log}"

rule compare:
    input: study="config/studies/{study}.yaml", trial="results/{study}/trial.parquet", outcomes=outcomes({"calibration", "validation"})
    output: "results/{study}/comparison.nc"
    log: "results/{study}/log/compare.txt"
    shell: "cohort compare {input.study} 2>&1 | tee {log}"

rule report:
    input: study="config/studies/{study}.yaml", comparison="results/{study}/comparison.nc", attrition="results/{study}/attrition.json"
    output: "results/{study}/report.html"
    log: "results/{study}/log/report.txt"
    shell: "cohort report {input.study} 2>&1 | tee {log}"
