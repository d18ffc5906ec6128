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
from typing import Any

import numba
import numpy as np
from scipy.special import ndtri

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))  # [1] Table 2
KEY_STEPS = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))  # [1] section 3.3: golden ratio, sqrt(3) - 1
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
SPARE = np.uint64(12)  # of 64 random bits, 52 are kept


@numba.njit(inline="always")  # a call would keep the loop around it from running on several subjects at once
def philox(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Philox4x32-10 of a counter of four words and a key of two, 32 bits each, held in uint64. Returns four words."""
    for _ in range(10):
        p0, p1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (p1 >> HALF) ^ c1 ^ k0, p1 & LOW, (p0 >> HALF) ^ c3 ^ k1, p0 & LOW
        k0, k1 = (k0 + KEY_STEPS[0]) & LOW, (k1 + KEY_STEPS[1]) & LOW
    return c0, c1, c2, c3


def _compiled(function: Any) -> Any:
    """Machine code, kept beside this file or in the user's cache; compiled anew where neither can be written."""
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError:
        return numba.njit(function)


@_compiled
def _fill(keys: np.ndarray, word: np.uint64, block: np.uint64, second: bool, out: np.ndarray) -> None:
    """Fill out, (n,), with the first or the second number that block `block` of each stream, keys (4, n), has."""
    k0, k1, c2, c3 = keys[0], keys[1], keys[2], keys[3]
    for i in range(out.shape[0]):
        x = philox(block, word, c2[i], c3[i], k0[i], k1[i])
        bits = (x[2] << HALF | x[3]) if second else (x[0] << HALF | x[1])
        out[i] = (np.float64(bits >> SPARE) + 0.5) * 2.0**-52


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
        word, out = np.uint64(int.from_bytes(_digest(name)[:4], "big")), np.empty((size, self.size))
        for k, row in enumerate(out):
            _fill(self.keys, word, np.uint64(k // 2), k % 2 == 1, row)
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
