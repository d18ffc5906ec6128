"""A person's Ed25519 signature over a sealed result: made with a key of their own, checked with keys that the verifier
brings.

A signature is a DSSE envelope [1] around an in-toto statement [2]: its subject is manifest.json by SHA-256, its
predicate holds the three things that 21 CFR 11.50 asks to be shown: printed name, date and time, meaning. Nothing here
says who holds a key, or that a clock was right: both are for the site.

[1] secure-systems-lab/dsse, protocol.md and envelope.md, 1.0
[2] in-toto/attestation, spec/v1/statement.md
"""

import base64
import binascii
import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cohort.provenance import integrity
from cohort.provenance.contents import printable
from cohort.provenance.manifest import CLUTTER, NAME, Manifest, entries, read_manifest
from cohort.provenance.spelling import SpellingError, parsed
from cohort.record import Audit, canonical, digest, file_digest
from cohort.store import write_text

STATEMENT = "https://in-toto.io/Statement/v1"
PAYLOAD = "application/vnd.in-toto+json"
PREDICATE = "urn:x-cohort:signature:1"
CLOCK = "the signer's computer; no time-stamping authority confirmed it"
LONGEST = 200  # characters of a name or a meaning
# All that a signature's file and its statement may hold: a key that nobody reads could say anything.
SAID: dict[str, Any] = {
    "_type": None,
    "subject": [{"name": None, "digest": {"sha256": None}}],
    "predicateType": None,
    "predicate": {"name": None, "time": None, "clock": None, "meaning": None, "cohort": None},
}
ENVELOPE: dict[str, Any] = {
    "payload": None,
    "payloadType": None,
    "publicKey": None,
    "signatures": [{"keyid": None, "sig": None}],
    "statement": SAID,
}
LARGEST = {"signature": 64 << 10, "trusted keys": 1 << 20}  # bytes: what is read whole


class SignatureError(ValueError):
    """A folder, key or text that cannot be signed with or over; the message says each reason and what to do."""


@dataclass(frozen=True)
class Signed:
    """What one file of signatures/ says, and whether it holds."""

    file: str  # its name in signatures/
    key: str  # fingerprint: 16 hex digits of SHA-256 of the raw public key; "" where no key can be read
    name: str  # as signed; so are time and meaning. All three are "" unless the signature is valid
    time: str  # UTC, ISO 8601, by the signer's clock
    meaning: str
    valid: bool  # the signature is its key's, over the manifest that lies in the folder
    trusted: bool  # valid, and by a key in the verifier's file
    known_as: str | None  # the name in the verifier's file
    reason: str  # why not valid; "" where it is

    @property
    def line(self) -> str:
        """One line for people: printed name, time, meaning, and how far to believe it."""
        if not self.valid:
            return f"signatures/{printable(self.file)}: NOT VALID: {self.reason}"
        # What the verifier knows stands first; what the signer wrote is quoted, so that it cannot pose as more.
        known = (
            f"VOUCHED, key {self.key} of {_quoted(self.known_as or '')}"
            if self.trusted
            else (f"NOT VOUCHED, key {self.key}, which nobody here knows")
        )
        said = f"{_quoted(self.meaning)}, by {_quoted(self.name)}, {self.time} (UTC, signer's clock)"
        return f"{known}: {said}"


# ------------------------------------------------------------------------------------------------------------ keys


def fingerprint(public: bytes) -> str:
    """What a key is called: the first 16 hex digits of SHA-256 of its 32 raw bytes."""
    return digest(public)[:16]


def raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def trusted_line(public: bytes, name: str) -> str:
    """The line that makes a key known to a verifier."""
    return f"ed25519 {base64.b64encode(public).decode()} {usable('name', name)}"


def new_key(path: Path, passphrase: bytes | None = None) -> bytes:
    """Make a private key at `path`, readable by its owner alone. Returns the raw public key, 32 bytes.
    Errors: SignatureError where the file is already there."""
    key = Ed25519PrivateKey.generate()
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SignatureError(f"{path} is already there and is not overwritten; name another file") from None
    except OSError as e:
        raise SignatureError(f"{path}: cannot be written: {e.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(pem)
            f.flush()
            os.fsync(f.fileno())
    except OSError as e:
        path.unlink()  # half a key is none
        raise SignatureError(f"{path}: cannot be written: {e.strerror}") from None
    return raw(key.public_key())


def read_key(path: Path, passphrase: bytes | None = None) -> Ed25519PrivateKey:
    """An Ed25519 private key from a PEM file. Errors: SignatureError."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=passphrase)
    except OSError as e:
        raise SignatureError(f"{path}: {e.strerror}; `cohort sign --new-key {path} --name ...` makes a key") from None
    except TypeError:  # cryptography's word for a passphrase missing or not wanted
        wrong = "is not encrypted; leave --passphrase-env out" if passphrase else "is encrypted; name --passphrase-env"
        raise SignatureError(f"{path}: the key {wrong}") from None
    except (ValueError, UnsupportedAlgorithm):
        why = "no private key in PEM, or another passphrase"
        raise SignatureError(f"{path}: {why}; `cohort sign --new-key` makes a key") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{path}: a key of another kind ({type(key).__name__}); an Ed25519 key is needed")
    return key


def trusted_keys(path: Path) -> dict[bytes, str]:
    """The verifier's keys: raw public key to name, from lines `ed25519 <base64 of 32 bytes> <name>`; a line that
    starts with # is a comment. Errors: SignatureError naming every malformed line."""
    try:
        lines = _bounded(path, "trusted keys").decode().split("\n")  # what else Unicode calls an end may be in a name
    except UnicodeDecodeError:
        raise SignatureError(f"{path}: not UTF-8 text") from None
    found: dict[bytes, str] = {}
    wrong = []
    for number, line in enumerate(lines, 1):
        words = line.split(maxsplit=2)
        if not words or words[0].startswith("#"):
            continue
        here = f"{path}:{number}:"
        if words[0] != "ed25519" or len(words) < 3:
            shown = line.strip()[:80]
            wrong.append(f"{here} {shown!r} is no key; write ed25519, the public key in base64, and a name")
            continue
        key, name = _decoded(words[1]), words[2].strip()
        if key is None or len(key) != 32:
            size = "no base64" if key is None else f"{len(key)} bytes"
            wrong.append(f"{here} {words[1][:60]!r} is {size}; an Ed25519 public key is 32 bytes in base64")
        elif not name.isprintable():
            wrong.append(f"{here} the name {name!r} holds characters that cannot be printed; write it without them")
        elif found.get(key, name) != name:
            wrong.append(f"{here} this key stands further up as {found[key]!r}; a key has one name")
        else:
            found[key] = name
    if wrong:
        raise SignatureError("\n".join(wrong))
    if not found:
        raise SignatureError(f"{path}: no key in it; write a line: ed25519, the public key in base64, and a name")
    return found


# --------------------------------------------------------------------------------------------------------- signing


def pae(kind: str, body: bytes) -> bytes:
    """The bytes that are signed: DSSE's pre-authentication encoding [1], which binds the kind of payload as well."""
    name = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(body), body)


def sign(folder: Path, key: Ed25519PrivateKey, name: str, meaning: str, *, now: datetime | None = None) -> Signed:
    """Sign the manifest of a sealed folder; write signatures/<key>.json and a line of the trail.

    `now`: this computer's time if not given. Errors: SignatureError where the folder is not sealed, does not hold, was
    signed with this key already, or where the clock is behind the trail.
    """
    wrong = [
        f"{what}: {why}" for what, text in (("name", name), ("meaning", meaning)) if (why := _unfit_text(what, text))
    ]
    if wrong:
        raise SignatureError("\n".join(wrong))
    now = (now or datetime.now(UTC)).astimezone(UTC)
    manifest = read_manifest(folder)
    if problems := _unfit(folder, manifest, now):
        raise SignatureError("\n".join([f"{folder} is not signed:", *problems]))
    public = raw(key.public_key())
    file = folder / "signatures" / f"{fingerprint(public)}.json"
    before = next((s for s in check(folder, {}) if s.file == file.name and s.valid), None)
    if before is None:
        statement = {
            "_type": STATEMENT,
            "subject": [{"name": NAME, "digest": {"sha256": digest(manifest.text)}}],
            "predicateType": PREDICATE,
            "predicate": {
                "name": name.strip(),
                "time": now.isoformat(timespec="milliseconds"),
                "clock": CLOCK,
                "meaning": meaning.strip(),
                "cohort": metadata.version("insilico-cohort"),
            },
        }
        payload = canonical(statement).encode()
        envelope = {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD,
            "publicKey": base64.b64encode(public).decode(),
            "signatures": [
                {"keyid": fingerprint(public), "sig": base64.b64encode(key.sign(pae(PAYLOAD, payload))).decode()}
            ],
            "statement": statement,  # the payload again, for people to read; `check` refuses one that says otherwise
        }
        with _writing(folder):
            write_text(file, json.dumps(envelope, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    elif any(line.get("signature") == file_digest(file) for line in Audit(folder / "audit.jsonl").lines()):
        raise SignatureError(
            f"{folder}: this key has signed this manifest already, as {before.line}; "
            "a second signature needs a second key"
        )
    made = next(s for s in check(folder, {}) if s.file == file.name)
    with _writing(folder):  # also for a signature whose line a kill kept from the trail
        Audit(folder / "audit.jsonl").append(
            "signed",
            key=made.key,
            name=made.name,
            meaning=made.meaning,
            signed=made.time,
            manifest=digest(manifest.text),
            signature=file_digest(file),
        )
    return made


def _unfit(folder: Path, manifest: Manifest, now: datetime) -> list[str]:
    """Every reason why a folder must not be signed: it is not what was sealed, or the clock is behind its trail, which
    would date the signature before what it signs."""
    found, wrong = entries(folder)
    lines = list(integrity.read_lines(folder))
    wrong += integrity.files(manifest, found)
    broken = list(integrity.trail(manifest, lines))
    wrong += [f"audit.jsonl: {what}" for what in broken]
    if not broken:
        last = (lines[-1][1] or {}).get("time")
        try:
            then = datetime.fromisoformat(str(last))
            behind = then.tzinfo is None or now < then
        except ValueError:
            behind = True
        if behind:
            shows = now.isoformat(timespec="milliseconds")
            wrong.append(f"the clock says {shows}, the last line of the trail {last}: it went backwards; set it right")
    return [f"  {what}" for what in wrong]


# -------------------------------------------------------------------------------------------------------- checking


def check(folder: Path, trusted: Mapping[bytes, str]) -> tuple[Signed, ...]:
    """Every signature in the folder, in the order of file names. `trusted`: the verifier's keys, as `trusted_keys`
    reads them; a key that comes with the folder proves only that one holder signed all that it signed."""
    place = folder / "signatures"
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        return (_refused("", "", "signatures is no folder"),)
    if not place.is_dir():
        return ()
    manifest = folder / NAME
    sealed = file_digest(manifest) if manifest.is_file() else None
    return tuple(_checked(path, sealed, trusted) for path in sorted(place.iterdir()))


def _checked(path: Path, sealed: str | None, trusted: Mapping[bytes, str]) -> Signed:
    if CLUTTER.fullmatch(path.name):
        return _refused(path.name, "", "not a signature: added by a file browser; remove it")
    if not re.fullmatch(r"[0-9a-f]{16}\.json", path.name) or path.is_symlink() or not path.is_file():
        return _refused(path.name, "", "not a signature: a file named by 16 hex digits and .json is")
    key = ""
    try:
        envelope = parsed(_bounded(path, "signature"))
        if odd := _odd(envelope, ENVELOPE):
            return _refused(path.name, "", odd)
        public, payload = _decoded(envelope["publicKey"]), _decoded(envelope["payload"])
        (one,) = envelope["signatures"]
        signature = _decoded(one["sig"])
        if public is None or len(public) != 32 or payload is None or signature is None:
            return _refused(path.name, "", "key, payload or signature is not base64 of the right length")
        key = fingerprint(public)
        if path.name != f"{key}.json":
            return _refused(path.name, key, f"the file is not named after its key, {key}")
        if envelope["payloadType"] != PAYLOAD:
            return _refused(path.name, key, f"a payload of type {envelope['payloadType']!r}, not {PAYLOAD!r}")
        Ed25519PublicKey.from_public_bytes(public).verify(signature, pae(PAYLOAD, payload))
        if one["keyid"] != key:
            return _refused(path.name, key, "the signature is said to be another key's")
        statement = parsed(payload, spelt=True)
        if canonical(envelope["statement"]).encode() != payload:
            return _refused(path.name, key, "the statement that is shown is not the one that was signed")
        if odd := _odd(statement, SAID):
            return _refused(path.name, key, odd)
        (subject,) = statement["subject"]
        if (statement["_type"], statement["predicateType"], subject["name"]) != (STATEMENT, PREDICATE, NAME):
            return _refused(path.name, key, "a statement about something else than a manifest of cohort")
        if subject["digest"]["sha256"] != sealed:
            return _refused(path.name, key, "signs another manifest than the one in this folder")
        said = statement["predicate"]
        for what in ("name", "meaning"):
            if why := _unfit_text(what, said[what]):
                return _refused(path.name, key, f"{what}: {why}")
        time = datetime.fromisoformat(said["time"])
        if time.utcoffset() != timedelta(0) or time.isoformat(timespec="milliseconds") != said["time"]:
            return _refused(path.name, key, f"the time {said['time']!r} is not UTC as 2026-01-31T12:00:00.000+00:00")
    except InvalidSignature:
        return _refused(path.name, key, "the signature is not this key's over this statement")
    except SpellingError as e:
        return _refused(path.name, key, f"not a signature that can be read: {printable(str(e))}")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return _refused(path.name, key, "not a signature that can be read: damaged, or of another format")
    known = trusted.get(public)
    return Signed(path.name, key, said["name"], said["time"], said["meaning"], True, known is not None, known, "")


def _refused(file: str, key: str, reason: str) -> Signed:
    return Signed(file, key, "", "", "", False, False, None, reason)


# --------------------------------------------------------------------------------------------------------- reading


def _unfit_text(what: str, text: str) -> str:
    """Why a name or a meaning cannot stand in a signature; "" where it can. Control characters would let a line say two
    things; what a line of ours is made of would let a name say more than a name."""
    if not text.strip():
        return "empty; a signature shows a printed name and what it means, such as 'approved as statistician'"
    if not text.isprintable():
        return f"{text!r} holds characters that cannot be printed; write it on one line without them"
    if what == "name" and (odd := sorted(set(text) & set('[];"'))):
        return f"{text!r} holds {' '.join(odd)}; write a name without them"
    return f"{len(text)} characters; write at most {LONGEST}" if len(text) > LONGEST else ""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _odd(value: Any, shape: Any) -> str:
    """Where a value holds other keys than a shape has; "" where it does not. A shape: keys, each with the shape of what
    stands there, None for a text; a list of one for a list of such."""
    if isinstance(shape, list):
        return next(filter(None, (_odd(each, shape[0]) for each in value)), "")
    if shape is None:
        return ""
    if odd := sorted(map(str, value.keys() ^ shape.keys())):
        return f"{printable(odd[0][:60])!r} is not there, or should not be"
    return next(filter(None, (_odd(value[key], each) for key, each in shape.items())), "")


def usable(what: str, text: str) -> str:
    """A name or meaning as it will be signed. Errors: SignatureError where it is empty, too long or not printable."""
    if why := _unfit_text(what, text):
        raise SignatureError(f"{what}: {why}")
    return text.strip()


def _decoded(text: str) -> bytes | None:
    try:
        found = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return found if base64.b64encode(found).decode() == text else None  # one spelling per value


def _bounded(path: Path, what: str) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SignatureError(f"{path}: not a plain file")
        with path.open("rb") as f:
            found = f.read(LARGEST[what] + 1)
    except OSError as e:
        raise SignatureError(f"{path}: {e.strerror}") from None
    if len(found) > LARGEST[what]:
        raise SignatureError(f"{path}: larger than {LARGEST[what]} bytes, which no file of this kind is")
    return found


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise SignatureError(f"{folder}: cannot be written: {e.strerror}; sign a copy that can be") from None
