"""From LLVM's language to code of this machine, or of one it can stand in for."""

import functools
import os
from typing import Any

import llvmlite.binding as llvm

# What code may be made for: (processor, patients per register).
TARGETS = {"avx512": ("skylake-avx512", 8), "avx2": ("haswell", 4)}


class MachineError(RuntimeError):
    """A processor that the native back end cannot make code for; the message says what to write instead."""


@functools.cache
def target() -> str:
    """The widest instruction set that this machine has. Errors: MachineError where fused multiply-add is missing."""
    has = llvm.get_host_cpu_features()
    if all(has.get(f) for f in ("avx512f", "avx512dq", "avx512vl")):
        return "avx512"
    if has.get("avx2") and has.get("fma"):
        return "avx2"
    if llvm.get_process_triple().startswith(("aarch64", "arm64")):
        return "native"
    raise MachineError("this processor has no fused multiply-add; write `backend: xla` under numerics in the study")


@functools.cache
def _prepared() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def compiled(text: str, isa: str) -> Any:
    """Machine code of a module; the returned engine owns it. No rounding is left to the compiler.

    Where the environment names a file in COHORT_ASSEMBLY, the code's assembly is written there, to be read or counted.
    """
    _prepared()
    module = llvm.parse_assembly(text)
    module.verify()
    cpu = TARGETS[isa][0] if isa in TARGETS else llvm.get_host_cpu_name()
    features = "-prefer-256-bit" if isa == "avx512" else ""
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=2)
    options = llvm.create_pipeline_tuning_options(1)
    passes = llvm.create_pass_builder(machine, options)
    manager = passes.getModulePassManager()
    manager.run(module, passes)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    if where := os.environ.get("COHORT_ASSEMBLY"):
        with open(where, "w") as f:
            f.write(machine.emit_assembly(module))
    return engine
