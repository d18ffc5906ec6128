"""Published data and sufficient statistics that several tests of this room share."""

import os
from pathlib import Path

import numpy as np
import pytest

from cohort.borrowing.survival import Intervals
from cohort.borrowing.trials import Binomial, Normal, Poisson

AS = Binomial([23, 12, 19, 9, 39, 6, 9, 10], [107, 44, 51, 39, 139, 20, 78, 35])
CROHN_N = np.array([74, 166, 328, 20, 25, 58])
CROHN = Normal([-51, -49, -36, -47, -90, -54], 88 / np.sqrt(CROHN_N))

CONTROL = Poisson(39, 1136.23335695)
EXTERNAL = Poisson(326, 3575.66418852)
TREATED = Poisson(75, 2502.05582382)

# E1690 and E1684, relapse-free survival: events and years of patient-time, control then interferon, by interval
E1690 = {
    2: Intervals(np.array([[67, 59], [53, 61]]), np.array([[117.693662, 324.829240], [134.052357, 388.040730]])),
    5: Intervals(
        np.array([[31, 25, 20, 24, 26], [17, 24, 27, 24, 22]]),
        np.array(
            [
                [49.3535125, 42.70551, 46.9130981, 80.9649, 222.585882],
                [53.4750088, 50.343118, 54.4525, 93.425518, 270.396942],
            ]
        ),
    ),
}
E1684 = {
    2: Intervals(np.array([[58, 36], [39, 42]]), np.array([[66.61485, 248.09751], [81.1797189, 362.092860]])),
    5: Intervals(
        np.array([[30, 25, 3, 14, 22], [17, 15, 12, 16, 21]]),
        np.array(
            [
                [30.331262, 23.063938, 24.79492, 44.131774, 192.390466],
                [33.3085029, 29.822996, 33.310274, 58.595178, 288.235628],
            ]
        ),
    ),
}
CUTS = {2: [0.722795], 5: [0.262284, 0.536620, 0.888156, 1.626834]}


def data(name: str) -> Path:
    """A file of the shared data, or a skip where it is absent."""
    root = Path(os.environ.get("COHORT_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (root / name).exists():
        pytest.skip(f"{root / name} is absent; set COHORT_DATA")
    return root / name
