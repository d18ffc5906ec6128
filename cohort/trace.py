"""A model as the program of scalars that JAX traces: what depends on what, and whether the units agree.

Both are found by walking the traced program with something else in place of numbers, so that what is checked is what
runs.
"""

import ast
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import pint
from jax.extend import core

from cohort import units
from cohort.model import Model, Record

# Units of the sizes of a residual error; that of the additive part is the output's.
_ERRORS = {"proportional": "1", "baseline": "percent", "logarithmic": "1", "precision": "1"}


def walk(
    f: Callable[..., Any],
    meaning: Mapping[str, Any],
    rule: Callable,
    constant: Callable,
    example: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Trace `f`, a function of a mapping of scalars to a Record or mapping of them, and interpret the program.

    `meaning`: what stands for each input. `rule(equation, arguments, within)`: what an equation makes of what it is
    given, `within` the calls it stands in, the innermost first;
    `constant(value)`: what stands for a number in the text. `example`: a value of each input, whole numbers for those
    that are. Returns what stands for each output, by name.
    """
    example = dict(example or dict.fromkeys(meaning, 1.0))
    closed, shape = jax.make_jaxpr(f, return_shape=True)(example)
    names = list(vars(shape)) if isinstance(shape, Record) else sorted(shape)
    results = _interpret(closed.jaxpr, closed.consts, [meaning[n] for n in sorted(example)], rule, constant)
    return dict(zip(names, results, strict=True))


def _interpret(
    jaxpr: Any, consts: Any, arguments: list, rule: Callable, constant: Callable, within: tuple = ()
) -> list:
    known = dict(zip(jaxpr.constvars, map(constant, consts), strict=True))
    known |= dict(zip(jaxpr.invars, arguments, strict=True))

    def look(atom: Any) -> Any:
        return constant(atom.val) if isinstance(atom, core.Literal) else known[atom]

    for equation in jaxpr.eqns:
        given = [look(v) for v in equation.invars]
        inner = next((equation.params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in equation.params), None)
        inner = None if equation.primitive.name in ("scan", "while") else inner  # these run it again and again
        if "branches" in equation.params:  # every branch, and then a choice
            inside = (rule, constant, (equation, *within))
            ends = [_interpret(b.jaxpr, b.consts, given[1:], *inside) for b in equation.params["branches"]]
            made = [rule(equation, [given[0], *end], within) for end in zip(*ends, strict=True)]
        elif inner is None:
            made = [rule(equation, given, within)] * len(equation.outvars)
        else:
            body = getattr(inner, "jaxpr", inner)
            made = _interpret(body, getattr(inner, "consts", ()), given, rule, constant, (equation, *within))
        known.update(zip(equation.outvars, made, strict=True))
    return [look(v) for v in jaxpr.outvars]


def dependencies(
    f: Callable[..., Any], names: list[str], example: Mapping[str, float] | None = None
) -> dict[str, frozenset[str]]:
    """Which of its named inputs each output of `f` depends on. example: as of `walk`."""

    def union(_: Any, given: list[frozenset[str]], within: tuple) -> frozenset[str]:
        return frozenset().union(*given)

    return walk(f, {n: frozenset((n,)) for n in names}, union, lambda _: frozenset(), example)


@dataclass(frozen=True)
class Dimensioned:
    """A unit in place of a number; None fits any (a zero). `number`: the value, where it stands in the text."""

    unit: pint.Unit | None
    number: float | None = None


@dataclass
class UnitCheck:
    """Walks programs with units in place of numbers and collects what does not fit."""

    path: str
    where: str = ""
    wrong: list[str] = field(default_factory=list)
    at: tuple = ()  # the equation looked at, and the calls it stands in

    def constant(self, value: Any) -> Dimensioned:
        number = float(value) if getattr(value, "ndim", 0) == 0 else None
        free = number is not None and (number == 0 or not math.isfinite(number))
        return Dimensioned(None if free else units.unit("1"), number)

    def rule(self, equation: Any, given: list[Dimensioned], within: tuple) -> Dimensioned:
        self.at = (equation, *within)
        name = equation.primitive.name
        plain = units.unit("1")
        a, b = (given[0].unit if given else plain), (given[1].unit if len(given) > 1 else plain)
        match name:
            case "add" | "sub" | "add_any" | "max" | "min" | "atan2" | "rem" | "nextafter":
                return Dimensioned(self._same(name, [a, b]))
            case "eq" | "ne" | "lt" | "le" | "gt" | "ge":
                self._same("compare", [a, b])
                return Dimensioned(plain)
            case "mul":
                return Dimensioned(None if a is None or b is None else a * b)
            case "div":
                return Dimensioned(None if a is None else a / b if b is not None else None)
            case "neg" | "abs" | "stop_gradient" | "copy" | "convert_element_type" | "broadcast_in_dim" | "reshape":
                return given[0]
            case "floor" | "ceil" | "round" | "squeeze" | "reduce_precision" | "copy_p":
                return given[0]
            case "sqrt":
                return Dimensioned(None if a is None else a**0.5)
            case "square":
                return Dimensioned(None if a is None else a**2)
            case "integer_pow":
                return Dimensioned(None if a is None else a ** equation.params["y"])
            case "pow":
                if given[1].number is not None and a is not None:
                    return Dimensioned(a ** given[1].number)
                self._plain("a power with a varying exponent", [a, b])
                return Dimensioned(plain)
            case "select_n" | "cond":
                return Dimensioned(self._same("choose between", [g.unit for g in given[1:]]))
            case "clamp":
                return Dimensioned(self._same("clamp", [g.unit for g in given]))
            case "gather" | "dynamic_slice":
                return given[0]
            case "and" | "or" | "not" | "xor" | "is_finite" | "sign" | "iota":
                return Dimensioned(plain)
            case _:  # exp, log, tanh and the rest of the functions of plain numbers
                self._plain(name, [g.unit for g in given])
                return Dimensioned(plain)

    def _same(self, verb: str, found: list[pint.Unit | None]) -> pint.Unit | None:
        known = [u for u in found if u is not None]
        for other in known[1:]:
            if not _equal(known[0], other):
                self._say(f"{verb} {known[0]:~} and {other:~}, which are different units")
        return known[0] if known else None

    def _plain(self, what: str, found: list[pint.Unit | None]) -> None:
        for unit in found:
            if unit is not None and not _equal(unit, units.unit("1")):
                self._say(f"{what} of {unit:~}, which is not a plain number")

    def _say(self, message: str) -> None:
        self.wrong.append(f"{self.path}:{line_of(self.at, self.path)}  {self.where}: {message}")

    def run(
        self,
        where: str,
        f: Callable[..., Any],
        inputs: Mapping[str, str],
        outputs: Mapping[str, str],
        example: Mapping[str, float] | None = None,
    ) -> None:
        """Check one function: units of its inputs by name, units wanted of its outputs. example: as of `walk`."""
        self.where = where
        meaning = {name: Dimensioned(_known(unit)) for name, unit in inputs.items()}
        for name, found in walk(f, meaning, self.rule, self.constant, example).items():
            wanted = _known(outputs[name])
            if found.unit is not None and wanted is not None and not _equal(found.unit, wanted):
                self.wrong.append(f"{self.path}  {where}, {name}: is in {found.unit:~P}, but should be in {wanted:~P}")


def _known(text: str) -> pint.Unit | None:
    """A unit, or None, which fits any, for one that does not exist: `declarations` names it, once."""
    try:
        return units.unit(text)
    except ValueError:
        return None


def _equal(a: pint.Unit, b: pint.Unit) -> bool:
    """The same dimension and the same size: L and mL differ."""
    if a.dimensionality != b.dimensionality:
        return False
    return math.isclose(units.registry().Quantity(1.0, a).to(b).magnitude, 1.0, rel_tol=1e-9)


def line_of(equations: Iterable[Any], path: str) -> int | str:
    """The line of the first of these, an equation and the calls it stands in, that comes from a file."""
    for equation in equations:
        trace = equation.source_info.traceback
        for frame in trace.frames if trace else ():
            if frame.file_name == path:
                return frame.line_num
    return "?"


def _places(text: str) -> dict[tuple[str, str], int]:
    """Line of each field of a class, by (class, field), and of what a call is given, by (keyword, key or nothing)."""
    places: dict[tuple[str, str], int] = {}
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.ClassDef(name=record, body=body):
                for line in body:
                    match line:
                        case ast.AnnAssign(target=ast.Name(id=name)):
                            places[record, name] = line.lineno
            case ast.keyword(arg=str(word), value=value):
                places[word, ""] = value.lineno
                for key in value.keys if isinstance(value, ast.Dict) else ():
                    if isinstance(key, ast.Constant):
                        places[word, str(key.value)] = key.lineno
    return places


def declarations(model: Model, path: str) -> list[str]:
    """What is missing or wrong where quantities are declared: sources, and units that do not exist or do not fit."""
    places = _places(model.text)
    wrong: list[str] = []

    def say(where: tuple[str, str], message: str) -> None:
        wrong.append(f"{path}:{places.get(where, '?')}  {', '.join(filter(None, where))}: {message}")

    records = (model.covariates, model.parameters, model.state, model.outputs)
    named = {(r.__name__, n): m["unit"] for r in records for n, m in r.fields().items()}
    named |= {("endpoints", n): e.unit for n, e in model.endpoints.items()} | {("time", ""): model.time}
    for where, unit in named.items():
        if _known(unit) is None:
            say(where, f"{unit!r} is not a unit; write such as 1/d, mg/dL or percent")
    parameters = model.parameters.fields()
    for name, meta in parameters.items():
        if not meta["source"].strip():
            say((model.parameters.__name__, name), "no source; write where its value comes from")
    time = _known(model.time)
    if time is not None and time.dimensionality != {"[time]": 1}:
        say(("time", ""), f"{model.time!r} is not a time; write such as d or h")

    needs = [(("routes", n), "bioavailability", r.bioavailability, "1") for n, r in model.routes.items()]
    for name, meta in model.outputs.fields().items():
        error, sizes = meta["error"], _ERRORS | {"additive": meta["unit"]}
        needs += [((model.outputs.__name__, name), part, getattr(error, part), unit) for part, unit in sizes.items()]
    for where, part, size, wanted in needs:
        found = _known(parameters[size]["unit"]) if isinstance(size, str) else None
        needed = _known(wanted)
        if found is not None and needed is not None and not _equal(found, needed):
            say(where, f"its {part} {size} is in {parameters[size]['unit']!r}; declare {size} in {wanted!r}")
    return wrong


def check_units(model: Model, path: str) -> list[str]:
    """What does not fit in the declarations, or the units of `individual`, `initial`, `ode` and `observe`.

    Covariates count as plain numbers in their declared units: weight / 70 is a ratio, and a parameter that is nothing
    but a covariate has its unit.
    """
    P, X, Y, O = model.parameters, model.covariates, model.state, model.outputs

    def of(record: type[Record], per: str = "") -> dict[str, str]:
        return {name: meta["unit"] + per for name, meta in record.fields().items()}

    def prefixed(letter: str, unit_of: Mapping[str, str]) -> dict[str, str]:
        return {f"{letter}.{name}": unit for name, unit in unit_of.items()}

    def made(kind: type[Record], letter: str, values: Mapping[str, Any]) -> Any:
        return kind(**{name: values[f"{letter}.{name}"] for name in kind.fields()})

    parameters, states = prefixed("p", of(P)), prefixed("y", of(Y))
    covariates = prefixed("x", dict.fromkeys(X.fields(), "1"))
    time = {"t": model.time}
    check = UnitCheck(path)

    def individual(v: Mapping[str, Any]) -> Any:
        return model.individual(made(P, "p", v), made(X, "x", v))

    # A category is the index of its level, by which a table may be looked up.
    example = dict.fromkeys(parameters, 1.0) | {f"x.{n}": 0 if m["levels"] else 1.0 for n, m in X.fields().items()}
    from_covariates = {
        name
        for name, needs in dependencies(individual, [*parameters, *covariates], example).items()
        if needs and needs <= {*covariates}
    }
    wanted = {name: "1" if name in from_covariates else unit for name, unit in of(P).items()}
    check.run("individual", individual, parameters | covariates, wanted, example)
    check.run("initial", lambda v: model.initial(made(P, "p", v)), parameters, of(Y))
    check.run(
        "ode",
        lambda v: model.ode(v["t"], made(Y, "y", v), made(P, "p", v)),
        time | states | parameters,
        {name: f"({unit})/{model.time}" for name, unit in of(Y).items()},
    )
    check.run(
        "observe",
        lambda v: model.observe(v["t"], made(Y, "y", v), made(P, "p", v)),
        time | states | parameters,
        of(O),
    )
    return declarations(model, path) + check.wrong
