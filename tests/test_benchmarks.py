"""The benchmark runs, and is right before it is fast; how fast is not for a test to say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_benchmark_measures_speed_beside_the_error_reached(root: Path, tmp_path: Path):
    call = [sys.executable, "-m", "benchmarks.run", "--quick", "--workloads", "W1", "--engines", "cohort native,SciPy"]
    subprocess.run([*call, "--out", str(tmp_path)], cwd=root, check=True, capture_output=True, timeout=500)
    rows = json.loads((tmp_path / "engine.json").read_text())["rows"]
    assert {row["engine"] for row in rows} == {"cohort native", "SciPy"}
    assert {row["threads"] for row in rows if row["engine"] == "cohort native"} == {1, 2}
    for row in rows:
        assert row["max_error"] < 5e-6
        assert row["subjects_per_cpu_second"] > 0
