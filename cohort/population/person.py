"""What is known of one real person, from a YAML file: the person's twin is drawn from it.

source: us
given: {sex: female, ancestry: non-Hispanic White, age: 60 y}
known:
  height: 158 cm
  bmi: 32.8 kg/m**2
  creatinine: {value: 1.1 mg/dL, sd: 0.06 mg/dL}    # sd: of the measurement error
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cohort import bounded
from cohort.population.causal import Column
from cohort.population.sources import Source, SourceError, source
from cohort.population.twin import Known
from cohort.units import factor, number_and_unit

KEYS = ("source", "conditions", "given", "known")


class PersonError(ValueError):
    """A file that says nothing usable of a person; the message holds everything wrong, with its place."""


@dataclass(frozen=True)
class Person:
    """`given`: where the person stands at the head of the chain; `known`: what was measured, with its error."""

    source: Source
    given: Mapping[str, float | str]
    known: Mapping[str, Known]


def read_person(path: Path) -> Person:
    """Errors: PersonError with everything that is wrong."""
    try:
        said = bounded.read(bounded.text(path))
    except bounded.BoundError as e:
        raise PersonError(str(e) if path.exists() else f"{e}; write the path of a YAML file") from None
    if said.problems:
        raise PersonError("\n".join(f"{path}:{said.line(place)}  {message}" for place, message in said.problems))
    found = said.data
    if not isinstance(found, dict) or not all(isinstance(found.get(k, {}), dict) for k in ("given", "known")):
        raise PersonError(f"{path}: write the keys {', '.join(KEYS)}, the last two with columns below them")
    wrong = [f"{key}: unknown key; {_near(str(key), KEYS)}" for key in found if key not in KEYS]
    try:
        people = source(str(found.get("source", "")), conditions=tuple(map(str, found.get("conditions") or ())))
    except ValueError as e:
        wrong += [f"{'source' if isinstance(e, SourceError) else 'conditions'}: {e}"]
        raise PersonError("\n".join(f"{path}: {line}" for line in wrong)) from None
    given: dict[str, float | str] = {}
    known: dict[str, Known] = {}
    for name, value in (found.get("given") or {}).items():
        for number in _value(f"given.{name}", str(name), value, people.columns, wrong):
            given[str(name)] = number
    for name, entry in (found.get("known") or {}).items():
        parts = entry if isinstance(entry, dict) else {"value": entry}
        wrong += [
            f"known.{name}.{k}: unknown key; {_near(str(k), ('value', 'sd'))}"
            for k in parts
            if k not in ("value", "sd")
        ]
        read = {
            key: number
            for key in ("value", "sd")
            if key in parts
            for number in _value(f"known.{name}", str(name), parts[key], people.columns, wrong)
        }
        if isinstance(read.get("value"), float):
            known[str(name)] = Known(**read)  # type: ignore[arg-type]
        elif "value" not in parts:
            wrong.append(f"known.{name}: the value is missing; write value and sd")
    if not known and not wrong:
        wrong.append("known: nothing; write at least one column and its value")
    if wrong:
        raise PersonError("\n".join(f"{path}: {line}" for line in wrong))
    return Person(people, given, known)


def _near(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"


def _value(place: str, name: str, value: Any, columns: Mapping[str, Column], wrong: list[str]) -> Iterator[float | str]:
    """The value of a column in its unit, or its level; nothing, and a line in `wrong`, where it is none."""
    column = columns.get(name)
    if column is None:
        wrong.append(f"{place}: no column of the source; {_near(name, columns)}")
    elif column.levels:
        if value in column.levels:
            yield str(value)
        else:
            wrong.append(f"{place}: {value!r}; write one of {', '.join(column.levels)}")
    elif column.unit == "1" and isinstance(value, int | float):
        yield float(value)
    elif (read := number_and_unit(value)) is None:
        wrong.append(
            f"{place}: {value!r}; write a number{' with its unit, ' + column.unit if column.unit != '1' else ''}"
        )
    else:
        try:
            yield read.value * factor(read.unit, column.unit)
        except ValueError as e:
            wrong.append(f"{place}: {e}; write it in {column.unit}")
