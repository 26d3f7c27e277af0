"""Files as people have them: other encodings, byte order marks, oversized numbers, deep nesting.

Every kind of text file that a command reads is listed here, with what a command says about it.
"""

import codecs
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from app.auto_deployment.errors import DeploymentError
from app.auto_deployment.git_dvc import WorkingTree
from app.auto_deployment.restore import read_dvc_hashes
from app.auto_deployment.version_commits import read_version
from app.cli_errors import MarqueeError
from app.notifications.channels import Channel
from app.notifications.notifier import Notifier, pending_messages
from app.provisioning.alertmanager import provision_alertmanager
from app.provisioning.secrets import ProvisioningError, read_operator_secret
from app.settings import Settings, read_settings
from app.text_files import TextError, decode_lossy, decode_text, parse_json, parse_json_rows
from app.training.errors import TrainingError
from app.training.runtimes import read_lengths
from app.training.tuning.search import open_storage
from app.yaml_files import read_yaml
from tests.conftest import ROOT
from tests.support.commands import invoke

DIGITS = b"9" * 5000
PARAMS = (ROOT / "params.yaml").read_bytes()


class Input(NamedTuple):
    """A file that a command reads.

    Attributes:
        command: with FILE for its path and DIRECTORY for a directory.
        valid: content that is accepted.
        message: what is printed about 5,000 digits in line 2.
        digits: that content.
    """

    command: str
    valid: bytes
    message: str
    digits: bytes


JSON_DIGITS = b'{"ndcg": 0.1,\n"n": ' + DIGITS + b"}"
YAML_DIGITS = b"# a comment\nseed: " + DIGITS + b"\n"
YAML_MESSAGE = "line 2: a number of 5,000 digits"
INPUTS = {
    "users": Input(
        "recommend --model MODEL --users-file FILE", b"7\n", "line 2: not a user id",
        b"7\n" + DIGITS,
    ),
    "evaluation": Input(
        "train --ratings none.csv --out DIRECTORY/out --evaluation FILE",
        b'{"ndcg": 0.1}\n', YAML_MESSAGE, JSON_DIGITS,
    ),
    "parameters": Input(
        "train --ratings none.csv --out DIRECTORY/out --params FILE",
        PARAMS, YAML_MESSAGE, YAML_DIGITS,
    ),
    "tuned parameters": Input(
        "tune --ratings none.csv --params FILE", PARAMS, YAML_MESSAGE, YAML_DIGITS
    ),
    "limits": Input(
        "test-data --tables DIRECTORY/none --params FILE", PARAMS, YAML_MESSAGE, YAML_DIGITS
    ),
    "summary of prepare": Input(
        "test-data --tables DIRECTORY/none --prepare-summary FILE", b'{"dropped": 0}\n',
        YAML_MESSAGE, JSON_DIGITS,
    ),
    "window": Input(
        "prepare --store DIRECTORY/none --out DIRECTORY/out --window FILE",
        b'{"test_share": 0.1}\n', "out of range at line 2", b'{\n"test_share": ' + DIGITS + b"}",
    ),
}  # fmt: skip


def run(file: Input, content: bytes, model: Path, tmp_path: Path) -> tuple[int, str]:
    """Run a command with a file of this content; return exit status and standard error."""
    path = tmp_path / "input"
    path.write_bytes(content)
    words = {"MODEL": str(model), "FILE": str(path)}
    command = [words.get(w, w.replace("DIRECTORY", str(tmp_path))) for w in file.command.split()]
    done = invoke(*command)
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("name", INPUTS)
def test_a_byte_that_is_not_utf_8_is_an_error_that_names_the_line(
    name: str, shared_model: Path, tmp_path: Path
) -> None:
    status, error = run(INPUTS[name], b"\n# caf\xe9\n", shared_model, tmp_path)
    assert status == 1
    assert "line 2" in error
    assert error.count("\n") == 1
    if name != "users":
        assert str(tmp_path / "input") in error


@pytest.mark.parametrize("name", INPUTS)
def test_five_thousand_digits_are_an_error_in_a_sentence(
    name: str, shared_model: Path, tmp_path: Path
) -> None:
    status, error = run(INPUTS[name], INPUTS[name].digits, shared_model, tmp_path)
    assert status == 1
    assert INPUTS[name].message in error
    assert len(error) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", INPUTS)
def test_a_byte_order_mark_changes_nothing(
    name: str, encoding: str, shared_model: Path, tmp_path: Path
) -> None:
    """The command gets as far as with the plain file: it finds no table in `none`."""
    plain = run(INPUTS[name], INPUTS[name].valid, shared_model, tmp_path)
    marked = INPUTS[name].valid.decode().encode(encoding)
    assert run(INPUTS[name], marked, shared_model, tmp_path) == plain


@pytest.mark.parametrize("name", ["evaluation", "limits", "parameters", "summary of prepare"])
def test_deep_nesting_is_an_error_in_a_sentence(
    name: str, shared_model: Path, tmp_path: Path
) -> None:
    deep = b"[" * (100_000 if "{" in INPUTS[name].valid.decode()[:1] else 1_000)
    status, error = run(INPUTS[name], deep, shared_model, tmp_path)
    assert status == 1
    assert "nested too deeply" in error or "not YAML" in error


def test_a_settings_file_may_have_a_byte_order_mark_and_names_a_wrong_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "hidden"
    monkeypatch.setenv("MARQUEE_HIDDEN_MOVIES_FILE", str(file))
    for encoding in ("utf-8-sig", "utf-16"):
        file.write_bytes("up+2009\nam\N{LATIN SMALL LETTER E WITH ACUTE}lie+2001".encode(encoding))
        assert "up+2009" in read_settings().hidden_movie_ids, encoding
    file.write_bytes(b"up+2009\nam\xe9lie+2001\n")
    with pytest.raises(
        MarqueeError, match=r"HIDDEN_MOVIES_FILE: .*: line 2: not UTF-8 \(byte 0xe9"
    ):
        read_settings()
    monkeypatch.delenv("MARQUEE_HIDDEN_MOVIES_FILE")
    monkeypatch.setenv("MARQUEE_WORKERS_FILE", str(file))
    file.write_bytes(DIGITS)
    with pytest.raises(MarqueeError, match="MARQUEE_WORKERS: "):
        read_settings()


def test_a_secret_loses_its_byte_order_mark_and_names_a_wrong_line(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(codecs.BOM_UTF8 + b"secret\r\n")
    assert read_operator_secret(tmp_path, "password") == "secret"
    (tmp_path / "password").write_bytes(b"\nsecr\xe9t\n")
    with pytest.raises(ProvisioningError, match=r"secrets/password.*line 2"):
        read_operator_secret(tmp_path, "password")
    with pytest.raises(ProvisioningError, match="password: line 2: not UTF-8"):
        provision_alertmanager(tmp_path / "password", tmp_path, tmp_path, Settings())


@pytest.mark.parametrize("content", [b"\xe9", DIGITS, b"1\n2"])
def test_a_version_file_that_is_no_number_is_an_error(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "version.txt").write_bytes(content)
    with pytest.raises(DeploymentError, match=r"version\.txt: "):
        read_version(WorkingTree(tmp_path))
    (tmp_path / "params.yaml").write_bytes(PARAMS)
    monkeypatch.chdir(tmp_path)
    done = invoke("train", "--ratings", "none.csv", "--out", "out")
    assert done.returncode == 1
    assert b"version.txt: " in done.stderr


@pytest.mark.parametrize("content", [b"\xe9", b"stages: " + DIGITS, b"[" * 1_000, b"- 1", b""])
def test_a_lock_file_of_dvc_that_describes_nothing_is_an_error(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "dvc.lock").write_bytes(content)
    with pytest.raises(DeploymentError, match=r"dvc\.lock"):
        read_dvc_hashes(WorkingTree(tmp_path))


@pytest.mark.parametrize("name", ["lists/manifest.json", "store/manifest.json"])
@pytest.mark.parametrize("content", [b"\n\xe9", b'{"format": ' + DIGITS + b"}", b"[" * 100_000])
def test_a_manifest_that_is_not_json_is_an_error(
    name: str, content: bytes, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "store").mkdir()
    manifest = (model if name.startswith("lists") else tmp_path) / name
    manifest.write_bytes(content)
    command = ("verify", model) if name.startswith("lists") else ("data", "stats", "--store",
                                                                 manifest.parent)  # fmt: skip
    done = invoke(*command)
    assert done.returncode == 1
    assert str(manifest) in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_the_text_of_a_message_may_have_any_encoding(tmp_path: Path) -> None:
    sent: list[tuple[str, str]] = []

    def send(_recipient: str, subject: str, body: str) -> None:
        sent.append((subject, body))

    notifier = Notifier(tmp_path / "outbox", {"mail": Channel(("team",), send)})
    notifier.send("caf\udce9", decode_lossy(b"\xef\xbb\xbfcaf\xe9"))
    assert sent == [("caf?", "caf\N{REPLACEMENT CHARACTER}")]
    body = tmp_path / "body"
    body.write_bytes(b"caf\xe9\n")
    assert invoke("notify", "--subject", "a", "--body-file", body).returncode == 0


@pytest.mark.parametrize(
    "content",
    [
        b"\xe9",
        b'{"channel": ' + DIGITS + b"}",
        b"[" * 100_000,
        b'{"channel": [], "subject": "", "body": 1}',
    ],
)
def test_a_damaged_message_does_not_stop_the_ones_after_it(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "1.message").write_bytes(content)
    message = {"channel": "mail", "subject": "a", "body": "b"}
    (tmp_path / "2.message").write_text(json.dumps(message))
    channel = Channel(("team",), lambda *_: None)
    assert Notifier(tmp_path, {"mail": channel}).flush().delivered == {"mail": 1}
    assert pending_messages(tmp_path) == []


def test_a_journal_or_a_table_of_another_kind_is_an_error(
    shared_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    for content in (b"7\n", b"\xe9\n", b'{"a": 1}\n', DIGITS + b"\n"):
        file.write_bytes(content)
        with (
            pytest.raises(TrainingError, match="file: not the journal of a search"),
            open_storage(file, {}),
        ):
            raise AssertionError
    done = invoke("compare-versions", "--watches", file, shared_model)
    assert done.returncode == 1
    assert b"file is not a table of watches" in done.stderr


@pytest.mark.parametrize(
    "content", [b"\xe9", b'{"a": {"length": ' + DIGITS + b"}}", b"[" * 100_000]
)
def test_movie_lengths_that_are_not_json_are_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "movies.json").write_bytes(content)
    with pytest.raises(TrainingError, match=r"movies\.json: "):
        read_lengths(tmp_path / "movies.json")


@pytest.mark.parametrize(
    ("read", "data", "message"),
    [
        (decode_text, b"a\nb\xff", r"line 2: not UTF-8 \(byte 0xff\)"),
        (decode_text, "a\n".encode("utf-16") + b"\x00", "line 2: not UTF-16"),
        (parse_json, b"{\n'a'}", "line 2: not JSON: Expecting"),
        (parse_json, b"[1,\n" + DIGITS + b"]", "line 2: a number of 5,000 digits"),
    ],
)
def test_errors_name_the_line(read: Callable[[bytes], object], data: bytes, message: str) -> None:
    with pytest.raises(TextError, match=message):
        read(data)


def test_errors_of_yaml_name_the_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a: 1\nb: [\n")
    with pytest.raises(TextError, match=r"line [23]: not YAML"):
        read_yaml(tmp_path / "file")


def test_rows_that_were_cut_are_left_out() -> None:
    content = b'ut": 1}\n{"a": 1}\n[2]\n{"a": ' + b"9" * 5000 + b'}\n{"b": "\xff"}\n{"a": 2}\n{"a"'
    assert parse_json_rows(content) == [{"a": 1}, {"a": 2}]
