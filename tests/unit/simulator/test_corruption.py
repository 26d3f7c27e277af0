from collections import Counter

import pytest

from app.ingest.log_parser import (
    Account,
    InvalidLine,
    Rating,
    Recommendation,
    Watch,
    parse_line,
)
from app.simulator import log_format
from app.simulator.corruption import Damage, DamageRates

KINDS = {
    "watches": (Watch, "2022-11-14T12:24,388907,GET /data/m/a+golden+river-in-law+2014/42.mpg"),
    "ratings": (Rating, log_format.rating("2022-11-14T12:24:01", 7, "alien+1979", 4)),
    "accounts": (Account, log_format.account("2022-11-14T12:24:01", 7)),
    "recommendations": (
        Recommendation,
        log_format.recommendation(
            "2022-11-14T12:24:00.123", "7", "host:8082", (200, "a, b+1999", 12)
        ),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["inserted", "random"])
def test_a_damaged_line_is_refused_for_the_reason_that_was_said(kind: str, how: str) -> None:
    event, line = KINDS[kind]
    assert isinstance(parse_line(line), event)
    damage = Damage(1, DamageRates())
    seen: Counter[str | None] = Counter()
    for _ in range(3000):
        hit = damage.hit(kind, line, how)
        found = parse_line(hit.line)
        if hit.reason is None:
            assert isinstance(found, event), hit.line
        else:
            assert isinstance(found, InvalidLine), hit.line
            assert found.reason == hit.reason, hit.line
        seen[hit.reason] += 1
    assert set(seen) >= ({"movie"} if how == "random" and kind in lines_with_movies() else {"time"})


def lines_with_movies() -> set[str]:
    return {"watches", "ratings"}


@pytest.mark.parametrize("share", [0.0, 0.002, 0.3, 1.0])
def test_as_many_lines_are_hit_as_the_settings_say(share: float) -> None:
    damage = Damage(2, DamageRates(inserted=share, random_ids=0))
    hits = sum(len(damage.pick(count)) for count in [1, 7, 100, 0, 40] * 1000)
    assert hits == pytest.approx(148_000 * share, rel=0.15)


def test_a_line_is_hit_once_at_most() -> None:
    damage = Damage(2, DamageRates(inserted=1.0, random_ids=1.0))
    assert [at for at, _ in damage.pick(10)] == list(range(10))
