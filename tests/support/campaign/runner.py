"""Runs one schedule: load, faults at their moments, recovery, and the records afterwards."""

import dataclasses
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import requests
from kafka import KafkaConsumer, TopicPartition

from app.ingest.kafka.consumer import GROUP_ID
from tests.conftest import ROOT
from tests.support.campaign import readers
from tests.support.campaign.faults import FAULTS, NotPossibleError
from tests.support.campaign.invariants import (
    MAX_RECOVERY_SECONDS,
    check,
    check_messages,
    find_excuses,
    is_excused,
    is_late,
    is_ok,
    summarize,
)
from tests.support.campaign.observers import (
    SIMULATION_SPEED,
    Load,
    Messages,
    Observer,
    Simulator,
    SingleLines,
)
from tests.support.campaign.records import AppliedFault, Records
from tests.support.campaign.schedule import SLOTS, PlannedFault, Schedule
from tests.support.campaign.system import System
from tests.support.shipper import count_spooled_records, wait_until_shipped
from tests.support.stack import URL
from tests.support.stream import BROKER, wait_until_collected
from tests.support.waiting import eventually

#: Lines and records that may wait while load and stream run: those of some seconds.
_MAX_LAG_LINES, _MAX_WAITING_SECONDS = 20_000, 10
#: Requests after which every slot has been seen, with a chance of one in 10^5 to miss the canary.
_PROBES = 50
_MESSAGE_SECONDS = 180.0
_TARGETS = 5000


@dataclass
class Options:
    """What is equal in all runs of a campaign.

    Attributes:
        topic: of the stream.
        users: users of the load.
        rate: requests in a second.
        judges_lateness: whether late responses count.
        patience: factor of the limits of waiting, for a machine that runs other programs.
        simulates: whether `marquee simulate` runs beside the load.
    """

    topic: str
    users: list[int]
    rate: int
    judges_lateness: bool = True
    patience: float = 1.0
    simulates: bool = True


@dataclass
class RunResult:
    """The result of a run, as it is stored and added up.

    Attributes:
        commit: of the tree and of the stack.
        schedule: that was run.
        faults: as they were done.
        requests: of the load: sent, ok, late, excused, failed; of the simulator.
        recovery_seconds: from the end of the last fault or job until all was well; None: never.
        counts: of answers, lines and so on.
        violations: by invariant.
    """

    commit: str
    schedule: dict[str, Any]
    faults: list[dict[str, Any]]
    requests: dict[str, Any]
    recovery_seconds: float | None
    counts: dict[str, Any]
    violations: dict[str, list[str]]
    started_at: float
    seconds: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)


class Campaign:
    """Runs of schedules in one stack, one after the other.

    Args:
        system: the stack.
        options: of all runs.
        directory: for files of a run.
        day: simulated days that the stream has had already.
    """

    def __init__(self, system: System, options: Options, directory: Path, day: float = 0) -> None:
        self._system = system
        self._options = options
        self._directory = directory
        self._day = day
        self._messages = Messages()
        system.save_mails = self._messages.read_inside
        #: Of the last run.
        self.records = Records(0, 0, 0)
        self._known_images: frozenset[str] = frozenset()
        #: Services that run when all is well: not those that end by themselves.
        self._expected = {
            service
            for service, container in system.containers().items()
            if container.state == "running"
        }
        self._base = ""
        if system.deployment:
            self._base = readers.git_in(system.deployment.origin, "rev-parse", "HEAD")

    def run(self, schedule: Schedule, commit: str) -> RunResult:
        """Run a schedule and check what it left behind."""
        run = _Run(self._system, self._options, schedule, self._messages, self._expected)
        run.require_well()
        started_at = time.time()
        try:
            records, simulator = run.execute(self._directory, self._day, self._base)
        finally:
            self._day += (time.time() - started_at) * SIMULATION_SPEED / 86_400
        records.known_images = self._known_images
        self._known_images |= {
            sample.image for sample in records.slots if sample.slot in ("stable-1", "stable-2")
        }
        self.records = records
        violations = check(records)
        result = summarize_run(records, schedule, commit, violations)
        result.requests["simulator"] = simulator
        result.recovery_seconds = (
            round(records.recovered_at - run.quiet_at, 1) if records.recovered_at else None
        )
        result.counts["not well"] = run.unwell
        result.options = {"rate": self._options.rate, "patience": self._options.patience,
                          "judges_lateness": self._options.judges_lateness}  # fmt: skip
        result.seconds = round(time.time() - started_at, 1)
        return result


class _Run:
    """One run of a schedule."""

    def __init__(
        self,
        system: System,
        options: Options,
        schedule: Schedule,
        messages: Messages,
        expected: set[str],
    ) -> None:
        self._system = system
        self._options = options
        self._schedule = schedule
        self._messages = messages
        self._applied: list[AppliedFault] = []
        self._expected = expected
        #: When the last fault and the last job had ended.
        self.quiet_at = 0.0
        #: What is not well yet.
        self.unwell: list[str] = []

    def execute(self, directory: Path, day: float, base: str) -> tuple[Records, dict[str, Any]]:
        """Run, wait until all is well, and read the records."""
        options = self._options
        first_offset = readers.read_end_offset(options.topic)
        self._system.jobs.clear()
        users = Random(self._schedule.seed).choices(options.users, k=_TARGETS)
        simulator = (
            Simulator(options.topic, self._schedule.seed, day, directory)
            if options.simulates
            else None
        )
        lines = SingleLines(options.topic, self._schedule.seed)
        observer = Observer(self._messages)
        load = Load(directory, users, options.rate)
        started_at = time.time()
        try:
            self._apply_faults(started_at)
            self._system.wait_for_jobs()
            self.quiet_at = time.time()
            recovered_at = self._wait_until_well()
            self._retrain_after_kill()
        finally:
            summary = simulator.stop() if simulator else {}
            lines.stop()
            hits = load.stop()
            ended_at = time.time()
            # The samples of a promotion that has just ended.
            time.sleep(5)
            observer.stop()
        limit = MAX_RECOVERY_SECONDS * options.patience
        with suppress(AssertionError):  # what is missing is a violation
            wait_until_collected(options.topic, limit)
            eventually(wait_until_shipped_once, limit, "an empty spool", 1)
        records = Records(
            started_at=started_at,
            ended_at=ended_at,
            recovered_at=recovered_at,
            judges_lateness=options.judges_lateness,
            faults=sorted(self._applied, key=lambda fault: fault.number),
            requests=hits,
            sent_lines=list(lines.confirmed),
            single_users=frozenset(lines.users),
            slots=observer.slots,
            alerts=dict(observer.alerts),
            watched=observer.watched,
        )
        self._read(records, first_offset, base)
        return records, summary

    # -- faults ----------------------------------------------------------------------------------

    def _apply_faults(self, started_at: float) -> None:
        threads = [
            threading.Thread(target=self._apply, args=(planned, started_at), daemon=True)
            for planned in self._schedule.faults
        ]
        for thread in threads:
            thread.start()
        end = started_at + self._schedule.minutes * 60
        time.sleep(max(0.0, end - time.time()))
        for thread in threads:
            thread.join(MAX_RECOVERY_SECONDS)
        assert not any(thread.is_alive() for thread in threads), "a fault does not end"

    def _apply(self, planned: PlannedFault, started_at: float) -> None:
        """Do a fault at its moment; what prevents it is kept in the record."""
        time.sleep(max(0.0, started_at + planned.start - time.time()))
        fault = FAULTS[planned.kind](self._system, planned)
        began_at, skipped, errors = time.time(), "", []
        try:
            fault.begin()
        except NotPossibleError as error:
            skipped = str(error)
        except Exception as error:  # noqa: BLE001 - its end is needed all the same
            errors.append(f"begin: {error!r}"[:300])
        if not skipped:
            time.sleep(planned.seconds)
            try:
                fault.end()
            except Exception as error:  # noqa: BLE001 - kept in the record
                errors.append(f"end: {error!r}"[:300])
        self._applied.append(
            AppliedFault(
                planned.number, planned.kind, planned.target, began_at, time.time(),
                "; ".join(filter(None, [fault.note, *errors])), skipped,
            )
        )  # fmt: skip

    # -- recovery --------------------------------------------------------------------------------

    def _wait_until_well(self) -> float:
        """Wait until all is well; return the moment, 0 if that is not reached within the limit."""
        deadline = time.monotonic() + MAX_RECOVERY_SECONDS * self._options.patience
        while time.monotonic() < deadline:
            self.unwell = self._find_unwell()
            if not self.unwell:
                return time.time()
            time.sleep(1)
        return 0.0

    def require_well(self) -> None:
        """Wait until all is well after the run before.

        Raises:
            AssertionError: it is not, so that a run would find what another one has left.
        """
        assert self._wait_until_well(), f"not well before the run: {self.unwell}"

    def _find_unwell(self) -> list[str]:
        """Return what is not well yet."""
        checks: dict[str, Callable[[], bool]] = {
            "containers run": self._are_containers_running,
            "every slot gets requests": _do_all_slots_respond,
            "few records wait": lambda: (
                count_spooled_records() <= _MAX_WAITING_SECONDS * self._options.rate
            ),
            "Prometheus has new samples": self._system.stack.has_new_samples,
            "few lines wait": lambda: read_lag(self._options.topic) <= _MAX_LAG_LINES,
            "no release is in progress": lambda: (
                not self._system.deployment or not self._system.is_release_in_progress()
            ),
        }
        unwell = []
        for name, is_well in checks.items():
            try:
                if not is_well():
                    unwell.append(name)
            except Exception as error:  # noqa: BLE001 - not well
                unwell.append(f"{name}: {error!r}"[:200])
        return unwell

    def _are_containers_running(self) -> bool:
        containers = self._system.containers()
        return all(
            service in containers and containers[service].state == "running"
            for service in self._expected
        )

    def _retrain_after_kill(self) -> None:
        """The run after a killed retraining reports it, and publishes what was committed."""
        ends = readers.describe_retrainings(self._system.jobs)
        if ends and ends[-1].status == "killed":
            self._system.start_retraining()
            self._system.wait_for_jobs()

    # -- records ---------------------------------------------------------------------------------

    def _read(self, records: Records, first_offset: int, base: str) -> None:
        """Read what the run left behind into its records."""
        system, topic = self._system, self._options.topic
        records.lines = readers.read_lines(topic, first_offset)
        records.stored = readers.read_store(system, readers.find_users(records.lines))
        records.answers = readers.read_answers(system.stack, records.started_at - 1)
        records.dropped = readers.read_dropped(records.started_at, time.time())
        records.usage, records.killed_for_memory = readers.read_usage(system)
        records.retrainings = readers.describe_retrainings(system.jobs)
        if system.deployment:
            clone, origin = system.releases.clone, system.deployment.origin
            records.releases = readers.read_releases(clone, records.started_at)
            remote = system.deployment.directory / "versions"
            records.versions = readers.read_versions(origin, base, remote)
            with suppress(AssertionError):  # a missing message is a violation
                eventually(
                    lambda: self._has_all_messages(records),
                    _MESSAGE_SECONDS * self._options.patience, "all messages", 5,
                )  # fmt: skip
        records.messages = list(self._messages)

    def _has_all_messages(self, records: Records) -> bool:
        with suppress(OSError, ValueError):
            self._messages.read()
        return not check_messages(dataclasses.replace(records, messages=list(self._messages)))


def _do_all_slots_respond() -> bool:
    with requests.Session() as session:
        responses = [
            session.get(f"{URL}/recommend/{user}", timeout=2).headers.get("X-Slot")
            for user in range(_PROBES)
        ]
    return set(responses) == set(SLOTS)


def read_lag(topic: str) -> int:
    """Return how many lines the collector has not stored yet."""
    partition = TopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=BROKER, group_id=GROUP_ID, enable_auto_commit=False)
    with closing(consumer):
        return int(consumer.end_offsets([partition])[partition]) - int(
            consumer.committed(partition) or 0
        )


def wait_until_shipped_once() -> bool:
    """Return whether no record waits."""
    with suppress(AssertionError):
        wait_until_shipped()
        return True
    return False


# -- results -------------------------------------------------------------------------------------


def summarize_run(
    records: Records, schedule: Schedule, commit: str, violations: dict[str, list[str]]
) -> RunResult:
    """Return what is kept of the records."""
    excuses = find_excuses(records.faults)
    failed = [request for request in records.requests if not is_ok(request)]
    excused = sum(is_excused(request, excuses) for request in failed)
    return RunResult(
        commit=commit,
        schedule=json.loads(schedule.to_json()),
        faults=[asdict(fault) for fault in records.faults],
        requests={
            "sent": len(records.requests),
            "ok": len(records.requests) - len(failed),
            "excused": excused,
            "late": sum(
                is_late(request) and not is_excused(request, excuses) for request in failed
            ),
            "failed": sum(
                not is_late(request) and not is_excused(request, excuses) for request in failed
            ),
        },
        recovery_seconds=None,
        counts={
            "answers": sum(request.status == 200 for request in records.requests),
            "rows": len(records.answers),
            "dropped": records.dropped,
            "lines": len(records.lines),
            "single lines": len(records.sent_lines),
            "versions": len(records.versions),
            "retrainings": dict(Counter(end.status for end in records.retrainings)),
            "releases": dict(
                Counter(e.outcome for e in records.releases if e.event == "release_completed")
            ),
            "messages": len(records.messages),
            "alerts": sorted(records.alerts),
        },
        violations=violations,
        started_at=records.started_at,
    )


def results_directory(commit: str) -> Path:
    """Return where the results of a commit are."""
    return ROOT / "build" / "campaign" / commit


def describe_failure(schedule: Schedule, result: RunResult) -> str:
    """Return the violations of a run, its schedule, and how to repeat it and make it smaller."""
    repeat = f"make campaign SEEDS={schedule.seed} MINUTES={schedule.minutes:g} FRESH=1"
    applied = [
        f"{fault['number']:3}  {fault['kind']} {fault['target']}"
        f"  {fault['note'] or fault['skipped']}".rstrip()
        for fault in result.faults
    ]
    halves = [",".join(str(f.number) for f in half.faults) for half in schedule.halves()]
    return "\n".join(
        [
            summarize(result.violations), "", str(schedule), "", *applied, "",
            f"repeat:  {repeat}",
            *(f"shrink:  {repeat} KEEP={numbers}" for numbers in halves),
        ]
    )  # fmt: skip


def read_environment(name: str, default: str) -> str:
    """Return a setting of the campaign: MARQUEE_CAMPAIGN_<name>."""
    return os.environ.get(f"MARQUEE_CAMPAIGN_{name}") or default
