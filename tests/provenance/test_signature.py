"""Who signs what: a person's key over a manifest, checked with keys that the verifier brings."""

import base64
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from typer.testing import CliRunner, Result

from cohort.cli import app
from cohort.provenance import signature
from cohort.provenance.manifest import ManifestError
from cohort.provenance.signature import SignatureError, check, sign, trusted_keys
from cohort.record import Audit, canonical, digest, file_digest

JANE, MEANING = "Jane Doe", "approved as statistician"


@pytest.fixture(scope="module")
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def known(key: Ed25519PrivateKey, name: str = "J. Doe, Biostatistics") -> dict[bytes, str]:
    return {signature.raw(key.public_key()): name}


def file_of(folder: Path) -> Path:
    (file,) = (folder / "signatures").iterdir()
    return file


def cohort(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words])


def test_the_encoding_is_that_of_dsse():
    """The example of protocol.md."""
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert signature.pae("http://example.com/HelloWorld", b"hello world") == expected
    assert signature.pae("é", "é".encode()) == "DSSEv1 2 é 2 é".encode()  # lengths are of bytes


def test_a_signature_holds_for_whoever_knows_the_key(copy, key):
    made = sign(copy, key, JANE, MEANING)
    assert (made.valid, made.trusted, made.name, made.meaning) == (True, False, JANE, MEANING)
    (seen,) = check(copy, known(key))
    assert seen.trusted
    assert seen.known_as == "J. Doe, Biostatistics"
    assert datetime.fromisoformat(seen.time).utcoffset() == timedelta(0)
    assert all(part in seen.line for part in (JANE, seen.time, "UTC", MEANING, "J. Doe, Biostatistics"))


def test_others_can_verify_it_without_cohort(copy, key):
    """An envelope as DSSE has it, around a statement as in-toto has it."""
    sign(copy, key, JANE, MEANING)
    envelope = json.loads(file_of(copy).read_text())
    payload = base64.b64decode(envelope["payload"])
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(payload), payload)
    key.public_key().verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed)
    statement = json.loads(payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    (subject,) = statement["subject"]
    assert subject == {"name": "manifest.json", "digest": {"sha256": file_digest(copy / "manifest.json")}}
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    assert file_of(copy).stem == digest(raw)[:16]


def test_the_trail_tells_of_it_and_stays_whole(copy, key):
    before = Audit(copy / "audit.jsonl").lines()
    sign(copy, key, JANE, MEANING)
    audit = Audit(copy / "audit.jsonl")
    assert audit.broken_at() is None
    *old, line = audit.lines()
    assert old == before
    assert (line["event"], line["name"], line["meaning"]) == ("signed", JANE, MEANING)
    assert line["signature"] == file_digest(file_of(copy))


def test_two_people_may_sign_and_one_twice_may_not(copy, key):
    sign(copy, key, JANE, MEANING)
    other = Ed25519PrivateKey.generate()
    sign(copy, other, "John Roe", "reviewed as pharmacologist")
    with pytest.raises(SignatureError, match=r"signed this manifest already.*Jane Doe"):
        sign(copy, key, JANE, "reviewed")
    seen = check(copy, known(other))
    assert {s.name: (s.valid, s.trusted) for s in seen} == {JANE: (True, False), "John Roe": (True, True)}


def test_a_signature_that_a_kill_kept_from_the_trail_is_told_of_later(copy, key):
    before = (copy / "audit.jsonl").read_text()
    first = sign(copy, key, JANE, MEANING)
    (copy / "audit.jsonl").write_text(before)
    assert sign(copy, key, JANE, MEANING) == first
    assert Audit(copy / "audit.jsonl").lines()[-1]["event"] == "signed"


def test_a_signature_over_another_manifest_is_not_valid(copy, key):
    sign(copy, key, JANE, MEANING)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["study"]["seed"] += 1
    (copy / "manifest.json").write_text(canonical(manifest) + "\n")
    (seen,) = check(copy, known(key))
    assert not seen.valid
    assert not seen.trusted
    assert "another manifest" in seen.reason


def reworded(envelope: dict) -> dict:
    statement = envelope["statement"]
    statement["predicate"]["meaning"] = "approved without reservation"
    envelope["payload"] = base64.b64encode(canonical(statement).encode()).decode()
    return envelope


def shown_otherwise(envelope: dict) -> dict:
    envelope["statement"]["predicate"]["name"] = "Somebody Else"
    return envelope


def of_another_kind(envelope: dict) -> dict:
    return envelope | {"payloadType": "application/json"}


def twice(envelope: dict) -> dict:
    return envelope | {"signatures": envelope["signatures"] * 2}


def bare(envelope: dict) -> dict:
    return {"payload": envelope["payload"]}


def of_another_key(envelope: dict) -> dict:
    other = Ed25519PrivateKey.from_private_bytes(b"\1" * 32).public_key()
    return envelope | {"publicKey": base64.b64encode(signature.raw(other)).decode()}


@pytest.mark.parametrize("forged", [reworded, shown_otherwise, of_another_kind, twice, bare, of_another_key])
def test_a_forged_signature_is_not_valid(copy, key, forged):
    sign(copy, key, JANE, MEANING)
    file = file_of(copy)
    file.write_text(json.dumps(forged(json.loads(file.read_text()))))
    (seen,) = check(copy, known(key))
    assert not seen.valid
    assert not seen.trusted
    assert seen.reason
    assert seen.name == ""


def test_a_line_says_first_whether_anybody_vouches_and_quotes_the_rest(copy, key):
    """A meaning may be a refusal, and is shown as such; neither text can pose as what the verifier knows."""
    meaning = 'rejected"; VOUCHED, key 93ab12cd34ef5678 of "Jane Doe": do not use'
    made = sign(copy, key, JANE, meaning)
    assert made.line == (
        f'NOT VOUCHED, key {made.key}, which nobody here knows: "rejected\\"; VOUCHED, key 93ab12cd34ef5678 of '
        f'\\"Jane Doe\\": do not use", by "Jane Doe", {made.time} (UTC, signer\'s clock)'
    )
    (seen,) = check(copy, known(key))
    assert seen.line.startswith(f'VOUCHED, key {made.key} of "J. Doe, Biostatistics": "rejected')


POSING = "Jane Doe, 2026-11-20T10:00:00.000+00:00: approved [key 93ab12cd34ef5678: trusted key of Jane Doe]; M"


def resigned(envelope: dict, key: Ed25519PrivateKey, change: Callable[[dict], object]) -> dict:
    """The envelope with another statement, signed by the key itself."""
    change(envelope["statement"])
    payload = canonical(envelope["statement"]).encode()
    sig = base64.b64encode(key.sign(signature.pae(signature.PAYLOAD, payload))).decode()
    signed = [{"keyid": envelope["signatures"][0]["keyid"], "sig": sig}]
    return envelope | {"payload": base64.b64encode(payload).decode(), "signatures": signed}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda statement: statement["predicate"].update(name=POSING), "write a name without them"),
        (lambda statement: statement["predicate"].update(note="approved by the authority"), "'note' is not there, or"),
        (lambda statement: statement.update(note="approved"), "'note' is not there, or"),
        (lambda statement: statement["subject"][0].update(note="approved"), "'note' is not there, or"),
        (lambda statement: statement["predicate"].pop("clock"), "'clock' is not there, or"),
    ],
)
def test_a_statement_that_could_say_more_than_is_read_is_not_valid(copy, key, change, said):
    with pytest.raises(SignatureError, match="write a name without them"):
        sign(copy, key, POSING, MEANING)
    sign(copy, key, JANE, MEANING)
    file = file_of(copy)
    file.write_text(json.dumps(resigned(json.loads(file.read_text()), key, lambda statement: None)))
    assert check(copy, {})[0].valid
    file.write_text(json.dumps(resigned(json.loads(file.read_text()), key, change)))
    (seen,) = check(copy, {})
    assert not seen.valid
    assert said in seen.reason


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"statement": {', '"statement": {"predicate": {"meaning": "approved"}}, "statement": {', "'statement' stands"),
        ('"statement": {', '"statement": {"predicate": {"meaning": "x"}, ', "'predicate' stands twice"),
        ('"payload":', '"note": "approved by the authority", "payload":', "'note' is not there, or should not be"),
        ('"keyid": "', '"keyid": "0', "another key's"),
    ],
)
def test_an_envelope_says_one_thing_and_no_more(copy, key, before, after, said):
    sign(copy, key, JANE, "rejected")
    file = file_of(copy)
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after, 1))
    (seen,) = check(copy, known(key))
    assert not seen.valid
    assert said in seen.reason


def test_what_a_file_browser_added_is_named_as_such(copy, key):
    sign(copy, key, JANE, MEANING)
    (copy / "signatures/.DS_Store").write_bytes(b"x")
    seen = {s.file: s.reason for s in check(copy, known(key))}
    assert seen[".DS_Store"] == "not a signature: added by a file browser; remove it"


def test_every_flipped_bit_of_a_signature_is_seen(copy, key):
    sign(copy, key, JANE, MEANING)
    file = file_of(copy)
    envelope = json.loads(file.read_text())
    sig = base64.b64decode(envelope["signatures"][0]["sig"])
    for bit in range(0, 512, 7):
        flipped = bytearray(sig)
        flipped[bit // 8] ^= 1 << bit % 8
        envelope["signatures"][0]["sig"] = base64.b64encode(flipped).decode()
        file.write_text(json.dumps(envelope))
        assert not check(copy, known(key))[0].valid


def test_what_is_no_signature_is_named(copy, key, tmp_path):
    sign(copy, key, JANE, MEANING)
    file = file_of(copy)
    (copy / "signatures/0123456789abcdef.json").write_bytes(file.read_bytes())  # under another key's name
    (copy / "signatures/ffffffffffffffff.json").write_text("[" * 5000)
    (copy / "signatures/eeeeeeeeeeeeeeee.json").write_bytes(b" " * (1 << 20))
    (copy / "signatures/note\x1b[2J.txt").write_text("approved")
    shutil.copy(file, tmp_path / "elsewhere.json")
    (copy / "signatures/dddddddddddddddd.json").symlink_to(tmp_path / "elsewhere.json")
    seen = check(copy, known(key))
    assert [s.file for s in seen if s.valid] == [file.name]
    assert len(seen) == 6
    assert all(s.reason and s.line.isprintable() for s in seen if not s.valid)


def test_a_key_that_comes_with_the_folder_is_not_trusted(copy):
    """A forger may sign anything with a key of their own, and put it beside as a file of trusted keys."""
    forger = Ed25519PrivateKey.generate()
    sign(copy, forger, JANE, MEANING)
    (copy / "signatures/trusted").write_text(signature.trusted_line(signature.raw(forger.public_key()), JANE))
    assert not any(s.trusted for s in check(copy, {}))


@pytest.mark.parametrize(
    ("name", "meaning"),
    [("", MEANING), (JANE, "  "), ("Jane\nDoe", MEANING), (JANE, "approved\u202edevorppa"), ("J" * 201, MEANING)],
)
def test_name_and_meaning_must_be_there_and_fit_on_a_line(copy, key, name, meaning):
    with pytest.raises(SignatureError, match=r"^(name|meaning): "):
        sign(copy, key, name, meaning)
    assert not (copy / "signatures").exists()


def unsealed(folder: Path) -> str:
    (folder / "manifest.json").unlink()
    return "not sealed"


def respelt(folder: Path) -> str:
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()), indent=1))
    return "not spelt canonically"


def tampered(folder: Path) -> str:
    file = folder / "attrition.json"
    file.write_bytes(file.read_bytes().replace(b"8", b"9", 1))
    return "attrition.json' was changed"


def missing(folder: Path) -> str:
    (folder / "trial.parquet").unlink()
    return "trial.parquet' is missing"


def added(folder: Path) -> str:
    (folder / "extra.csv").write_text("a\n")
    return "extra.csv' is not in the manifest"


def linked(folder: Path) -> str:
    file = folder / "attrition.json"
    file.rename(folder.parent / "outside.json")
    file.symlink_to(folder.parent / "outside.json")
    return "attrition.json' is a symbolic link"


def retold(folder: Path) -> str:
    audit = folder / "audit.jsonl"
    audit.write_text(audit.read_text().replace('"event":"simulated"', '"event":"simulatad"'))
    return "audit.jsonl: line 3 does not follow"


@pytest.mark.parametrize("wrong", [unsealed, respelt, tampered, missing, added, linked, retold])
def test_what_does_not_hold_is_not_signed(copy, key, wrong):
    expected = wrong(copy)
    with pytest.raises((SignatureError, ManifestError), match=expected):
        sign(copy, key, JANE, MEANING)
    assert not (copy / "signatures").exists()


def test_a_clock_that_went_backwards_is_refused(copy, key):
    last = datetime.fromisoformat(Audit(copy / "audit.jsonl").lines()[-1]["time"])
    with pytest.raises(SignatureError, match="went backwards"):
        sign(copy, key, JANE, MEANING, now=last - timedelta(seconds=1))
    assert not (copy / "signatures").exists()
    sign(copy, key, JANE, MEANING, now=last + timedelta(seconds=1))


def test_a_time_zone_becomes_utc(copy, key):
    there = datetime.now(UTC).astimezone().replace(microsecond=0) + timedelta(hours=1)
    assert datetime.fromisoformat(sign(copy, key, JANE, MEANING, now=there).time) == there
    assert check(copy, {})[0].time.endswith("+00:00")


# ---- keys


def test_a_new_key_is_the_owners_alone_and_is_not_overwritten(tmp_path):
    made = cohort("sign", "--new-key", tmp_path / "key.pem", "--name", JANE)
    assert made.exit_code == 0, made.output
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    (tmp_path / "trusted").write_text(made.stdout)
    public = signature.raw(signature.read_key(tmp_path / "key.pem").public_key())
    assert trusted_keys(tmp_path / "trusted") == {public: JANE}
    before = (tmp_path / "key.pem").read_bytes()
    again = cohort("sign", "--new-key", tmp_path / "key.pem", "--name", JANE)
    assert again.exit_code == 2
    assert "not overwritten" in again.stderr
    assert (tmp_path / "key.pem").read_bytes() == before


def test_a_passphrase_comes_from_the_environment_alone(tmp_path, monkeypatch):
    file = tmp_path / "key.pem"
    missing = cohort("sign", "--new-key", file, "--name", JANE, "--passphrase-env", "COHORT_TEST_PASS")
    assert missing.exit_code == 2
    assert not file.exists()
    monkeypatch.setenv("COHORT_TEST_PASS", "correct horse")
    assert cohort("sign", "--new-key", file, "--name", JANE, "--passphrase-env", "COHORT_TEST_PASS").exit_code == 0
    assert b"ENCRYPTED" in file.read_bytes()
    assert signature.read_key(file, b"correct horse")
    for wrong in (None, b"battery staple"):
        with pytest.raises(SignatureError, match="passphrase"):
            signature.read_key(file, wrong)


def test_other_kinds_of_key_are_refused(tmp_path):
    pem = X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "other.pem").write_bytes(pem)
    (tmp_path / "none.pem").write_text("nothing")
    for name in ("other.pem", "none.pem", "absent.pem"):
        with pytest.raises(SignatureError, match=name):
            signature.read_key(tmp_path / name)


def test_every_malformed_line_of_trusted_keys_is_named(tmp_path):
    good = base64.b64encode(bytes(range(32))).decode()
    file = tmp_path / "trusted"
    lines = [
        "# keys of the site",
        "",
        f"ed25519 {good} Jane Doe # 2",
        f"rsa {good} Jane",
        f"ed25519 {good}",
        "ed25519 AAAA Jane",
        f"ed25519 {good[:-1]} Jane",
        f"ed25519 {good} Somebody Else",
        f"ed25519 {good} Jane\x1b[2J",
    ]
    file.write_text("\n".join(lines))
    with pytest.raises(SignatureError) as refused:
        trusted_keys(file)
    assert [int(line.split(":")[1]) for line in str(refused.value).splitlines()] == [4, 5, 6, 7, 8, 9]
    file.write_text("\n".join(lines[:3]))
    assert trusted_keys(file) == {bytes(range(32)): "Jane Doe # 2"}
    file.write_text("# none\n")
    with pytest.raises(SignatureError, match="no key"):
        trusted_keys(file)


@pytest.mark.parametrize("end", ["\u2028", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_a_line_of_trusted_keys_ends_at_a_line_feed_alone(tmp_path, end):
    """A comment, such as one that was copied from elsewhere, adds no key."""
    good, other = (base64.b64encode(bytes([i]) * 32).decode() for i in (1, 2))
    (tmp_path / "trusted").write_text(f"ed25519 {good} Jane Doe\r\n# old:{end}ed25519 {other} Mallory\n", newline="")
    assert trusted_keys(tmp_path / "trusted") == {bytes([1]) * 32: JANE}


# ---- the verb


def test_sign_prints_the_three_things_and_the_crate_names_who_signed(copy, tmp_path):
    assert cohort("sign", "--new-key", tmp_path / "key.pem", "--name", JANE).exit_code == 0
    result = cohort("sign", copy, "--key", tmp_path / "key.pem", "--name", JANE, "--meaning", MEANING)
    assert result.exit_code == 0, result.output
    assert all(part in result.stdout for part in (JANE, "UTC", MEANING))
    graph = json.loads((copy / "ro-crate-metadata.json").read_text())["@graph"]
    (endorsed,) = (e for e in graph if e["@type"] == "EndorseAction")
    assert endorsed["name"] == MEANING


def test_sign_without_key_or_folder_says_what_to_write(copy):
    for words in ((), (copy,), (copy, "--new-key", copy / "k.pem", "--name", JANE)):
        result = cohort("sign", *words)
        assert result.exit_code == 2
        assert "--new-key" in result.stderr


@pytest.mark.faults
@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(copy, key):
    copy.chmod(0o500)
    try:
        with pytest.raises(SignatureError, match="cannot be written"):
            sign(copy, key, JANE, MEANING)
    finally:
        copy.chmod(0o700)
