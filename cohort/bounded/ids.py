"""Ids of people: text as it stands, `0012` apart from `12`, and no two that only look alike."""

import unicodedata

LONGEST = 200


def odd_id(text: str | None) -> str | None:
    """What to write instead of an id that another could be taken for; None if it is a good one."""
    if not text or not text.strip():
        return "write the subject's id"
    if len(text) > LONGEST:
        return f"write an id of at most {LONGEST} characters"
    if text != text.strip() or text != unicodedata.normalize("NFC", text):
        return "write an id without surrounding space, in Unicode's composed form, NFC"
    if any(c != " " and unicodedata.category(c)[0] in "CZ" for c in text):
        return "write an id without characters that cannot be seen"
    return None
