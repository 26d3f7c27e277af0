"""The thread that sends pending messages, and the metrics of the scheduler's outbox."""

from pathlib import Path
from threading import Event

import pytest
from prometheus_client import CollectorRegistry

from app.auto_deployment.scheduler import RetrainMetrics, Scheduler
from app.notifications.flusher import OutboxFlusher
from app.notifications.notifier import DeliveryResult, Notifier
from app.settings import Settings, read_settings
from tests.support.mailbox import Mailbox
from tests.support.waiting import eventually
from tests.unit.notifications.conftest import notify, waiting


def read_metric(settings: Settings, name: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(RetrainMetrics(settings, Scheduler(settings, lambda _stop: None)))
    return registry.get_sample_value(f"marquee_notification_{name}_messages")


def test_pending_messages_are_sent_without_a_further_one(
    mailbox: Mailbox, outbox: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MARQUEE_WORKSPACE_DIR", str(tmp_path))
    settings = read_settings()
    mailbox.stop()
    notify("--subject", "Hello")
    assert read_metric(settings, "outbox") == 2
    flusher = OutboxFlusher(settings, stop := Event(), interval_seconds=0.05)
    flusher.start()
    mailbox.start()
    eventually(lambda: not waiting(outbox), 30, "an empty outbox")
    mailbox.replies["boss@localhost"] = "550 no such user"
    notify("--subject", "Next")
    stop.set()
    flusher.join()
    assert (read_metric(settings, "outbox"), read_metric(settings, "undeliverable")) == (0, 1)
    assert mailbox.subjects == ["Hello", "Hello", "Next"]


def test_wrong_settings_do_not_end_the_thread(
    outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARQUEE_MAIL_TO", "")
    flusher = OutboxFlusher(read_settings(), stop := Event(), interval_seconds=0.01)
    flusher.start()
    flusher.join(0.2)
    assert flusher.is_alive()
    stop.set()
    flusher.join()


def test_an_unforeseen_error_does_not_end_the_thread(
    mailbox: Mailbox, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox.stop()
    notify("--subject", "Hello")
    flush, passes = Notifier.flush, iter(range(1000))

    def fail_at_first(notifier: Notifier) -> DeliveryResult:
        if next(passes) == 0:
            raise ArithmeticError
        return flush(notifier)

    monkeypatch.setattr(Notifier, "flush", fail_at_first)
    mailbox.start()
    flusher = OutboxFlusher(read_settings(), stop := Event(), interval_seconds=0.01)
    flusher.start()
    eventually(lambda: not waiting(outbox), 30, "an empty outbox")
    stop.set()
    flusher.join()
