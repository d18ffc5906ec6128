"""A model's equations as a plain Python function of numbers: what SciPy calls as it is, and numba compiles.

The other solvers get what a careful user would write by hand: a few lines of arithmetic, with everything that only the
parameters decide worked out once per subject. Nothing of cohort's engine is used, so that a reference stays one.
"""

import math
from collections.abc import Callable
from textwrap import indent
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from cohort.model import Model

WRITTEN = {
    "add": "{} + {}",
    "add_any": "{} + {}",
    "sub": "{} - {}",
    "mul": "{} * {}",
    "div": "{} / {}",
    "neg": "-{}",
    "integer_pow": "{} ** {y}",
    "pow": "{} ** {}",
    "square": "{0} * {0}",
    "exp": "math.exp({})",
    "log": "math.log({})",
    "sqrt": "math.sqrt({})",
    "tanh": "math.tanh({})",
    "copy": "{}",
    "convert_element_type": "{}",
}


def subject(model: Model) -> str:
    """Python source of `prepare(p, c)`, once per subject, and `rhs(t, y, c, dy)`.

    p: the parameters in the order of the model; c: what of them the equations need, as many as CONSTANTS; y and dy: the
    states in their order, and their derivatives. Errors: NotImplementedError for arithmetic that no workload needs.
    """
    states, parameters = tuple(model.state.fields()), tuple(model.parameters.fields())

    def ode(t: Any, y: Any, p: Any) -> list[Any]:
        y, p = dict(zip(states, y, strict=True)), dict(zip(parameters, p, strict=True))
        derivative = model.ode(t, model.state(**y), model.parameters(**p))
        return [jnp.asarray(getattr(derivative, name), float) for name in states]

    closed = jax.make_jaxpr(ode)(0.0, [0.0] * len(states), [1.0] * len(parameters))
    once: list[str] = []  # lines of prepare
    always: list[str] = []  # lines of rhs
    kept: dict[str, str] = {}  # what prepare hands on: expression in prepare to expression in rhs

    def keep(expression: str) -> str:
        return kept.setdefault(expression, f"c[{len(kept)}]")

    def inline(jaxpr: Any, values: list[tuple[str, bool]], constants: Any) -> list[tuple[str, bool]]:
        """Write down a jaxpr. A value is its expression, and whether only parameters decide it."""
        known = dict(zip(jaxpr.invars, values, strict=True))
        known |= {v: (repr(float(c)), True) for v, c in zip(jaxpr.constvars, constants, strict=True)}

        def read(atom: Any) -> tuple[str, bool]:
            return (repr(float(atom.val)), True) if isinstance(atom, core.Literal) else known[atom]

        for equation in jaxpr.eqns:
            arguments = [read(atom) for atom in equation.invars]
            if "jaxpr" in equation.params:
                inner = equation.params["jaxpr"]
                known.update(zip(equation.outvars, inline(inner.jaxpr, arguments, inner.consts), strict=True))
                continue
            op = equation.primitive.name
            if op not in WRITTEN:
                raise NotImplementedError(f"{model.name}: no plain form of {op}")
            fixed = all(f for _, f in arguments)
            if op == "div" and not fixed and arguments[1][1]:  # by hand one multiplies by what was divided once
                arguments[1], op = (f"(1.0 / {arguments[1][0]})", True), "mul"
            texts = [a if f == fixed or _number(a) else keep(a) for a, f in arguments]
            lines, name = (once, f"k{len(once)}") if fixed else (always, f"v{len(always)}")
            lines.append(f"{name} = {WRITTEN[op].format(*texts, **equation.params)}")
            known[equation.outvars[0]] = (name, fixed)
        return [read(atom) for atom in jaxpr.outvars]

    start = [("t", False)] + [(f"y[{i}]", False) for i in range(len(states))]
    start += [(f"p[{i}]", True) for i in range(len(parameters))]
    derivatives = inline(closed.jaxpr, start, closed.consts)
    ends = [f"dy[{i}] = {keep(d) if f and not _number(d) else d}" for i, (d, f) in enumerate(derivatives)]
    once += [f"{name} = {expression}" for expression, name in kept.items()]
    bodies = {"prepare(p, c)": once, "rhs(t, y, c, dy)": [*always, *ends]}
    written = [f"def {head}:\n" + indent("\n".join(lines), "    ") for head, lines in bodies.items()]
    return "\n\n".join([f"CONSTANTS = {len(kept)}", *written])


def functions(model: Model) -> tuple[int, Callable[..., None], Callable[..., None]]:
    """How many constants, `prepare` and `rhs`, as `subject` describes them."""
    made: dict[str, Any] = {"math": math}
    exec(subject(model), made)
    return made["CONSTANTS"], made["prepare"], made["rhs"]


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def matrix(record: Any) -> np.ndarray:
    """A record of (n,) arrays or single values as one array, (n, quantities)."""
    return np.column_stack(np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in vars(record).values())))
