"""The protocol: one YAML file to one frozen, typed object, or every reason why not."""

from cohort.study.checks import COLUMNS as COLUMNS
from cohort.study.grammar import Criterion as Criterion
from cohort.study.grammar import Prior as Prior
from cohort.study.protocol import (
    Arm as Arm,
)
from cohort.study.protocol import (
    Calibration as Calibration,
)
from cohort.study.protocol import (
    EndpointPlan as EndpointPlan,
)
from cohort.study.protocol import (
    Share as Share,
)
from cohort.study.protocol import (
    Spread as Spread,
)
from cohort.study.protocol import (
    Study as Study,
)
from cohort.study.reader import (
    Problem as Problem,
)
from cohort.study.reader import (
    StudyError as StudyError,
)
from cohort.study.reader import (
    fingerprint as fingerprint,
)
from cohort.study.reader import (
    read_study as read_study,
)
