"""Certificates for Dask, from files or made for one run."""

import os
from typing import TYPE_CHECKING, Literal

from cohort.cluster.kinds import ClusterError, Tls

if TYPE_CHECKING:
    from distributed.security import Security


def security(tls: Tls | Literal["temporary"]) -> "Security":
    """For all roles. Errors: ClusterError with every file that cannot be used and why."""
    from distributed.security import Security

    if tls == "temporary":
        return Security.temporary()
    wrong = [f"tls.{name}: {path}: no such file" for name, path in _files(tls).items() if not path.is_file()]
    if tls.key.is_file() and tls.key.stat().st_mode & 0o077:
        wrong.append(f"tls.key: others can read {tls.key}; write chmod 600 {tls.key}")
    if tls.passphrase and tls.passphrase not in os.environ:
        wrong.append(f"tls.passphrase: the environment has no {tls.passphrase}; set it to the passphrase of {tls.key}")
    if wrong:
        raise ClusterError("\n".join(wrong))
    key = _key(tls)
    return Security(
        require_encryption=True,
        tls_ca_file=str(tls.ca),
        **{f"tls_{role}_cert": str(tls.cert) for role in ("client", "scheduler", "worker")},
        **{f"tls_{role}_key": key for role in ("client", "scheduler", "worker")},
    )


def _files(tls: Tls) -> dict:
    return {"ca": tls.ca, "cert": tls.cert, "key": tls.key}


def _key(tls: Tls) -> str:
    """The key's path; where it has a passphrase, the key itself in PEM, which Dask takes as well."""
    from cryptography.hazmat.primitives import serialization

    data = tls.key.read_bytes()
    secret = os.environ[tls.passphrase].encode() if tls.passphrase else None
    try:
        key = serialization.load_pem_private_key(data, secret)
    except TypeError:
        need = "is needed; name its environment variable as passphrase" if secret is None else "is not: leave it out"
        raise ClusterError(f"tls.key: for {tls.key} a passphrase {need}") from None
    except ValueError:
        raise ClusterError(
            f"tls.key: {tls.key} is no key in PEM" + (f", or {tls.passphrase} is not its passphrase" if secret else "")
        ) from None
    if secret is None:
        return str(tls.key)
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()
