"""A study whose conduct is its own, made from LAPLACE: three arms, and people enough for them."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from pydantic import TypeAdapter

from cohort.enrolment import sample_population
from cohort.study import Study
from cohort.study.protocol import Conduct, EndpointPlan
from cohort.trial import MEAN

ARMS = ("placebo_q2w", "evolocumab_140_q2w", "evolocumab_420_q4w")
EVENT = "treatment_related_ae"


@pytest.fixture(scope="session")
def conducting(laplace: Study) -> Callable[..., Study]:
    """LAPLACE's study with this conduct, these endpoints beside its own, and n people in each of three arms."""

    def made(conduct: dict[str, Any] | None = None, endpoints: dict[str, Any] | None = None, n: int = 60) -> Study:
        told = {"dropout": 0.0, "source": "a test"} | (conduct or {})
        for part in told.values():
            if isinstance(part, dict):
                part.setdefault("source", "a test") if "blocks" not in part else None
        plans = laplace.endpoints | {
            name: TypeAdapter(EndpointPlan).validate_python(plan, strict=True)
            for name, plan in (endpoints or {}).items()
        }
        arms = {name: laplace.arms[name].model_copy(update={"n": n}) for name in ARMS}
        read = TypeAdapter(Conduct).validate_python(told, strict=True)
        return laplace.model_copy(update={"arms": arms, "conduct": read, "endpoints": plans})

    return made


@pytest.fixture(scope="session")
def parameters(evolocumab) -> Callable[..., pl.DataFrame]:
    """The model's own values under every one of some draws, with the risk of the adverse event."""

    def made(draws: int, background: float = -2.0, drug: float = 0.5) -> pl.DataFrame:
        values = evolocumab.typical() | {f"{EVENT}.background": background, f"{EVENT}.drug": drug}
        return pl.DataFrame({"draw": list(range(MEAN, draws + 1)), **{k: [v] * (draws + 1) for k, v in values.items()}})

    return made


@pytest.fixture(scope="session")
def company(laplace: Study) -> pl.DataFrame:
    """Four hundred of LAPLACE's people."""
    population = laplace.population.model_copy(update={"size": 400})
    return sample_population(laplace.model_copy(update={"population": population})).people
