from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.ingest.event_buffer import EventBuffer
from app.ingest.log_parser import ONE_TO_FIVE
from app.ingest.store_writer import open_writer

from .contents import contents
from .lines import make_lines


def collect(store: Path, blocks: list[list[str]], batch: int) -> EventBuffer:
    with open_writer(store, buckets=4) as writer:
        collector = EventBuffer(writer, ONE_TO_FIVE, batch)
        for lines in blocks:
            collector.add_lines(lines)
            if collector.is_full:
                collector.flush()
        collector.flush()
    return collector


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.differing_executors])
@given(seed=st.integers(0, 2**32), cut=st.integers(0, 400), batch=st.sampled_from([1, 150, 10**6]))
def test_batches_order_and_repetition_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cut: int, batch: int
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    lines = make_lines(Random(seed), 400, 0.2)
    collect(folder / "once", [lines], 10**6)
    shuffled = Random(seed + 1).sample(lines, len(lines))
    for _ in range(2):
        collect(folder / "often", [lines[cut:], shuffled[:cut], lines[:cut], []], batch)
    once, often = contents(folder / "once"), contents(folder / "often")
    assert once[0].equals(often[0])
    assert once[1].equals(often[1])


def test_repaired_events_are_counted_once_each(tmp_path: Path) -> None:
    good = [f"2022-11-14T12:24,{user},GET /data/m/up+2009/1.mpg" for user in range(60)]
    lost = [
        "2022-11-14T12:24,1,GET /data/m/u p+2009/1.mpg",
        "2022-11-14T12:24,1,GET /data/m/u p+2009/2.mpg",
        "2022-11-14T12:24,1,GET /rate/uup+2009=3",
        "2022-11-14T12:24,1,GET /data/m/Nowhere/1.mpg",
    ]
    collector = collect(tmp_path, [good, lost], 10)
    assert collector.counts["rejected"] == 3
    assert collector.count_repaired({"u p+2009": "up+2009", "uup+2009": "up+2009"}) == 3


def test_positions_go_with_the_events_they_belong_to(tmp_path: Path) -> None:
    with open_writer(tmp_path, buckets=4) as writer:
        collector = EventBuffer(writer, ONE_TO_FIVE, max_events=2)
        for offset in range(3):
            collector.add_lines([f"2022-11-14T12:24,{offset},GET /data/m/up+2009/1.mpg"])
            if collector.is_full:
                collector.flush({"movielog1-0": offset + 1})
    assert writer.manifest.offsets == {"movielog1-0": 2}
    assert contents(tmp_path)[0]["user_id"].to_list() == [0, 1]
