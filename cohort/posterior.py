"""What a simulation varies over: the draws of a calibration's posterior."""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cohort.inference.diagnosis import flat
from cohort.model import Model
from cohort.study import Study
from cohort.trial import MEAN

if TYPE_CHECKING:
    import xarray as xr


def parameter_draws(study: Study, model: Model, posterior: "xr.DataTree | None") -> pl.DataFrame:
    """What `simulate` varies over: draw 0 the posterior mean, then the study's number of draws, evenly spaced through
    the chains. Without a posterior, the model's own values, known exactly."""
    n = study.analysis.draws
    columns = {name: np.full(n + 1, value) for name, value in model.typical().items()}
    if posterior is not None:
        dataset = posterior.children["posterior"].dataset
        for name in (str(k) for k, v in dataset.data_vars.items() if v.ndim == 2):
            draws = flat(posterior, name)
            picked = (np.arange(n) * len(draws)) // n
            columns[name] = np.concatenate([[draws.mean()], draws[picked]])
    return pl.DataFrame({"draw": np.arange(MEAN, MEAN + n + 1, dtype=np.int32), **columns})
