from pathlib import Path

import click
import pytest

from app.cli_errors import MarqueeError, explain_errors


def test_an_expected_error_is_reported_as_its_message() -> None:
    with pytest.raises(click.ClickException, match=r"^no such version$"), explain_errors():
        raise MarqueeError("no such version")


def test_an_os_error_is_reported_with_its_file(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    message = f"^{missing}: No such file or directory$"
    with pytest.raises(click.ClickException, match=message), explain_errors():
        missing.read_bytes()


def test_a_programming_error_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), explain_errors():
        _ = 1 / 0


def test_control_characters_of_a_message_are_escaped() -> None:
    with pytest.raises(click.ClickException) as failure, explain_errors():
        raise MarqueeError("column \x1b[2Jx\x9b5m\ty\x7f: unknown\nsecond line")
    expected = r"column \x1b[2Jx\x9b5m\x09y\x7f: unknown" + "\nsecond line"
    assert failure.value.message == expected
