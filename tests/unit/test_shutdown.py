import signal
from collections.abc import Iterator

import pytest

from app.shutdown import SIGTERM_EXIT_STATUS, exit_on_sigterm, stop_event


@pytest.fixture(autouse=True)
def restored_handlers() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_stop_event(number: signal.Signals) -> None:
    stop = stop_event()
    assert not stop.is_set()
    signal.raise_signal(number)
    assert stop.is_set()


def test_sigint_can_be_ignored() -> None:
    stop = stop_event(ignore_sigint=True)
    signal.raise_signal(signal.SIGINT)
    assert not stop.is_set()


def test_sigterm_can_exit_so_that_finally_blocks_run() -> None:
    exit_on_sigterm()
    with pytest.raises(SystemExit) as caught:
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.code == SIGTERM_EXIT_STATUS == 143
