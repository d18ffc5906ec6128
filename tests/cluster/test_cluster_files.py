"""A cluster file is read, or refused with every reason at once, each with its place."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohort.cluster import Address, Cluster, ClusterError, Kubernetes, Local, Slurm, named, read_cluster
from cohort.cluster.kinds import Mounted, Tls

SLURM = "kind: slurm\nqueue: normal\nwalltime: 12:00:00\ncores: 4\nmemory: 8 GB\nmaximum: 3\n"
POD = "kind: kubernetes\nimage: r/cohort:1\nworkers: 3\ncores: 4\nmemory: 8 GB\n"
FILES = "ca: ca.pem, cert: cert.pem, key: key.pem"


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def _refused(tmp_path: Path, text: str) -> list[str]:
    path = _file(tmp_path, text)
    with pytest.raises(ClusterError) as refused:
        read_cluster(path)
    return [line.removeprefix(f"{path}:") for line in str(refused.value).splitlines()]


def test_the_shipped_files_are_of_the_kind_that_they_are_named_after(root: Path):
    kinds = {"local": Local, "slurm": Slurm, "kubernetes": Kubernetes, "address": Address}
    assert {p.stem for p in (root / "config/cluster").glob("*.yaml")} == set(kinds)
    for name, kind in kinds.items():
        assert isinstance(named(name, root), kind)
    assert named("local", root) == Local()


@pytest.mark.parametrize("text", ["", "# nothing\n", "workers: null\n", "kind: local\nprocesses: false\n"])
def test_what_is_not_given_has_its_default(tmp_path: Path, text: str):
    assert read_cluster(_file(tmp_path, text)) == Local()


@pytest.mark.parametrize("amount", ["2 GB", "512 MiB", "1.5GiB"])
def test_an_amount_of_memory_is_read(tmp_path: Path, amount: str):
    found = read_cluster(_file(tmp_path, f"memory: {amount}\n"))
    assert isinstance(found, Local)
    assert found.memory == amount


def test_a_walltime_is_text_and_not_the_seconds_that_yaml_would_make_of_it(tmp_path: Path):
    found = read_cluster(_file(tmp_path, SLURM))
    assert isinstance(found, Slurm)
    assert found.walltime == "12:00:00"
    assert found.tls is None


def test_workers_of_the_command_line_are_of_this_machine_only(tmp_path: Path):
    (tmp_path / "config/cluster").mkdir(parents=True)
    for name, text in (("here", "workers: 3"), ("queue", SLURM)):
        (tmp_path / f"config/cluster/{name}.yaml").write_text(text)
    assert named("here", tmp_path, workers=2) == Local(workers=2)
    assert named("queue", tmp_path, workers=2) == named("queue", tmp_path)


@pytest.mark.parametrize("name", ["../local", "/etc/local", "", "a b"])
def test_a_name_leads_nowhere_else(name: str, root: Path):
    with pytest.raises(ClusterError, match="is no name; write that of a file in config/cluster/"):
        named(name, root)


def test_paths_are_relative_to_the_file_and_the_home_folder_is_known(tmp_path: Path):
    text = "kind: address\naddress: tls://there:8786\ntls: {ca: ca.pem, cert: /c.pem, key: ~/k.pem, passphrase: KEY}\n"
    found = read_cluster(_file(tmp_path, text))
    assert isinstance(found, Address)
    assert found.tls == Tls.model_construct(
        ca=tmp_path / "ca.pem", cert=Path("/c.pem"), key=Path.home() / "k.pem", passphrase="KEY"
    )


def test_where_chunks_live_without_a_shared_disk(tmp_path: Path):
    text = "store: s3://trials/run-1/x\nendpoint: https://minio.example.org:9000\n"
    found = read_cluster(_file(tmp_path, text))
    assert (found.store, found.endpoint) == ("s3://trials/run-1/x", "https://minio.example.org:9000")


def test_patience_is_read_in_its_unit(tmp_path: Path):
    assert read_cluster(_file(tmp_path, "patience: 1.5 h\n")).patience == 5400


def test_a_file_that_is_not_there_is_refused_with_those_that_are(root: Path):
    with pytest.raises(
        ClusterError, match=r"mine\.yaml: no such file; .*cluster has address, kubernetes, local, slurm$"
    ):
        read_cluster(root / "config/cluster/mine.yaml")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("kind: slum", "1  kind: found 'slum'; did you mean 'slurm'?"),
        ("kind: pbs", "1  kind: found 'pbs'; write one of local, slurm, kubernetes, address"),
        ("kind: [slurm]", "1  kind: found ['slurm']; did you mean 'slurm'?"),
        ("kind: local\nworker: 2", "2  worker: unknown key; did you mean 'workers'?"),
        (
            "kind: local\nsize: 2",
            "2  size: unknown key; known: kind, store, endpoint, patience, stalled, workers, processes",
        ),
        ("workers: 0", "1  workers: found 0; write a whole number such as 2"),
        ("workers: two", "1  workers: found 'two'; write a whole number such as 2"),
        ("workers: true", "1  workers: found True; write a whole number such as 2"),
        ("workers: 2.0", "1  workers: found 2.0; write a whole number such as 2"),
        ("processes: 1", "1  processes: found 1; write true or false"),
        ("memory: lots", "1  memory: found 'lots'; write such as 2 GB"),
        ("memory: 2", "1  memory: found 2; write such as 2 GB"),
        ("patience: 10", "1  patience: found 10; write such as 10 min"),
        ("patience: 0 s", "1  patience: found '0 s'; write such as 10 min"),
        ("patience: 1 d", "1  patience: found '1 d'; write such as 10 min"),
        ("workers: 1\nworkers: 2", "2  workers: written twice, first on line 1; keep one"),
        ("memory: &a 2 GB\nstore: *a", "2  store: an alias"),
        ("memory: !!python/name:os.system 1", "1  memory: the tag"),
        ("- local", "1  found ['local']; write keys such as kind, workers"),
        ("kind: [local", "1  not YAML: "),
        ("kind: local\nkind", "2  not YAML: "),
        ("2: 3", "1  2: unknown key"),
        ("store: /data", "1  store: found '/data'; write such as s3://bucket/prefix"),
        ("store: s3://b/../c?x=1", "1  store: found 's3://b/../c?x=1'"),
        ("store: s3://trials\nendpoint: example.org", "2  endpoint: found 'example.org'; write such as https://"),
        ("endpoint: https://example.org", "1  endpoint: belongs to a store; add store:"),
        (SLURM + "cores: 2", "7  cores: written twice, first on line 4"),
        (SLURM + "minimum: 4", "6  maximum: found 3; write at least the minimum, 4"),
        (SLURM + "processes: 5", "7  processes: found 5; write at most 4, one for each of the cores"),
        (SLURM.replace("12:00:00", "12 h"), "3  walltime: found '12 h'; write hours, minutes and seconds such as"),
        (SLURM.replace("12:00:00", "00:01:00"), "3  walltime: found '00:01:00'; write at least 00:02:00"),
        (SLURM.replace("cores: 4\n", ""), "1  cores: missing; write a whole number such as 2"),
        (SLURM.replace("maximum: 3\n", ""), "1  maximum: missing; write a whole number"),
        (SLURM + 'directives: ["--qos=a\\nrm"]', "7  directives: found '--qos=a\\nrm'; write a list of lines"),
        (SLURM + "directives: --qos=a", "7  directives: found '--qos=a'; write a list of lines"),
        (
            SLURM + "interface: ib0",
            "1  tls: missing, and other machines reach 'ib0'; write tls: temporary, or ca, cert",
        ),
        (SLURM + "tls: yes", "7  tls: found 'yes'; write ca, cert and key below it; on SLURM,"),
        (SLURM + "tls:\n  ca: a\n  cart: b\n  key: c\n", "7  tls.cert: missing; write the path of a file in PEM"),
        (
            SLURM + "tls:\n  ca: a\n  cert: b\n  key: c\n  passphrse: X\n",
            "11  tls.passphrse: unknown key; did you mean 'p",
        ),
        (POD + f"tls: {{{FILES}}}", "6  tls.secret: missing; write the name of a Secret"),
        (POD, "1  tls: missing; write ca, cert and key below it"),
        ("kind: address\naddress: tcp://10.0.0.1:8786", "2  address: found 'tcp://10.0.0.1:8786'; write tls:// for"),
        ("kind: address\naddress: tls://there:8786", "1  tls: missing; write ca, cert and key below tls:"),
        ("kind: address\naddress: there:8786", "2  address: found 'there:8786'; write such as tls://"),
        ("kind: address\naddress: tls://there:99999", "2  address: found 'tls://there:99999'; write such as"),
        ("kind: address\naddress: tcp://localhost:1\ntls: temporary", "3  tls: found 'temporary'; write"),
        (f"kind: address\naddress: tcp://127.0.0.1:1\ntls: {{{FILES}}}", "3  tls: certificates, but the address is"),
    ],
)
def test_what_is_wrong_is_named_by_line_and_key_with_what_to_write(tmp_path: Path, text: str, reason: str):
    assert any(line.startswith(reason) for line in _refused(tmp_path, text)), _refused(tmp_path, text)


def test_all_errors_come_at_once_in_the_order_of_their_lines(tmp_path: Path):
    text = "kind: slurm\nwalltime: long\ncores: 0\nmemory: much\nmaximum: 2\ninterface: eth0\nsize: 3\nsize: 4\n"
    lines = _refused(tmp_path, text)
    keys = [line.split("  ")[1].split(":")[0] for line in lines]
    assert sorted(keys) == sorted(["walltime", "cores", "memory", "tls", "size", "size"])
    assert lines == sorted(lines, key=lambda line: int(line.split("  ")[0]))


@pytest.mark.parametrize(
    "text",
    [
        "store: s3://AKIA:hush-hush@trials/x",
        "store: s3://trials\nendpoint: https://me:hush-hush@example.org",
        f"kind: address\naddress: tls://there:8786\ntls: {{{FILES}, passphrase: hush-hush}}",
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path, text: str):
    assert "hush" not in "\n".join(_refused(tmp_path, text))


def test_a_file_in_another_encoding_is_refused(tmp_path: Path):
    (tmp_path / "mine.yaml").write_bytes("# Größe".encode("latin-1"))
    with pytest.raises(ClusterError, match="not UTF-8"):
        read_cluster(tmp_path / "mine.yaml")


@pytest.mark.parametrize("walltime", ["00:02:00", "00:10:00", "12:00:00", "7-00:00:00"])
def test_the_last_worker_leaves_before_its_walltime_is_over(tmp_path: Path, walltime: str):
    """Dask draws each lifetime from lifetime ± stagger; three quarters of a minute stay to hand over and to start."""
    found = read_cluster(_file(tmp_path, SLURM.replace("12:00:00", walltime)))
    assert isinstance(found, Slurm)
    days, _, clock = walltime.rpartition("-")
    hours, minutes, rest = map(int, clock.split(":"))
    whole = 86400 * int(days or 0) + 3600 * hours + 60 * minutes + rest
    lifetime, stagger = found.lifetime
    assert lifetime + stagger <= whole - 45
    assert lifetime - stagger > whole / 2


KEYS = sorted({key for kind in (Local, Slurm, Kubernetes, Address) for key in kind.model_fields})
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 10**6)
    | st.floats(allow_nan=False)
    | st.sampled_from(["slurm", "kubernetes", "address", "tls://a:1", "tcp://a", "tls://[", "2 GB", "lo", "temporary"])
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["ca", "x"]), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from([*KEYS, "tsl"]), VALUES, max_size=6))
def test_whatever_stands_in_a_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: dict):
    import json

    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(json.dumps(data))  # which is YAML
    found: Cluster | None = None
    said = f"{path}:"
    try:
        found = read_cluster(path)
    except ClusterError as e:
        said = str(e)
    assert said.startswith(f"{path}:")
    assert found is None or set(data) <= {"kind", *type(found).model_fields}


def test_no_kind_takes_certificates_that_nobody_reads():
    assert set(Mounted.model_fields) - set(Tls.model_fields) == {"secret"}
