"""A source keeps what it read last, and since when it is away."""

import time
from threading import Event, Thread

import pytest

from app.console import sources
from app.console.sources import Reading, Source, SourceError, start_refreshing
from tests.support.waiting import eventually


class Changing:
    """Returns a value or raises an error."""

    result: int | Exception = 1

    def read(self) -> int:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def test_a_source_that_fails_keeps_its_value_and_the_time_of_the_first_failure() -> None:
    changing = Changing()
    source = Source("a", changing.read, 1, "b")
    assert source.get().error == "not read yet"
    source.refresh()
    first = source.get()
    assert (first.value, first.is_away) == (1, False)
    changing.result = SourceError("it does not respond")
    source.refresh()
    away = source.get()
    assert (away.value, away.read_at, away.error) == (1, first.read_at, "it does not respond")
    source.refresh()
    assert source.get().failing_since == away.failing_since
    changing.result = 2
    source.refresh()
    assert source.get() == Reading(2, source.get().read_at)


def test_an_unexpected_error_is_named_by_its_type_only() -> None:
    changing = Changing()
    changing.result = ValueError("a password, perhaps")
    source = Source("a", changing.read, 1, "b")
    source.refresh()
    assert source.get().error == "unexpected ValueError"


def test_an_attempt_that_hangs_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_ATTEMPT_SECONDS", 0.01)
    finish = Event()
    source = Source("a", lambda: finish.wait(60), 1, "b")
    thread = Thread(target=source.refresh)
    thread.start()
    try:
        eventually(lambda: source.get().error == "no answer in time", 20, source.get)
        assert (source.get().failing_since or 0) <= time.time()
    finally:
        finish.set()
        thread.join()
    assert not source.get().is_away


def test_a_source_is_refreshed_until_the_stop() -> None:
    stop, count = Event(), iter(range(1000))
    source = Source("a", lambda: next(count), 0.001, "b")
    start_refreshing(source, stop)
    eventually(lambda: (source.get().value or 0) > 3, 20, source.get)
    stop.set()
