"""Many integrals over one variable at once, by the rule of Gauss and Kronrod, halving panels until it is sure.

References
----------
[1] Piessens et al. 1983, QUADPACK, table of the 7-15-point rule. Springer.
"""

from collections.abc import Callable

import numpy as np

from cohort.mixture.scalar import ScalarMixture

DEEPEST = 60  # halvings of a panel
TAIL = 1e-17  # of each component, left out on either side
LEVELS = (1e-10, 1e-4, 0.05, 0.5, 0.95, 1 - 1e-4, 1 - 1e-10)  # quantiles of components at which panels meet
HALF_NODES = np.array([0.991455371120812639206854697526329, 0.949107912342758524526189684047851,
                       0.864864423359769072789712788640926, 0.741531185599394439863864773280788,
                       0.586087235467691130294144838258730, 0.405845151377397166906606412076961,
                       0.207784955007898467600689403773245, 0.0])  # fmt: skip
HALF_KRONROD = np.array([0.022935322010529224963732008058970, 0.063092092629978553290700663189204,
                         0.104790010322250183839876322541518, 0.140653259715525918745189590510238,
                         0.169004726639267902826583426598550, 0.190350578064785409913256402421014,
                         0.204432940075298892414161999234649, 0.209482141084727828012999174891714])  # fmt: skip
HALF_GAUSS = np.array([0.0, 0.129484966168869693270611432679082, 0.0, 0.279705391489276667901467771423780,
                       0.0, 0.381830050505118944950369775488975, 0.0, 0.417959183673469387755102040816327])  # fmt: skip
NODES = np.r_[-HALF_NODES, HALF_NODES[-2::-1]]
KRONROD, GAUSS = np.r_[HALF_KRONROD, HALF_KRONROD[-2::-1]], np.r_[HALF_GAUSS, HALF_GAUSS[-2::-1]]


def integrals(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray], joints: np.ndarray, tolerance: float
) -> np.ndarray:
    """One integral for each row of joints (n, points), from its least to its largest: (n,).

    function: of t (panels, nodes), and the row of each panel (panels,). joints: where panels meet at first, in any
    order, twice at will. tolerance: absolute, of a panel, between the 7-point rule and the far closer 15-point one."""
    joints = np.sort(joints, axis=1)
    left, right = joints[:, :-1].ravel(), joints[:, 1:].ravel()
    which = np.repeat(np.arange(len(joints)), joints.shape[1] - 1)
    wide = right > left
    left, right, which = left[wide], right[wide], which[wide]
    total = np.zeros(len(joints))
    for depth in range(DEEPEST + 1):
        half = (right - left) / 2
        values = function((left + half)[:, None] + half[:, None] * NODES, which)
        kronrod, gauss = half * (values @ KRONROD), half * (values @ GAUSS)  # [1]
        sure = (np.abs(kronrod - gauss) <= tolerance) | (depth == DEEPEST)
        np.add.at(total, which[sure], kronrod[sure])
        left, right, half, which = left[~sure], right[~sure], half[~sure], np.repeat(which[~sure], 2)
        if not len(left):
            break
        left, right = np.c_[left, left + half].ravel(), np.c_[left + half, right].ravel()
    return total


def joints(m: ScalarMixture, levels: tuple[float, ...] = LEVELS) -> np.ndarray:
    """natural(x) at quantiles of the components that have a weight, flat."""
    held = [p[m.weight > 0] for p in m.parameters]
    return np.asarray(m.natural(m.inverse(np.array(levels)[:, None], *held))).ravel()


def ends(m: ScalarMixture) -> tuple[float, float]:
    """Values of natural(x) outside of which no component has more than TAIL; sought beyond what x can tell from a
    bound, since a component may have much of its probability there."""
    low, high = joints(m, (TAIL, 1 - 1e-15)).reshape(2, -1)
    found = [float(low.min()), float(high.max())]
    for side, tail in ((0, m.natural_below), (1, m.natural_over)):
        step = (1.0 if side else -1.0) * max(1e-3 * abs(found[1] - found[0]), 1e-6 * abs(found[side]), 1e-300)
        while np.max(tail(np.array(found[side]), *m.parameters)[m.weight > 0]) > TAIL and abs(found[side]) < 1e300:
            found[side], step = found[side] + step, 2 * step
    return found[0], found[1]
