"""Virtual cohorts and in-silico clinical trials."""

from cohort.library import load as load_model
from cohort.model import (
    Endpoint as Endpoint,
)
from cohort.model import (
    Model as Model,
)
from cohort.model import (
    Record as Record,
)
from cohort.model import (
    Route as Route,
)
from cohort.model import (
    Scalar as Scalar,
)
from cohort.model import (
    additive as additive,
)
from cohort.model import (
    category as category,
)
from cohort.model import (
    first as first,
)
from cohort.model import (
    fixed as fixed,
)
from cohort.model import (
    last as last,
)
from cohort.model import (
    logitnormal as logitnormal,
)
from cohort.model import (
    lognormal as lognormal,
)
from cohort.model import (
    lowest as lowest,
)
from cohort.model import (
    normal as normal,
)
from cohort.model import (
    of_baseline as of_baseline,
)
from cohort.model import (
    proportional as proportional,
)
from cohort.model import (
    quantity as quantity,
)
from cohort.study import Study as Study
from cohort.study import read_study as read_study
