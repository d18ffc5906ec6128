"""Philox4x32-10, a counter-based generator of random bits, as machine code.

References
----------
[1] Salmon, Moraes, Dror & Shaw 2011, Parallel random numbers: as easy as 1, 2, 3. SC'11, doi 10.1145/2063384.2063405.
"""

from typing import Any

import numba
import numpy as np

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
def fill(keys: np.ndarray, word: np.uint64, block: np.uint64, second: bool, out: np.ndarray) -> None:
    """Fill out, (n,), with the first or the second number that block `block` of each stream, keys (4, n), has."""
    k0, k1, c2, c3 = keys[0], keys[1], keys[2], keys[3]
    for i in range(out.shape[0]):
        x = philox(block, word, c2[i], c3[i], k0[i], k1[i])
        bits = (x[2] << HALF | x[3]) if second else (x[0] << HALF | x[1])
        out[i] = (np.float64(bits >> SPARE) + 0.5) * 2.0**-52
