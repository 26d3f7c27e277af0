import click
import pytest

from app.durations import Duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("12h", 43_200), ("2d", 172_800)]
)
def test_a_duration_is_converted_to_seconds(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "15", "0m", "-1s", "1.5h", "15 m", "1w"])
def test_any_other_text_is_wrong_usage(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a duration such as 90s"):
        Duration().convert(text, None, None)
