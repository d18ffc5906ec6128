"""A disk that is full or read-only, and chunks that are damaged on it: said, nothing half-written left, and the same
content and bytes once it is mended."""

import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from disturbed import (
    CHUNKS,
    SIMULATE,
    STUDY,
    chunks,
    copied,
    done,
    leavings,
    made,
    refused,
    unharmed,
)

from cohort.record import Audit, file_digest

pytestmark = pytest.mark.faults


@pytest.fixture
def disk(undisturbed: Path, tmp_path: Path) -> Iterator[Path]:
    """The project before `simulate`, its results on a disk of their own that can be made larger."""
    folder = tmp_path / "project"
    results = folder / "results/small"
    results.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(results)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.strip()}")
    try:
        yield copied(undisturbed, folder)
    finally:
        subprocess.run(["umount", "--lazy", str(results)], check=True)


def remounted(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder / "results/small")], check=True)


def used(folder: Path) -> int:
    """Bytes in use on that disk."""
    said = subprocess.run(
        ["df", "--output=used", "-B1", str(folder / "results/small")], capture_output=True, text=True, check=True
    )
    return int(said.stdout.split()[1])


@pytest.mark.parametrize(
    ("share", "cluster"),
    [
        (0.02, "local"),
        (0.3, "processes"),
        (0.3, "local"),
        (0.6, "local"),
        (0.9, "processes"),
        (0.9, "local"),
        (0.99, "local"),
    ],
)
def test_a_full_disk_is_named_and_after_it_grew_the_run_is_resumed(
    disk: Path, undisturbed: Path, reference, share: float, cluster: str
):
    """With room for a share of what the run writes: in its first chunk, among them, and in the tables of arms."""
    before = used(disk)
    probe = sum(-(-f.stat().st_size // 4096) * 4096 for f in _written(undisturbed))
    remounted(disk, f"size={before + int(share * probe)}")
    said = refused(disk, *SIMULATE, "--cluster", cluster)
    assert str(disk / "results/small") in said
    assert "the disk is full; what is finished is kept: run again after" in said
    assert leavings(disk) == []
    assert not (disk / "results/small/made/simulate.json").exists()
    kept = chunks(disk)
    assert "run: cohort simulate" in refused(disk, "trial", STUDY)
    remounted(disk, "size=64m")
    done(disk, *SIMULATE, "--cluster", cluster)
    unharmed(disk, reference, kept)
    assert Audit(disk / "results/small/audit.jsonl").broken_at() is None


def _written(project: Path) -> list[Path]:
    """What `simulate` writes."""
    results = project / "results/small"
    return [results / "parameters.parquet", *results.glob("arms/*"), *results.glob("state/simulate/*")]


@pytest.mark.parametrize("words", [SIMULATE, ("population", STUDY)])
def test_read_only_results_are_named_and_nothing_is_changed(disk: Path, words: tuple[str, ...]):
    results = disk / "results/small"
    before = {f: file_digest(f) for f in sorted(results.rglob("*")) if f.is_file()}
    remounted(disk, "ro")
    said = refused(disk, *words)
    assert f"{results}" in said
    assert "the disk is read-only" in said
    assert {f: file_digest(f) for f in sorted(results.rglob("*")) if f.is_file()} == before


# -- damage


def _damaged(file: Path, how: str, at: random.Random) -> None:
    """Cut off somewhere, or with one bit turned."""
    data = bytearray(file.read_bytes())
    if how == "truncated":
        data = data[: at.randrange(len(data))]
    else:
        data[at.randrange(len(data))] ^= 1 << at.randrange(8)
    file.write_bytes(data)


def _named(mark: Path) -> str | None:
    """The hash that a sidecar names."""
    try:
        return json.loads(mark.read_bytes())["sha256"]
    except (ValueError, KeyError, TypeError):
        return None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("how", ["truncated", "bit-flipped"])
@pytest.mark.parametrize("kind", ["parquet", "commit"])
def test_damaged_chunks_are_set_aside_and_made_again(
    undisturbed: Path, tmp_path: Path, reference, kind: str, how: str, seed: int
):
    """Ten of a finished run's. A bit of a sidecar that is no part of the hash may turn and nothing rests on it."""
    folder = copied(undisturbed, tmp_path / "project")
    state = folder / "results/small/state/simulate"
    shutil.copytree(undisturbed / "results/small/state/simulate", state)
    at = random.Random(seed)
    print(f"seed {seed}")
    hit = at.sample(sorted(f.stem for f in state.glob("*.commit")), 10)
    named = {key: _named(state / f"{key}.commit") for key in hit}
    for key in hit:
        _damaged(state / f"{key}.{kind}", how, at)
    lost = {key for key in hit if kind == "parquet" or _named(state / f"{key}.commit") != named[key]}
    assert lost
    whole = {key: about for key, about in chunks(folder).items() if key not in lost}
    end = done(folder, *SIMULATE)
    for key in hit:
        assert (f"chunk {key} was damaged; it is set aside" in end.said) == (key in lost)
        assert (state / f"quarantine/{key}.parquet").exists() == (key in lost)
    unharmed(folder, reference, whole)


def test_tables_of_arms_that_are_damaged_are_found_out_by_their_content(undisturbed: Path, tmp_path: Path, reference):
    """`simulate` again makes the same tables from chunks that are there."""
    folder = tmp_path / "project"
    shutil.copytree(undisturbed, folder)
    file = folder / "results/small/arms/low.parquet"
    at = random.Random(1)
    _damaged(file, "bit-flipped", at)
    before = chunks(folder)
    done(folder, *SIMULATE)
    assert len(before) == CHUNKS
    unharmed(folder, reference, before)
    assert made(folder) == reference
