"""What a back end returns."""

from dataclasses import dataclass

import numpy as np

CODES = ("finished", "step limit", "not finite", "out of plausible range")
FINISHED, STEP_LIMIT, NOT_FINITE, IMPLAUSIBLE = range(4)


@dataclass(frozen=True)
class Solved:
    """Courses of n subjects."""

    out: np.ndarray  # (outputs, n, visits), NaN where nothing was observed
    code: np.ndarray  # (n,) index into CODES
    time: np.ndarray  # (n,) when it was first seen to go wrong, NaN where it did not
    state: np.ndarray  # (n,) index of the state that went wrong, -1 where none did
    steps: np.ndarray  # (n,) steps taken and refused
    suspect: bool = True  # whether any output may be no number, or out of its plausible range
