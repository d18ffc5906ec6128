"""Event records: what is done to a subject and when, as pharmacometricians write it down."""

from dataclasses import dataclass

import numpy as np
import polars as pl

ACTIONS = ("observe", "dose", "reset", "decide", "other")
MODELLED_RATE, MODELLED_DURATION = -1.0, -2.0  # as `rate`: the route's own parameter says it
COLUMNS = {
    "course": (pl.Int64, 0),
    "time": (pl.Float64, 0.0),
    "action": (pl.String, "dose"),
    "into": (pl.String, ""),
    "amount": (pl.Float64, 0.0),
    "rate": (pl.Float64, 0.0),
    "duration": (pl.Float64, 0.0),
    "interval": (pl.Float64, 0.0),
    "additional": (pl.Int64, 0),
    "steady": (pl.Int8, 0),
}


@dataclass(frozen=True)
class Events:
    """Event records of n subjects. Subjects whose records are equal may share a course.

    `course`: (n,), the course each subject follows. `rows`: one record each, COLUMNS; those of one course and one time
    happen in the order of the rows.

    `time` in the model's unit. `action`: *observe*; *dose*; *reset* (every state back to its start, infusions stopped,
    doses still to come from earlier records cancelled, as a steady state of 1 does too); *decide* (the arm's rule looks
    and sets the next doses); *other* (nothing but a time at which to stop). `into`: a route of the model, with its
    bioavailability, lag and duration, or a bare state. `amount` in the unit of the state; one that is no number fails
    its subject, and no other. `rate`: 0 a bolus, more an infusion (amount per time), -1 or -2 an infusion whose rate or
    duration is the route's parameter. Bioavailability changes the length of an infusion by rate, as in NONMEM, and the
    rate of one whose `duration` is given instead. `interval` and `additional`: so many more doses, so far apart.
    `steady`: 1, the state is first that of doses at `interval` since ever; 2, that is added to the present state. With
    `steady`, no amount and a rate: the steady state of a constant infusion, which then stops.
    """

    course: np.ndarray
    rows: pl.DataFrame

    @classmethod
    def of(cls, n: int, follows: np.ndarray | None = None, **columns: object) -> "Events":
        """Records from columns of equal length or single values; what is not given has its neutral value. `follows`:
        (n,), the course of each subject, 0 for all if left out. Errors: ValueError for what cannot be."""
        rows = len(
            next((c for c in columns.values() if isinstance(c, list | tuple | range | np.ndarray | pl.Series)), [0])
        )
        unknown = sorted(set(columns) - set(COLUMNS))
        if unknown:
            raise ValueError(f"events have no {', '.join(unknown)}; they have {', '.join(COLUMNS)}")
        table = {}
        for name, (kind, neutral) in COLUMNS.items():
            given = columns.get(name, neutral)
            many = isinstance(given, list | tuple | range | np.ndarray | pl.Series)
            table[name] = pl.Series(name, given if many else [given] * rows, dtype=kind, strict=False)
        events = cls(np.zeros(n, dtype=np.int64) if follows is None else np.asarray(follows), pl.DataFrame(table))
        events.check()
        return events

    @classmethod
    def none(cls, n: int) -> "Events":
        """Nothing happens to n subjects."""
        return cls(np.zeros(n, dtype=np.int64), pl.DataFrame(schema={k: kind for k, (kind, _) in COLUMNS.items()}))

    def __len__(self) -> int:
        return len(self.course)

    def check(self) -> None:
        """Errors: ValueError naming every row that cannot be, counted from 0."""
        r = self.rows
        dose = pl.col("action") == "dose"
        constant = dose & (pl.col("steady") > 0) & (pl.col("amount") == 0) & (pl.col("rate") > 0)
        rules = {
            f"action is not one of {', '.join(ACTIONS)}": ~pl.col("action").is_in(ACTIONS),
            "time is not a finite number": ~pl.col("time").is_finite(),
            "a dose goes nowhere; name a route or a state in `into`": dose & (pl.col("into") == ""),
            "amount is negative": pl.col("amount") < 0,
            "rate is negative or no number, and neither -1 (modelled rate) nor -2 (modelled duration)": ~(
                (pl.col("rate") >= 0) & pl.col("rate").is_finite()
                | pl.col("rate").is_in([MODELLED_RATE, MODELLED_DURATION])
            ),
            "duration is no number from 0 on": ~((pl.col("duration") >= 0) & pl.col("duration").is_finite()),
            "rate and duration say the same; keep one": (pl.col("rate") != 0) & (pl.col("duration") != 0),
            "interval is no number from 0 on": ~((pl.col("interval") >= 0) & pl.col("interval").is_finite()),
            "additional doses or a steady state need an interval": dose
            & ((pl.col("additional") > 0) | (pl.col("steady") > 0))
            & (pl.col("interval") == 0)
            & ~constant,
            "a constant infusion in its steady state has no further doses": constant & (pl.col("additional") > 0),
            "a steady state needs an amount, or the rate of a constant infusion": dose
            & (pl.col("steady") > 0)
            & (pl.col("amount") == 0)
            & ~(pl.col("rate") > 0),
            "additional is negative": pl.col("additional") < 0,
            "steady is not 0, 1 or 2": ~pl.col("steady").is_in([0, 1, 2]),
        }
        wrong = [
            f"row {i}: {what}"
            for what, bad in rules.items()
            for i in r.with_row_index().filter(bad.fill_null(True))["index"].to_list()
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
