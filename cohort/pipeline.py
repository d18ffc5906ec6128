"""All steps of some studies through Snakemake, with its talk reduced to a progress bar and what the steps say."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from cohort.cluster import Cluster, Slurm, named
from cohort.store import lock
from cohort.study import read_study

PROFILES = Path("config/profiles")
STEPS = re.compile(r"(\d+) of (\d+) steps")


class PipelineError(RuntimeError):
    """A run that stopped; the message holds the end of what was said."""


def run(
    names: list[str],
    *,
    cores: int | None,
    cluster: str,
    say: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> None:
    """Make and seal the results of these studies. `say` gets the lines of the steps. Errors: PipelineError, and
    ClusterError for a cluster file that cannot be used."""
    with lock(Path("results/.run"), "cohort run"):
        _snakemake(_command(names, cores, cluster), say, progress)


def _command(names: list[str], cores: int | None, cluster: str) -> list[str]:
    command = [sys.executable, "-m", "snakemake", *_profile(named(cluster))]
    command += ["--cores", str(cores)] if cores else []
    # What others wait for goes first: studies that calibrate, and all that leads there.
    calibrating = [
        f"results/{name}/manifest.json" for name in names if read_study(f"config/studies/{name}.yaml").calibration
    ]
    command += ["--prioritize", *calibrating] if calibrating else []
    targets = [f"results/{name}/manifest.json" for name in names]
    alone = "yes" if len(names) == 1 else "no"
    return [*command, "--nocolor", "--config", f"cluster={cluster}", f"alone={alone}", "--", *targets]


def _snakemake(command: list[str], say: Callable[[str], None], progress: Callable[[int, int], None]) -> None:
    environment = {
        # What is compiled once serves every later step; it loads to the same bits.
        "JAX_COMPILATION_CACHE_DIR": str(Path("results/.compiled").resolve()),
        **os.environ,
        # Rules call `cohort` by name: the one beside this Python.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    steps = tuple(f"{path.stem}: " for path in Path("config/studies").glob("*.yaml"))
    heard: list[str] = []
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            heard.append(line.rstrip())
            if line.startswith(steps):
                say(line.rstrip())
            elif match := STEPS.search(line):
                progress(int(match[1]), int(match[2]))
    if process.returncode:
        said = "\n".join(heard[-40:])
        raise PipelineError(f"{said}\n\nThe run stopped; the lines above and results/<study>/log/ say why.")


def _profile(where: Cluster) -> list[str]:
    """Snakemake's options for steps on this machine, or for steps that are jobs of their own."""
    folder = PROFILES / ("slurm" if isinstance(where, Slurm) else "local")
    file = folder / "config.yaml"
    if not file.is_file():
        raise PipelineError(f"{file}: no such file; copy it from the project's own config/profiles")
    options = ["--profile", str(folder)]
    if isinstance(where, Slurm):
        given = {"slurm_partition": where.queue, "slurm_account": where.account}
        resources = [f"{name}={value!r}" for name, value in given.items() if value]
        # On the command line they would replace the profile's, which are repeated.
        options += ["--default-resources", *yaml.safe_load(file.read_text()).get("default-resources", []), *resources]
    return options
