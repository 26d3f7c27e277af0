import errno
import os
from pathlib import Path
from typing import Any

import pytest

from app.provenance import spool_writer
from app.provenance.record_format import answer_frame
from app.provenance.spool_reader import Backlog
from app.provenance.spool_writer import SEGMENT_BYTES, drop_oldest, segments, try_lock
from tests.unit.provenance.conftest import Place, answered

RECORD = answer_frame(*answered())


def waiting(place: Place) -> int:
    backlog = Backlog(place.queue)
    return sum(len(p.records) for s in segments(place.queue) for p in backlog.pieces(s, 1000))


def test_a_record_is_there_once_append_returns(place: Place) -> None:
    recorder = place.recorder()
    recorder.append(RECORD)
    assert waiting(place) == 1
    assert len(list(place.queue.glob("*.about"))) == 1


def test_a_full_segment_is_followed_by_another(place: Place) -> None:
    recorder = place.recorder()
    records = 2 * SEGMENT_BYTES // len(RECORD)
    for _ in range(records):
        recorder.append(RECORD)
    assert len(segments(place.queue)) == 3
    assert all(path.stat().st_size <= SEGMENT_BYTES for path in segments(place.queue))
    assert waiting(place) == records


def test_only_a_segment_whose_writer_is_gone_can_be_locked(place: Place) -> None:
    recorder = place.recorder()
    recorder.append(RECORD)
    (segment,) = segments(place.queue)
    assert try_lock(segment) is None
    recorder.close()
    descriptor = try_lock(segment)
    assert descriptor is not None
    os.close(descriptor)


def test_beyond_its_bound_the_oldest_go_and_are_counted(place: Place) -> None:
    recorder = place.recorder(max_bytes=4 * SEGMENT_BYTES)
    written = 6 * SEGMENT_BYTES // len(RECORD)
    for _ in range(written):
        recorder.append(RECORD)
    dropped = sum(records for kind, records in place.lost if kind == "dropped")
    assert dropped > 0
    assert waiting(place) + dropped == written
    assert sum(p.stat().st_size for p in segments(place.queue)) <= 4 * SEGMENT_BYTES


def test_a_segment_in_use_is_never_dropped(place: Place) -> None:
    recorder = place.recorder()
    recorder.append(RECORD)
    assert drop_oldest(place.queue, max_bytes=0) == 0
    assert waiting(place) == 1


def test_a_full_disk_is_counted_and_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = place.recorder()
    clock = [100.0]
    monkeypatch.setattr(spool_writer, "monotonic", lambda: clock[0])

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "posix_fallocate", full)
        recorder.append(RECORD)
    recorder.append(RECORD)  # within the second: not tried
    clock[0] += 1.1
    recorder.append(RECORD)
    assert place.lost == [("failed", 1), ("failed", 1)]
    assert waiting(place) == 1
    assert not list(place.queue.glob(".*"))


def test_a_forked_process_has_a_segment_of_its_own(place: Place) -> None:
    recorder = place.recorder()
    recorder.append(RECORD)
    child = os.fork()
    if child == 0:
        recorder.append(RECORD)
        os._exit(0)
    os.waitpid(child, 0)
    recorder.append(RECORD)
    assert len(segments(place.queue)) == 2
    assert waiting(place) == 3


def test_a_closed_segment_gives_back_what_it_did_not_use(place: Place) -> None:
    recorder = place.recorder()
    recorder.append(RECORD)
    (segment,) = segments(place.queue)
    assert segment.stat().st_size == SEGMENT_BYTES
    recorder.close()
    assert segment.stat().st_size < 2 * len(RECORD) + 200
    assert waiting(place) == 1


def test_a_directory_that_cannot_be_written_loses_no_answer(place: Place, tmp_path: Path) -> None:
    place.queue.parent.mkdir(exist_ok=True)
    place.queue.write_text("a file where the queue should be")
    recorder = place.recorder()
    recorder.tell()
    recorder.append(RECORD)
    assert place.lost == [("failed", 1)]
