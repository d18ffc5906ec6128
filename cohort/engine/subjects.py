"""Every subject's own parameters: random effects and covariates through the model's `individual`, as machine code.

In the same explicit arithmetic as the native solver, so that a subject's parameters, too, are the same bits everywhere.
"""

import ctypes
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from llvmlite import ir

from cohort.engine import machine
from cohort.engine.graph import Graph
from cohort.engine.program import path_of, record, traced
from cohort.engine.vector import DOUBLE, I64, Vector, emit
from cohort.model import Model, Record

WIDTH = 16


def individuals(
    model: Model, typical: Mapping[str, Any], z: Mapping[str, Any], x: Record | None, n: int, isa: str = ""
) -> Record:
    """Parameters of n subjects, (n,) each: `Model.subject` for all of them, or without covariates `Model.varied`.

    `typical`, as `Model.typical()`, `z`, a standard normal per effect, and `x`: single values or arrays of (n,).
    """
    given = {f"v.{k}": a for k, a in typical.items()} | {f"z.{k}": a for k, a in z.items()}
    given |= {f"x.{k}": a for k, a in vars(x).items()} if x is not None else {}
    run, inputs = _code(model, x is not None, isa or machine.target())
    padded = -(-max(n, 1) // WIDTH) * WIDTH
    data = np.ones((len(inputs), padded))
    for row, name in zip(data, inputs, strict=True):
        row[:n] = given[name]
    names = list(model.parameters.fields())
    out = np.empty((len(names), padded))
    run(data.ctypes.data, out.ctypes.data, padded)
    return model.parameters(**dict(zip(names, out[:, :n].copy(), strict=True)))


@functools.lru_cache(maxsize=64)
def _code(model: Model, covariates: bool, isa: str) -> tuple[Any, tuple[str, ...]]:
    graph = Graph()
    effects, levels = model.effects(), {f"x.{n}" for n, m in model.covariates.fields().items() if m["levels"]}
    names = [f"v.{n}" for n in model.typical()] + [f"z.{n}" for n in effects]
    names += [f"x.{n}" for n in model.covariates.fields()] if covariates else []

    def subject(v: Mapping[str, Any]) -> Any:
        typical = {n: v[f"v.{n}"] for n in model.typical()}
        z = {n: v[f"z.{n}"] for n in effects}
        return model.subject(typical, z, record(model.covariates, "x.", v)) if covariates else model.varied(typical, z)

    nodes = traced(graph, subject, names, path_of(model), "individual", levels)
    inputs = tuple(sorted(graph.inputs(nodes.values())))
    engine = machine.compiled(str(_module(graph, nodes, list(model.parameters.fields()), inputs)), isa)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    run = call(engine.get_function_address("run"))
    run.owner = engine  # type: ignore[attr-defined]  # the code lives as long as what calls it
    return run, inputs


def _module(graph: Graph, nodes: Mapping[str, int], names: list[str], inputs: tuple[str, ...]) -> ir.Module:
    """A loop over the subjects, a vector of them at a time. Arrays are (inputs, n) and (parameters, n)."""
    module = ir.Module("subjects")
    pointer = DOUBLE.as_pointer()
    f = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer, pointer, I64]), "run")
    data, out, n = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    v = Vector(b, WIDTH)
    entry, body, done = b.block, f.append_basic_block("body"), f.append_basic_block("done")
    b.branch(body)
    b.position_at_end(body)
    i = b.phi(I64)
    i.add_incoming(ir.Constant(I64, 0), entry)

    def place(array: Any, row: int) -> Any:
        at = b.gep(array, [b.add(b.mul(n, ir.Constant(I64, row)), i)])
        return b.bitcast(at, v.type.as_pointer())

    made = emit(v, graph, {k: nodes[k] for k in names}, lambda name: b.load(place(data, inputs.index(name)), align=8))
    for row, name in enumerate(names):
        b.store(made[name], place(out, row), align=8)
    following = b.add(i, ir.Constant(I64, WIDTH))
    i.add_incoming(following, b.block)
    b.cbranch(b.icmp_signed("<", following, n), body, done)
    b.position_at_end(done)
    b.ret_void()
    return module
