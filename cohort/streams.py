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

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))  # [1] Table 2
KEY_STEPS = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))  # [1] section 3.3: golden ratio, sqrt(3) - 1
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


def philox(counter: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Philox4x32-10. counter: (n, 4), key: (n, 2), both of 32-bit words held in uint64. Returns (n, 4)."""
    c0, c1, c2, c3 = (counter[:, i].copy() for i in range(4))
    k0, k1 = (key[:, i].copy() for i in range(2))
    for _ in range(10):
        p0, p1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (p1 >> HALF) ^ c1 ^ k0, p1 & LOW, (p0 >> HALF) ^ c3 ^ k1, p0 & LOW
        k0, k1 = (k0 + KEY_STEPS[0]) & LOW, (k1 + KEY_STEPS[1]) & LOW
    return np.stack([c0, c1, c2, c3], axis=1)


def _digest(*parts: str) -> bytes:
    framed = b"".join(len(raw).to_bytes(8, "big") + raw for raw in (part.encode() for part in parts))
    return hashlib.sha256(framed).digest()


@dataclass(frozen=True)
class Streams:
    """The streams of n subjects for one purpose."""

    keys: np.ndarray  # (n, 4) words of 32 bits in uint64: two key Philox, two enter its counter

    def uniform(self, name: str, size: int = 1) -> np.ndarray:
        """Returns (n, size), each strictly between 0 and 1, with 52 random bits."""
        n = len(self.keys)
        word = np.uint64(int.from_bytes(_digest(name)[:4], "big"))
        blocks = []
        for block in range((size + 1) // 2):
            counter = np.stack(
                [np.full(n, block, np.uint64), np.full(n, word), self.keys[:, 2], self.keys[:, 3]], axis=1
            )
            x = philox(counter, self.keys[:, :2])
            bits = np.stack([x[:, 0] << HALF | x[:, 1], x[:, 2] << HALF | x[:, 3]], axis=1)
            blocks.append(((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52)
        return np.concatenate(blocks, axis=1)[:, :size] if blocks else np.empty((n, 0))

    def normal(self, name: str, size: int = 1) -> np.ndarray:
        """Returns (n, size) standard normals, by inversion."""
        return ndtri(self.uniform(name, size))


def streams(seed: int, purpose: str, subjects: Sequence[str]) -> Streams:
    """The streams of these subjects for this purpose."""
    digests = b"".join(_digest(str(seed), purpose, subject)[:16] for subject in subjects)
    return Streams(np.frombuffer(digests, dtype=">u4").reshape(-1, 4).astype(np.uint64))
