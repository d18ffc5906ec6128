"""Expressions of scalars, each written once: what a traced model becomes, and what every back end reads."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

TRUTHS = frozenset({"lt", "le", "eq", "ne", "and", "or", "not"})
STEPPING = frozenset({"floor", "ceil", "trunc", "round", "lt", "le", "eq", "ne"})  # of a quotient, to be exact
COMMUTATIVE = frozenset({"add", "mul", "eq", "ne", "and", "or"})
FUNCTIONS = ("exp", "log", "log1p", "expm1", "tanh", "sin", "cos", "pow")


@dataclass(eq=False)
class Graph:
    """Expressions, each written once. A node is a number; its operation and arguments are `nodes[number]`."""

    nodes: list[tuple] = field(default_factory=list)
    _known: dict[tuple, int] = field(default_factory=dict)
    _quotients: dict[int, tuple[int, int]] = field(default_factory=dict)  # products that were divisions

    def _node(self, *key: Any) -> int:
        if key not in self._known:
            self._known[key] = len(self.nodes)
            self.nodes.append(key)
        return self._known[key]

    def input(self, name: str) -> int:
        return self._node("input", name)

    def constant(self, value: float) -> int:
        return self._node("constant", float(value).hex())  # by bits: 0.0 and -0.0 are equal, and two constants

    def value(self, node: int) -> float | None:
        """The number a node stands for, if it is one."""
        op, *rest = self.nodes[node]
        return float.fromhex(rest[0]) if op == "constant" else None

    def name(self, node: int) -> str | None:
        op, *rest = self.nodes[node]
        return rest[0] if op == "input" else None

    def arguments(self, node: int) -> tuple[int, ...]:
        op, *rest = self.nodes[node]
        return () if op in ("input", "constant") else tuple(rest)

    def apply(self, op: str, *args: int) -> int:
        """A node for an operation; what needs no computing is simplified away, and only IEEE-exact operations are
        computed here, so that a program is the same on every machine."""
        if op in STEPPING:  # 49 * (1 / 49) is less than 1
            args = tuple(self._node("quotient", *self._quotients[a]) if a in self._quotients else a for a in args)
        values = [self.value(a) for a in args]
        if op in COMMUTATIVE:
            order = sorted(range(2), key=lambda k: args[k])
            args, values = tuple(args[k] for k in order), [values[k] for k in order]
        match op, args, values:
            case "add", (a, b), (x, y):
                if x is not None and y is not None:
                    return self.constant(x + y)
                if x == 0:
                    return b
                if y == 0:
                    return a
                if self.nodes[b][0] == "neg":
                    return self.apply("sub", a, self.nodes[b][1])
                if self.nodes[a][0] == "neg":
                    return self.apply("sub", b, self.nodes[a][1])
            case "sub", (a, b), (x, y):
                if x is not None and y is not None:
                    return self.constant(x - y)
                if y == 0:
                    return a
                if x == 0:
                    return self.apply("neg", b)
                if self.nodes[b][0] == "neg":
                    return self.apply("add", a, self.nodes[b][1])
            case "neg", (a,), (x,):
                if x is not None:
                    return self.constant(-x)
                if self.nodes[a][0] == "neg":
                    return self.nodes[a][1]
                if self.nodes[a][0] == "sub":
                    return self.apply("sub", *reversed(self.nodes[a][1:]))
            case "mul", (a, b), (x, y):
                if x is not None and y is not None:
                    return self.constant(x * y)
                for factor, other in ((x, b), (y, a)):
                    if factor == 0:
                        return self.constant(0.0)  # a structural zero
                    if factor == 1:
                        return other
                    if factor == -1:
                        return self.apply("neg", other)
                for one, other in ((a, b), (b, a)):
                    if self.nodes[one][0] == "neg":
                        return self.apply("neg", self.apply("mul", self.nodes[one][1], other))
            case "div", (a, b), (x, y):
                if x is not None and y:
                    return self.constant(x / y)
                if x == 0 and y is None:
                    return self.constant(0.0)
                made = self.apply("mul", a, self.apply("inverse", b))
                self._quotients.setdefault(made, (a, b))
                return made
            case "inverse", (a,), (x,):
                if x:
                    return self.constant(1 / x)
                if self.nodes[a][0] == "inverse":
                    return self.nodes[a][1]
            case "sqrt", _, (x,) if x is not None and x >= 0:
                return self.constant(math.sqrt(x))
            case "abs", _, (x,) if x is not None:
                return self.constant(abs(x))
            case (("lt" | "le" | "eq" | "ne"), _, (x, y)) if x is not None and y is not None:
                return self.constant(float({"lt": x < y, "le": x <= y, "eq": x == y, "ne": x != y}[op]))
            case "not", (a,), (x,):
                if x is not None:
                    return self.constant(float(not x))
                if self.nodes[a][0] == "not":
                    return self.nodes[a][1]
            case "and", (a, b), (x, y):
                if x is not None:
                    return b if x else self.constant(0.0)
                if y is not None:
                    return a if y else self.constant(0.0)
            case "or", (a, b), (x, y):
                if x is not None:
                    return self.constant(1.0) if x else b
                if y is not None:
                    return self.constant(1.0) if y else a
            case "select", (_, a, b), (x, *_):
                if x is not None:
                    return a if x else b
                if a == b:
                    return a
                if self.nodes[args[0]][0] == "not":
                    return self.apply("select", self.nodes[args[0]][1], b, a)
            case "pow", (a, b), (x, y):
                if y is not None and abs(y) <= 16 and y == int(y):
                    return self.power(a, int(y))
                if y == 0.5:
                    return self.apply("sqrt", a)
                if x == 1:
                    return a
        return self._node(op, *args)

    def differ(self, a: int, b: int) -> int:
        """Whether two truths are not the same."""
        one, other = self.apply("and", a, self.apply("not", b)), self.apply("and", self.apply("not", a), b)
        return self.apply("or", one, other)

    def power(self, a: int, n: int) -> int:
        """a to a whole number, by squaring."""
        if n < 0:
            return self.power(self.apply("inverse", a), -n)
        result, square = self.constant(1.0), a
        while n:
            if n % 2:
                result = self.apply("mul", result, square)
            n //= 2
            square = self.apply("mul", square, square) if n else square
        return result

    def total(self, terms: Iterable[tuple[float, int]]) -> int:
        """Sum of constants times nodes, in the order given."""
        result = self.constant(0.0)
        for factor, node in terms:
            result = self.apply("add", result, self.apply("mul", self.constant(factor), node))
        return result

    def reached(self, wanted: Iterable[int], known: Collection[int] = ()) -> list[int]:
        """Every node that the wanted ones need, each after its arguments; what is known needs none."""
        seen, order = set(), []
        for root in wanted:
            stack = [(root, False)]
            while stack:
                node, ready = stack.pop()
                if ready:
                    order.append(node)
                elif node not in seen:
                    seen.add(node)
                    stack.append((node, True))
                    if node not in known:
                        stack.extend((a, False) for a in reversed(self.arguments(node)) if a not in seen)
        return order

    def inputs(self, wanted: Iterable[int]) -> list[str]:
        return [n for n in map(self.name, self.reached(wanted)) if n is not None]

    def replay(self, wanted: Sequence[int], into: "Graph", inputs: Mapping[str, int]) -> list[int]:
        """The wanted nodes written into another graph (or this one), with nodes of that one for some inputs."""
        made: dict[int, int] = {}
        for node in self.reached(wanted):
            op, *rest = self.nodes[node]
            if op == "input":
                made[node] = inputs[rest[0]] if rest[0] in inputs else into.input(rest[0])
            elif op == "constant":
                made[node] = into._node(op, *rest)
            else:
                made[node] = into.apply(op, *(made[a] for a in rest))
        return [made[w] for w in wanted]

    def evaluate(
        self, wanted: Sequence[int], inputs: Mapping[str, Any], known: Mapping[int, Any] | None = None
    ) -> list:
        """The wanted nodes with JAX or NumPy arrays for the inputs. `known`: nodes already computed."""
        made = dict(known or {})
        for node in self.reached(wanted):
            if node in made:
                continue
            op, *rest = self.nodes[node]
            if op == "input":
                made[node] = inputs[rest[0]]
            elif op == "constant":
                made[node] = float.fromhex(rest[0])
            else:
                made[node] = MEANING[op](*(made[a] for a in rest))
        return [made[w] for w in wanted]


MEANING: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "neg": lambda a: -a,
    "kept": lambda a: a,  # rounded as it is, fused with nothing
    "quotient": lambda a, b: jnp.asarray(a, float) / b,
    "rem": lambda a, b: jax.lax.rem(*jnp.broadcast_arrays(jnp.asarray(a, float), jnp.asarray(b, float))),
    "inverse": lambda a: 1.0 / jnp.asarray(a, float),
    "abs": jnp.abs,
    "sqrt": jnp.sqrt,
    "exp": jnp.exp,
    "log": jnp.log,
    "log1p": jnp.log1p,
    "expm1": jnp.expm1,
    "tanh": jnp.tanh,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "pow": jnp.power,
    "floor": jnp.floor,
    "ceil": jnp.ceil,
    "round": jnp.round,
    "trunc": jnp.trunc,
    "min": jnp.minimum,
    "max": jnp.maximum,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "and": jnp.logical_and,
    "or": jnp.logical_or,
    "not": jnp.logical_not,
    "select": jnp.where,
}
