"""A SLURM of this machine for the tests that need one, certificates, and who listens where."""

import datetime
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

PROGRAMS = ("slurmctld", "slurmd", "munged", "sinfo", "sbatch", "srun")


@pytest.fixture(scope="session")
def slurm(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two virtual nodes, started for these tests alone; the folder they live in."""
    path = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"
    if missing := [p for p in PROGRAMS if not shutil.which(p, path=path)]:
        pytest.skip(f"SLURM is not installed here: no {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("only root can start a SLURM")
    folder = tmp_path_factory.mktemp("slurm")
    said = subprocess.run(
        [root / "tools/slurm", "start", folder],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path},
        check=False,
    )
    set_ = re.fullmatch(r"export SLURM_CONF='(.*)' PATH='(.*)':\"\$PATH\"", said.stdout.strip())
    before = {key: os.environ.get(key) for key in ("SLURM_CONF", "PATH")}
    try:
        if said.returncode or not set_:
            pytest.skip(f"SLURM does not start here: {said.stderr.strip()}")
        os.environ |= {"SLURM_CONF": set_[1], "PATH": f"{set_[2]}{os.pathsep}{path}"}
        yield folder
    finally:
        subprocess.run([root / "tools/slurm", "stop", folder], check=False, env={**os.environ, "PATH": path})
        for key, value in before.items():
            os.environ.pop(key, None) if value is None else os.environ.update({key: value})


def _sockets(family: str) -> Iterator[tuple[str, str, int]]:
    """Inode, address and port of each listening socket in /proc/net/tcp or tcp6."""
    for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]:
        _, local, _, state, *_, inode = line.split()[:10]
        if state == "0A":
            packed, _, port = local.partition(":")
            words = [bytes.fromhex(packed[i : i + 8])[::-1] for i in range(0, len(packed), 8)]
            kind = socket.AF_INET if family == "tcp" else socket.AF_INET6
            yield inode, socket.inet_ntop(kind, b"".join(words)), int(port, 16)


@pytest.fixture
def listening() -> Callable[[int], list[tuple[str, int]]]:
    """Where a process and those it started listen: (address, port)."""

    def of(pid: int) -> list[tuple[str, int]]:
        process = psutil.Process(pid)
        held = set()
        for each in [process, *process.children(recursive=True)]:
            for fd in Path(f"/proc/{each.pid}/fd").iterdir():
                try:
                    held.add(os.readlink(fd))
                except OSError:  # closed meanwhile
                    continue
        found = [*_sockets("tcp"), *_sockets("tcp6")]
        return [(address, port) for inode, address, port in found if f"socket:[{inode}]" in held]

    return of


def _authority(folder: Path, name: str, *holders: str, passphrase: bytes | None = None) -> Path:
    """A certificate authority, <name>.pem, and for each holder a certificate and key that it signed."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.datetime.now(datetime.UTC)

    def issue(subject: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Name, by: ec.EllipticCurvePrivateKey):
        ca = subject == name
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .sign(by, hashes.SHA256())
        )

    root = ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    pem = serialization.Encoding.PEM
    (folder / f"{name}.pem").write_bytes(issue(name, root, own, root).public_bytes(pem))
    locked = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    for holder in holders:
        key = ec.generate_private_key(ec.SECP256R1())
        (folder / f"{holder}.pem").write_bytes(issue(holder, key, own, root).public_bytes(pem))
        file = folder / f"{holder}.key"
        file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, locked))
        file.chmod(0o600)
    return folder


@pytest.fixture(scope="session")
def authority() -> Callable[..., Path]:
    """Makes an authority in a folder: its name, and whose certificates it signs."""
    return _authority


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities: `ours` signed scheduler, worker and client, `theirs` a stranger."""
    folder = tmp_path_factory.mktemp("certificates")
    _authority(folder, "ours", "scheduler", "worker", "client")
    return _authority(folder, "theirs", "stranger")


def dask(*words: str | Path, env: dict[str, str] | None = None) -> subprocess.Popen:
    """`dask scheduler` or `dask worker` as a process of its own."""
    command = [sys.executable, "-m", f"distributed.cli.dask_{words[0]}", *map(str, words[1:])]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **(env or {})}
    )


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts such processes, and ends them after the test."""
    processes: list[subprocess.Popen] = []

    def start(*words: str | Path, env: dict[str, str] | None = None) -> subprocess.Popen:
        processes.append(dask(*words, env=env))
        return processes[-1]

    yield start
    for process in reversed(processes):
        process.terminate()
    for process in processes:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
