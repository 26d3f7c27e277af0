"""How values are written, and where the pictures place them."""

import time

import pytest
from markupsafe import Markup

from app.console import text
from app.console.pictures import draw_check, draw_line


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0.0021, "2.1 ms"), (90, "90 s"), (600, "10 min"), (7200, "2 h"), (400_000, "4.6 days"),
     (-90, "-90 s"), (None, "unknown"), (float("nan"), "unknown"), (float("inf"), "unknown")],
)  # fmt: skip
def test_durations(seconds: float | None, written: str) -> None:
    assert text.duration(seconds) == written


def test_ages_and_moments() -> None:
    now = time.time()
    assert text.age(now - 90) == "90 s ago"
    assert text.age(now + 600.5).startswith("in 10 min")
    assert text.age(0) == text.moment(None) == "never"
    assert text.moment(1e300) == "unknown"
    assert text.moment(1_795_780_800) == (
        '<time datetime="2026-11-27T12:00:00+00:00">2026-11-27 12:00:00 UTC</time>'
    )
    assert "12:00:00 UTC" in text.moment_of_text("2026-11-27T12:00:00.123456Z")
    for other in ("2026-11-27T12:00:00", "<b>", ""):  # without a zone, or no time
        assert text.moment_of_text(other) == other


@pytest.mark.parametrize(
    ("ratio", "written"), [(0.9997, "99.97 %"), (1, "100 %"), (0.2, "20 %"), (None, "unknown")]
)
def test_shares(ratio: float | None, written: str) -> None:
    assert text.percent(ratio) == written


def test_numbers_and_sizes() -> None:
    assert [text.number(n) for n in (1234567, 0.12345, 7.0, None)] == [
        "1,234,567", "0.123", "7", "unknown",
    ]  # fmt: skip
    assert [text.size(n) for n in (12, 2048, 3e9, None)] == [
        "12 bytes", "2 KiB", "2.79 GiB", "unknown",
    ]  # fmt: skip


def test_only_markup_stays_as_it_is() -> None:
    assert text.show_text(None) == "unknown"
    assert text.show_text("a\x1b\u202e\ud800\n") == "a\\x1b\\u202e\\ud800\n"
    assert text.show_text(Markup("<b>\x1b")) == "<b>\x1b"


def test_a_check_is_placed_on_one_scale() -> None:
    check = {"value": 0.03, "stables": 0.01, "interval": [-0.01, 0.03], "limit": 0.05,
             "interval_of": "difference"}  # fmt: skip
    picture = draw_check(check)
    assert picture is not None
    assert picture.value is not None
    assert picture.lower < picture.zero < picture.value < picture.upper < picture.limit
    picture = draw_check({"value": 3, "limit": 3, "interval": None})
    assert picture is not None
    assert picture.value == picture.lower == picture.upper == picture.limit
    for missing in ({"value": 1}, {"limit": 1}, {"limit": "at most 1", "value": 1}, {},
                    {"limit": float("inf"), "value": 1},
                    {"limit": 1, "interval": [None, None]}):  # fmt: skip
        assert draw_check(missing) is None


def test_a_gap_divides_a_line() -> None:
    assert draw_line([1.0, 2.0, None, 3.0, None]) == ["0.0,15.3 40.0,8.7", "120.0,2.0"]
    assert draw_line([None, None]) == draw_line([]) == []
    assert draw_line([0.0, 0.0]) == ["0.0,22.0 160.0,22.0"]
