import errno
import os
from typing import Any

import pytest

from app.provenance import spool_writer
from app.provenance.spool_reader import SpoolReader
from app.provenance.spool_writer import (
    SEGMENT_BYTES,
    drop_oldest_segments,
    list_segments,
    lock_finished_segment,
)
from tests.support.provenance import Environment, encoded

RECORD = encoded()


def count_records(environment: Environment) -> int:
    reader = SpoolReader(environment.spool)
    return sum(
        len(batch.records)
        for segment in list_segments(environment.spool)
        for batch in reader.read_batches(segment, 1000)
    )


def test_a_record_can_be_read_once_append_returns(environment: Environment) -> None:
    environment.writer().append(RECORD)
    assert count_records(environment) == 1
    assert len(list(environment.spool.glob("*.info.json"))) == 1


def test_a_full_segment_is_followed_by_another(environment: Environment) -> None:
    writer = environment.writer()
    records = 2 * SEGMENT_BYTES // len(RECORD)
    for _ in range(records):
        writer.append(RECORD)
    segments = list_segments(environment.spool)
    assert len(segments) == 3
    assert all(path.stat().st_size <= SEGMENT_BYTES for path in segments)
    assert count_records(environment) == records


def test_a_segment_can_be_locked_only_after_its_writer_has_closed_it(
    environment: Environment,
) -> None:
    writer = environment.writer()
    writer.append(RECORD)
    (segment,) = list_segments(environment.spool)
    assert lock_finished_segment(segment) is None
    writer.close()
    descriptor = lock_finished_segment(segment)
    assert descriptor is not None
    os.close(descriptor)


def test_beyond_the_bound_the_oldest_segments_are_dropped_and_counted(
    environment: Environment,
) -> None:
    writer = environment.writer(max_bytes=4 * SEGMENT_BYTES)
    written = 6 * SEGMENT_BYTES // len(RECORD)
    for _ in range(written):
        writer.append(RECORD)
    dropped = sum(records for reason, records in environment.dropped if reason == "spool_full")
    assert dropped > 0
    assert count_records(environment) + dropped == written
    sizes = [path.stat().st_size for path in list_segments(environment.spool)]
    assert sum(sizes) <= 4 * SEGMENT_BYTES


def test_a_segment_in_use_is_never_dropped(environment: Environment) -> None:
    writer = environment.writer()
    writer.append(RECORD)
    assert drop_oldest_segments(environment.spool, max_bytes=0) == 0
    assert count_records(environment) == 1


def test_on_a_full_disk_records_are_counted_as_dropped_until_a_retry_succeeds(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = environment.writer()
    clock = [100.0]
    monkeypatch.setattr(spool_writer, "monotonic", lambda: clock[0])

    def disk_full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", disk_full)
        writer.append(RECORD)
    writer.append(RECORD)  # within a second: no retry
    clock[0] += 1.1
    writer.append(RECORD)
    assert environment.dropped == [("write_failed", 1), ("write_failed", 1)]
    assert count_records(environment) == 1
    assert not list(environment.spool.glob(".*"))


def test_a_forked_process_writes_a_segment_of_its_own(environment: Environment) -> None:
    writer = environment.writer()
    writer.append(RECORD)
    child = os.fork()
    if child == 0:
        writer.append(RECORD)
        os._exit(0)
    os.waitpid(child, 0)
    writer.append(RECORD)
    assert len(list_segments(environment.spool)) == 2
    assert count_records(environment) == 3


def test_closing_a_segment_frees_its_unused_space(environment: Environment) -> None:
    writer = environment.writer()
    writer.append(RECORD)
    (segment,) = list_segments(environment.spool)
    assert segment.stat().st_size == SEGMENT_BYTES
    writer.close()
    assert segment.stat().st_size < 2 * len(RECORD) + 200
    assert count_records(environment) == 1


def test_a_directory_that_cannot_be_created_drops_records_without_an_exception(
    environment: Environment,
) -> None:
    environment.spool.parent.mkdir(exist_ok=True)
    environment.spool.write_text("a file where the spool should be")
    writer = environment.writer()
    writer.write_instance_info()
    writer.append(RECORD)
    assert environment.dropped == [("write_failed", 1)]
