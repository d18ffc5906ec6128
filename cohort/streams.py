"""Random numbers: one stream per subject and purpose, so that a subject is the same in any company.

A stream's key is 128 bits of SHA-256 over the length-prefixed seed, purpose and subject id; within a stream,
each variable is addressed by its name. The generator is Philox4x32-10, counter-based: nothing is consumed in
order, so chunks, workers, neighbours and variables added later change nobody's numbers.

References
----------
[1] Salmon, Moraes, Dror & Shaw 2011, Parallel random numbers: as easy as 1, 2, 3. SC'11, doi 10.1145/2063384.2063405.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri


def _framed(part: str) -> bytes:
    raw = part.encode()
    return len(raw).to_bytes(8, "big") + raw


def _digest(*parts: str) -> bytes:
    return hashlib.sha256(b"".join(map(_framed, parts))).digest()


@dataclass(frozen=True)
class Streams:
    """The streams of n subjects for one purpose."""

    keys: np.ndarray  # (4, n) words of 32 bits in uint64: two key Philox, two enter its counter

    @property
    def size(self) -> int:
        return self.keys.shape[1]

    def of(self, who: np.ndarray) -> "Streams":
        """The streams of some of the subjects: a mask of (n,)."""
        return Streams(np.ascontiguousarray(self.keys[:, who]))

    def uniform(self, name: str, size: int = 1) -> np.ndarray:
        """Returns (n, size), each strictly between 0 and 1, with 52 random bits."""
        from cohort.philox import fill  # numba takes a while to import, and most steps draw nothing

        word, out = np.uint64(int.from_bytes(_digest(name)[:4], "big")), np.empty((size, self.size))
        for k, row in enumerate(out):
            fill(self.keys, word, np.uint64(k // 2), k % 2 == 1, row)
        return out.T

    def normal(self, name: str, size: int = 1) -> np.ndarray:
        """Returns (n, size) standard normals, by inversion."""
        return ndtri(self.uniform(name, size))


def streams(seed: int, purpose: str, subjects: Sequence[str]) -> Streams:
    """The streams of these subjects for this purpose."""
    before = hashlib.sha256(_framed(str(seed)) + _framed(purpose))
    digests = bytearray()
    for subject in subjects:
        own = before.copy()
        own.update(_framed(subject))
        digests += own.digest()[:16]
    words = np.frombuffer(bytes(digests), dtype=">u4").reshape(-1, 4)
    return Streams(np.ascontiguousarray(words.T.astype(np.uint64)))
