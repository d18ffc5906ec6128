"""A cluster file is read, or refused with every reason at once, each with its place."""

from pathlib import Path

import pytest

from cohort.cluster import Cluster, ClusterError, read_cluster


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_the_shipped_file_is_this_machine(root: Path):
    assert read_cluster(root / "config/cluster/local.yaml") == Cluster(kind="local", processes=False)


@pytest.mark.parametrize("text", ["", "# nothing\n", "workers: null\n"])
def test_what_is_not_given_has_its_default(tmp_path: Path, text: str):
    assert read_cluster(_file(tmp_path, text)) == Cluster()


@pytest.mark.parametrize("amount", ["2 GB", "512 MiB", "1.5GiB"])
def test_an_amount_of_memory_is_read(tmp_path: Path, amount: str):
    assert read_cluster(_file(tmp_path, f"memory: {amount}\n")).memory == amount


def test_a_file_that_is_not_there_is_refused_with_those_that_are(root: Path):
    with pytest.raises(ClusterError, match=r"slurm\.yaml: no such file; .*cluster has local$"):
        read_cluster(root / "config/cluster/slurm.yaml")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("kind: slurm", "1  kind: found 'slurm'; write local"),
        ("kind: local\nworker: 2", "2  worker: unknown key; known: kind, workers, processes, memory"),
        ("workers: 0", "1  workers: found 0; write a whole number such as 2"),
        ("workers: two", "1  workers: found 'two'; write a whole number such as 2"),
        ("workers: true", "1  workers: found True; write a whole number such as 2"),
        ("processes: 1", "1  processes: found 1; write true or false"),
        ("memory: lots", "1  memory: found 'lots'; write such as 2 GB"),
        ("memory: 2", "1  memory: found 2; write such as 2 GB"),
        ("- local", "1  found ['local']; write keys such as kind, workers"),
        ("kind: [local", "1  not YAML: "),
        ("kind: local\nkind", "2  not YAML: "),
        ("2: 3", "1  2: unknown key"),
    ],
)
def test_what_is_wrong_is_named_by_line_and_key_with_what_to_write(tmp_path: Path, text: str, reason: str):
    path = _file(tmp_path, text)
    with pytest.raises(ClusterError) as refused:
        read_cluster(path)
    assert str(refused.value).startswith(f"{path}:{reason}")


def test_all_errors_come_at_once(tmp_path: Path):
    with pytest.raises(ClusterError) as refused:
        read_cluster(_file(tmp_path, "workers: 0\nkind: slurm\nsize: 3\n"))
    assert len(str(refused.value).splitlines()) == 3


def test_a_file_in_another_encoding_is_refused(tmp_path: Path):
    (tmp_path / "mine.yaml").write_bytes("# Größe".encode("latin-1"))
    with pytest.raises(ClusterError, match="not UTF-8"):
        read_cluster(tmp_path / "mine.yaml")
