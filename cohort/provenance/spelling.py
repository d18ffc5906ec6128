"""JSON from a folder that may be hostile: it says one thing, to every program that reads it."""

import json
from typing import Any

from cohort.record import canonical


class SpellingError(ValueError):
    """Text that is not JSON, or not JSON with one meaning; the message says why."""


def parsed(text: str | bytes, *, spelt: bool = False) -> Any:
    """The value of a JSON text. No key may stand twice in an object, for programs differ in which of the two they
    take; with `spelt` it must be canonical, as `cohort` writes what it hashes. Errors: SpellingError."""
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8")
        value = json.loads(decoded, object_pairs_hook=_once)
        same = not spelt or canonical(value) == decoded
    except SpellingError:
        raise
    except (ValueError, RecursionError) as e:
        raise SpellingError(f"not JSON: {str(e)[:120]}") from None
    if not same:
        raise SpellingError("not spelt canonically; it was written by something else, or changed")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise SpellingError(f"the key {next(k for k in found if keys.count(k) > 1)[:60]!r} stands twice")
    return found
