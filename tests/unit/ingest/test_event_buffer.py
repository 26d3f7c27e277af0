from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.ingest.event_buffer import EventBuffer
from app.ingest.log_parser import ONE_TO_FIVE
from app.ingest.store_writer import open_writer
from tests.support.store_contents import read_store

from .log_lines import make_lines


def ingest(store: Path, batches: list[list[str]], max_events: int) -> EventBuffer:
    with open_writer(store, buckets=4) as writer:
        buffer = EventBuffer(writer, ONE_TO_FIVE, max_events)
        for lines in batches:
            buffer.add_lines(lines)
            if buffer.is_full:
                buffer.flush()
        buffer.flush()
    return buffer


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.differing_executors])
@given(
    seed=st.integers(0, 2**32), cut=st.integers(0, 400), max_events=st.sampled_from([1, 150, 10**6])
)
def test_batch_size_order_and_repetition_do_not_change_the_store(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cut: int, max_events: int
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    lines = make_lines(Random(seed), 400, 0.2)
    ingest(folder / "once", [lines], 10**6)
    shuffled = Random(seed + 1).sample(lines, len(lines))
    for _ in range(2):
        ingest(folder / "often", [lines[cut:], shuffled[:cut], lines[:cut], []], max_events)
    once, often = read_store(folder / "once"), read_store(folder / "often")
    assert once[0].equals(often[0])
    assert once[1].equals(often[1])


def test_each_repaired_event_counts_once(tmp_path: Path) -> None:
    valid = [f"2022-11-14T12:24,{user},GET /data/m/up+2009/1.mpg" for user in range(60)]
    corrupted = [
        "2022-11-14T12:24,1,GET /data/m/u p+2009/1.mpg",
        "2022-11-14T12:24,1,GET /data/m/u p+2009/2.mpg",
        "2022-11-14T12:24,1,GET /rate/uup+2009=3",
        "2022-11-14T12:24,1,GET /data/m/Nowhere/1.mpg",
    ]
    buffer = ingest(tmp_path, [valid, corrupted], 10)
    assert buffer.counts["rejected"] == 3
    assert buffer.count_repaired({"u p+2009": "up+2009", "uup+2009": "up+2009"}) == 3


def test_offsets_are_committed_with_their_events(tmp_path: Path) -> None:
    with open_writer(tmp_path, buckets=4) as writer:
        buffer = EventBuffer(writer, ONE_TO_FIVE, max_events=2)
        for offset in range(3):
            buffer.add_lines([f"2022-11-14T12:24,{offset},GET /data/m/up+2009/1.mpg"])
            if buffer.is_full:
                buffer.flush({"movielog1-0": offset + 1})
    assert writer.manifest.offsets == {"movielog1-0": 2}
    assert read_store(tmp_path)[0]["user_id"].to_list() == [0, 1]
