"""The simulated feedback loop: a small case of `python -m bench.feedback_loop`."""

from pathlib import Path

import numpy as np

from bench.feedback_loop.page import draw, summarize, write_tables
from bench.feedback_loop.run import Size, run_part
from bench.feedback_loop.systems import SYSTEMS

SIZE = Size(retrainings=2, visits=60, users=120)


def test_systems_are_simulated_compared_and_drawn(tmp_path: Path) -> None:
    parts = [run_part(system, 1, SIZE, tmp_path / "parts") for system in SYSTEMS]
    by_name = {part["system"]: part["days"] for part in parts}
    assert {len(days) for days in by_name.values()} == {2}
    last = {name: days[-1] for name, days in by_name.items()}
    assert last["popularity"]["similarity"] == 1
    assert last["none"]["gini"] is None
    assert last["none"]["groups"]["all"]["caused"] == 0
    assert last["random"]["gini"] < last["marquee"]["gini"] < last["popularity"]["gini"]
    chosen = {name: day["groups"]["all"]["chosen"] for name, day in last.items()}
    assert chosen["marquee"] > chosen["none"]
    assert last["exploration"] != last["marquee"]
    # One of about 580 other movies at each of two places.
    propensities = {part["system"]: part["propensities"] for part in parts}
    explored = propensities.pop("exploration")
    assert explored
    assert all(2 / 600 < share < 2 / 500 for share in explored)
    assert not any(propensities.values())
    # The same users, movies and visits in every system.
    first = {name: days[0]["groups"]["all"]["visits"] for name, days in by_name.items()}
    assert len(set(first.values())) == 1

    tables = write_tables(summarize(parts))
    assert "| popularity | " in tables
    draw(parts, tmp_path / "loop.png")
    assert (tmp_path / "loop.png").stat().st_size > 10_000


def test_a_finished_part_is_not_run_again_except_with_another_size(tmp_path: Path) -> None:
    none = next(system for system in SYSTEMS if system.kind == "none")
    first = run_part(none, 1, SIZE, tmp_path)
    path = tmp_path / "none-1.json"
    path.write_text(path.read_text().replace('"seconds": ', '"seconds": 1000'))
    assert run_part(none, 1, SIZE, tmp_path)["seconds"] >= 1000, "read from its file"
    again = run_part(none, 1, Size(retrainings=1, visits=60, users=120), tmp_path)
    assert again["days"] == first["days"][:1]
    assert np.isfinite(again["seconds"])
