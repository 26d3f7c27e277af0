"""Schedules of faults, drawn from seeds, under load; what they leave behind is checked outside.

In `make test` one schedule of 24 s with two faults; `make campaign` and `make soak` run whole
campaigns (docs/faults.md).
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.conftest import ROOT
from tests.support.campaign.clocks import describe_services, prepare
from tests.support.campaign.invariants import check
from tests.support.campaign.records import Records
from tests.support.campaign.runner import (
    Campaign,
    Options,
    RunResult,
    describe_failure,
    read_environment,
    results_directory,
)
from tests.support.campaign.schedule import FULL_MINUTES, KINDS, SHORT_KINDS, draw, parse_seeds
from tests.support.campaign.system import System
from tests.support.deployment import Deployment
from tests.support.releases import Releases, ReleaseTimer
from tests.support.soak import IS_SOAK, read_commit
from tests.support.stack import MAIL_SETTINGS, PORTS, Stack
from tests.support.stream import BROKER, send_watches, wait_until_collected

TOPIC = "campaign"
#: Whether whole campaigns run.
IS_CAMPAIGN = IS_SOAK or "MARQUEE_CAMPAIGN_SEEDS" in os.environ
SEEDS = parse_seeds(read_environment("SEEDS", "1-10"))
MINUTES = float(read_environment("MINUTES", "3"))
RATE = int(read_environment("RATE", "50"))
KEEP = [int(number) for number in read_environment("KEEP", "").split(",") if number]
#: 0: late responses do not count, for a machine that runs other programs.
JUDGES_LATENESS = read_environment("LATENESS", "1") != "0"
PATIENCE = float(read_environment("PATIENCE", "1"))
#: The schedule of `make test`: a slot is cut off, and the collector is killed meanwhile.
SHORT_SEED, SHORT_MINUTES, SHORT_RATE = 2107, 0.4, 30
#: Size in MiB and owner of the volumes that are small file systems.
DISKS = {
    "spool": (96, 10001),
    "store": (96, 10001),
    "workspace": (1024, 10001),
    "database": (640, 999),
    "prometheus": (448, 65534),
}
#: Simulated days in the stream before the first run, so that there is something to train on.
FIRST_DAYS = 2
SERVICES = ("kafka", "maildev", "collector", "recent", "scheduler")

campaign_only = pytest.mark.skipif(
    not IS_CAMPAIGN, reason="a long form: make campaign, make soak PART=campaign"
)


# -- short runs, also in `make test` -------------------------------------------------------------


@pytest.fixture(scope="module")
def streaming(stack: Stack) -> Iterator[Stack]:
    """The stack with Kafka, and with a mail server where faults are drawn from seeds."""
    demo_services = ["kafka", *(["maildev"] if IS_CAMPAIGN else [])]
    stack.write_settings({"MARQUEE_KAFKA_SERVERS": "kafka:9092", "MARQUEE_KAFKA_TOPIC": TOPIC})
    services = stack.compose("config", "--services").split()
    stack.compose("--profile", "demo", "up", "-d", "--wait", *services, *demo_services)
    send_watches(TOPIC, 10)
    wait_until_collected(TOPIC)
    yield stack
    (stack.clone / ".env").unlink()
    stack.compose("--profile", "demo", "rm", "--stop", "--force", *demo_services)
    stack.compose("up", "-d", "--wait")


@pytest.fixture(scope="module")
def short_campaign(streaming: Stack, tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Runs without releases, small disks and clocks, in the stack as it is."""
    options = Options(
        TOPIC, list(range(5000)), RATE, judges_lateness=JUDGES_LATENESS, patience=PATIENCE
    )
    return Campaign(System(streaming), options, tmp_path_factory.mktemp("campaign"))


@pytest.mark.skipif(IS_CAMPAIGN, reason="whole campaigns run")
@pytest.mark.timeout(900)
def test_a_short_schedule_violates_nothing(
    streaming: Stack, tmp_path: Path, record_measurement: Callable[[str], None]
) -> None:
    options = Options(
        TOPIC, list(range(5000)), SHORT_RATE, judges_lateness=False, patience=3, simulates=False
    )
    schedule = draw(SHORT_SEED, SHORT_MINUTES, SHORT_KINDS)
    assert [fault.kind for fault in schedule.faults] == ["cut-slot", "kill"]
    campaign = Campaign(System(streaming), options, tmp_path)
    result = campaign.run(schedule, read_commit()[0])
    record_measurement(describe(result))
    assert not result.violations, describe_failure(schedule, result)
    assert not any(fault["skipped"] or fault["note"] for fault in result.faults), result.faults
    check_sensitivity(campaign.records)


def check_sensitivity(records: Records) -> None:
    """Check that one missing or doubled thing in the real records is found."""
    request = next(request for request in records.requests if request.status == HTTPStatus.OK)
    key = (request.request_id, request.slot)
    (answer,) = [row for row in records.answers if (row.request_id, row.slot) == key]
    pair = next(pair for pair in records.stored if pair.user in records.single_users)
    defects: dict[str, Records] = {
        "every answer is recorded once or counted as lost": replace(
            records, answers=[row for row in records.answers if row is not answer]
        ),
        "every line of the stream is stored once": replace(records, stored=[*records.stored, pair]),
        "no slot runs an unjudged image": replace(
            records,
            slots=[*records.slots, replace(records.slots[-1], slot="stable-1", image="another")],
        ),
        "no valid request fails": replace(
            records, requests=[*records.requests, replace(request, status=502)]
        ),
    }
    for invariant, changed in defects.items():
        assert list(check(changed)) == [invariant]


# -- campaigns -----------------------------------------------------------------------------------


@contextmanager
def small_disks(directory: Path) -> Iterator[dict[str, Path]]:
    """Small file systems on the host for volumes; they outlast the containers and Docker itself."""
    with ExitStack() as mounted:
        disks = {}
        for name, (size, owner) in DISKS.items():
            path = directory / name
            path.mkdir(parents=True)
            mount = ["mount", "-t", "tmpfs", "-o", f"size={size}m,uid={owner},gid={owner}",
                     "tmpfs", str(path)]  # fmt: skip
            if subprocess.run(mount, capture_output=True, check=False).returncode:
                break
            mounted.callback(_unmount, path)
            disks[name] = path
        yield disks


def _unmount(path: Path) -> None:
    subprocess.run(["umount", "--lazy", path], check=True)


def describe_overrides(disks: dict[str, Path], clocks: Path | None) -> dict[str, Any]:
    """Return the compose file of the campaign: small volumes, and clocks that can be stepped."""
    volumes = {
        name: {"driver_opts": {"type": "none", "o": "bind", "device": str(path)}}
        for name, path in disks.items()
    }
    return {"volumes": volumes, "services": describe_services(clocks) if clocks else {}}


class _MailServer:
    """Where the release script, which runs on the host, sends its mails: the stack's maildev."""

    settings: ClassVar = {
        **MAIL_SETTINGS,
        "MARQUEE_SMTP_HOST": f"127.0.0.1:{PORTS['MARQUEE_MAILDEV_SMTP_PORT']}",
    }


@pytest.fixture(scope="module")
def campaign(
    stack: Stack, shared_releases: Releases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Campaign]:
    """The stack with small disks, clocks that can be stepped, Kafka, a mail server and remotes."""
    shared_releases.remove_fault()
    directory = tmp_path_factory.mktemp("campaign")
    directory.chmod(0o755)
    for parent in directory.parents[:2]:
        parent.chmod(0o755)
    clocks = prepare(directory)
    override = stack.clone / "campaign.json"
    receivers = shared_releases.receivers
    with small_disks(directory / "disks") as disks:
        assert shared_releases.run("pin").returncode == 0
        stack.compose("down", "--volumes", "--timeout", "5")
        override.write_text(json.dumps(describe_overrides(disks, clocks)))
        files = "docker-compose.yml:docker-compose.override.yml:campaign.json"
        stack.write_settings({"COMPOSE_FILE": files})
        remotes = directory / "remotes"
        remotes.mkdir()
        deployment = Deployment(shared_releases, remotes, TOPIC, MAIL_SETTINGS)
        shared_releases.receivers = _MailServer()  # type: ignore[assignment]
        try:
            stack.compose("up", "-d", "--wait", timeout=1500)
            deployment.set_up(SERVICES)
            stream_first_days()
            options = Options(
                TOPIC, shared_releases.users, RATE, judges_lateness=JUDGES_LATENESS,
                patience=PATIENCE,
            )  # fmt: skip
            system = System(stack, deployment, disks, clocks)
            with ReleaseTimer(shared_releases):
                yield Campaign(system, options, directory, FIRST_DAYS)
        finally:
            shared_releases.receivers = receivers
            stack.save_logs()
            stack.compose("--profile", "demo", "down", "--volumes", "--timeout", "5")
            override.unlink()
            (stack.clone / ".env").unlink()
            stack.compose("up", "-d", "--wait", timeout=1500)


def stream_first_days() -> None:
    """Simulate some days without requests, as fast as possible, and wait for the collector."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("MARQUEE_")
    }
    subprocess.run(
        [Path(sys.executable).with_name("marquee"), "simulate", f"--days={FIRST_DAYS}",
         "--rate=5", "--speed=600", "--max-users=10000", "--json"],
        env={**environment, "MARQUEE_KAFKA_SERVERS": BROKER, "MARQUEE_KAFKA_TOPIC": TOPIC},
        check=True, capture_output=True,
    )  # fmt: skip
    wait_until_collected(TOPIC, 600 * PATIENCE)


def result_file(seed: int) -> Path:
    commit, is_modified = read_commit()
    name = f"{commit}-modified" if is_modified else commit
    return results_directory(name) / f"seed-{seed}-{MINUTES:g}.json"


@campaign_only
@pytest.mark.timeout(round(MINUTES * 60 + 3600 * PATIENCE))
@pytest.mark.parametrize("seed", SEEDS if IS_CAMPAIGN else SEEDS[:1])
def test_a_seed_violates_nothing(
    request: pytest.FixtureRequest, seed: int, record_measurement: Callable[[str], None]
) -> None:
    file = result_file(seed)
    if file.exists() and not KEEP and not IS_SOAK and read_environment("FRESH", "") != "1":
        content = json.loads(file.read_text())
        assert not content["violations"], f"{file}: {content['violations']}; FRESH=1 runs it again"
        pytest.skip(f"has a result: {file.relative_to(ROOT)} (FRESH=1 runs it again)")
    is_full = MINUTES >= FULL_MINUTES
    campaign: Campaign = request.getfixturevalue("campaign" if is_full else "short_campaign")
    schedule = draw(seed, MINUTES, KINDS if is_full else SHORT_KINDS)
    schedule = schedule.keep(KEEP) if KEEP else schedule
    print(schedule)  # noqa: T201 - shown where the test fails
    result = campaign.run(schedule, read_commit()[0])
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = file.with_suffix(".kept.json") if KEEP else file
    kept.write_text(result.to_json())
    record_measurement(describe(result))
    assert not result.violations, describe_failure(schedule, result)


def describe(result: RunResult) -> str:
    """Return a line about a run."""
    counts = result.requests
    kinds = " ".join(fault["kind"] for fault in result.faults if not fault["skipped"])
    return (
        f"seed {result.schedule['seed']}: {counts['sent']} requests, {counts['failed']} failed, "
        f"{counts['late']} late, {counts['excused']} excused; well again after "
        f"{result.recovery_seconds} s; {len(result.violations)} violations; {kinds}"
    )
