"""`scripts/deploy.sh` brings the services beside the slots to a commit, under load."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from app.locks import exclusive_lock
from tests.support.docker import docker
from tests.support.load import assert_available
from tests.support.releases import Releases, git, run_under_load
from tests.support.soak import IS_SOAK, soak_only
from tests.support.stack import PROJECT, SLOTS, URL, Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(900)

OWN_SERVICES = ("init", "migrate", "shipper", "collector", "recent", "scheduler")
REVISION = "org.opencontainers.image.revision"
TIMEOUT_SECONDS = 600
#: Requests a second while all services are built and replaced, which alone takes most of two cores.
RATE = 200 if IS_SOAK else 50
#: Which slots may have the new image and definition in a phase, in their order.
NEW_SLOTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "building": ((),),
    "verifying": ((),),
    "deploying": ((), ("canary",)),
    "analyzing": (("canary",),),
    "promoting": (("canary",), ("stable-1", "canary"), SLOTS),
    "finalizing": (SLOTS,),
}


@pytest.fixture
def developer(releases: Releases, tmp_path: Path) -> Iterator[Path]:
    """A clone from which commits are pushed that the stack's clone deploys.

    The release after the deployment is refused, for want of disk space: it has tests of its own.
    """
    origin, developer = tmp_path / "origin.git", tmp_path / "developer"
    git(tmp_path, "clone", "--quiet", "--bare", str(releases.clone), str(origin))
    git(tmp_path, "clone", "--quiet", str(origin), str(developer))
    url = git(releases.clone, "remote", "get-url", "origin").strip()
    git(releases.clone, "remote", "set-url", "origin", str(origin))
    git(releases.clone, "fetch", "--quiet")
    branch = git(origin, "symbolic-ref", "--short", "HEAD").strip()
    git(releases.clone, "branch", "--quiet", f"--set-upstream-to=origin/{branch}")
    releases.settings = {"RELEASE_MIN_FREE_DISK_MB": "999999999"}
    before = git(releases.clone, "rev-parse", "HEAD").strip()
    yield developer
    git(releases.clone, "reset", "--quiet", "--keep", before)  # with the changes of a fixture
    git(releases.clone, "remote", "set-url", "origin", url)


def push(developer: Path) -> str:
    """Commit all changes and push them; return the commit."""
    git(developer, "add", "--all")
    git(developer, "commit", "--quiet", "--allow-empty", "-m", "a change")
    git(developer, "push", "--quiet")
    return git(developer, "rev-parse", "HEAD").strip()


def deploy(releases: Releases) -> str:
    """Run `scripts/deploy.sh`; return what it logs."""
    done = releases.deploy()
    assert "MiB of disk space are free" in done.stderr, done.stderr
    return done.stderr


def get_commit(stack: Stack, service: str) -> str:
    """Return the commit of the image of a service's container."""
    return str(stack.inspect(service)["Config"]["Labels"][REVISION])


def get_changed(before: dict[str, tuple[str, str]], stack: Stack) -> set[str]:
    after = stack.start_times()
    return {service for service in before if before[service] != after[service]}


def test_a_deployment_brings_every_service_to_the_commit_and_changes_no_slot(
    releases: Releases, developer: Path, record_measurement: Callable[[str], None]
) -> None:
    stack = releases.stack
    conf = developer / "nginx" / "nginx.conf"
    header = "add_header X-Request-Id $marquee_request_id always;"
    conf.write_text(conf.read_text().replace(header, f"{header} add_header X-Test new always;", 1))
    rules = developer / "monitoring" / "prometheus" / "rules" / "test.yml"
    rules.write_text("groups: [{name: test, rules: [{record: 'test:two', expr: vector(2)}]}]\n")
    compose_file = developer / "docker-compose.yml"
    compose_file.write_text(compose_file.read_text().replace("mem_limit: 512m", "mem_limit: 500m"))
    commit = push(developer)
    before = stack.start_times()
    logs: list[str] = []
    result = run_under_load(releases, lambda: logs.append(deploy(releases)), rate=RATE)
    record_measurement(f"deployment of all services beside the slots at {RATE}/s: {result}")
    assert_available(result)
    assert {get_commit(stack, service) for service in OWN_SERVICES} == {commit}
    changed = get_changed(before, stack)
    assert changed >= {"shipper", "collector", "scheduler", "prometheus"}  # with other limits
    assert not changed & {*SLOTS, "nginx"}
    assert "NGINX has a new image or definition" not in logs[0]
    response = requests.get(f"{URL}/recommend/1", timeout=2)
    assert response.headers["X-Test"] == "new"
    eventually(lambda: stack.query_value("test:two") == 2, 90, "Prometheus has the rule", 1)
    before = stack.start_times()
    stack.compose("up", "-d", "--wait")
    assert get_changed(before, stack) == set()


@soak_only
def test_a_failed_migration_leaves_the_services_as_they_are(
    releases: Releases, developer: Path
) -> None:
    stack = releases.stack
    commands = developer / "app" / "provenance" / "database.py"
    original = commands.read_text()
    failing = 'def upgrade(engine: sa.Engine) -> None:\n    raise DatabaseError("no such column")\n'
    commands.write_text(original + "\n\n" + failing)
    push(developer)
    before = stack.start_times()
    done = releases.deploy()
    assert done.returncode == 1
    assert "no such column" in done.stderr
    assert "the tables of the database cannot be upgraded" in done.stderr.splitlines()[-1]
    assert get_changed(before, stack) == set()
    commands.write_text(original)
    commit = push(developer)
    deploy(releases)
    assert get_commit(stack, "shipper") == commit


@soak_only
def test_the_scheduler_is_replaced_after_a_retraining(releases: Releases, developer: Path) -> None:
    stack = releases.stack
    commit = push(developer)
    scheduler = stack.container("scheduler")
    hold = ("exec", "-d", "scheduler", "flock", "/workspace/lock", "sleep", "1000")
    stack.compose(*hold)
    assert "a retraining is running" in deploy(releases)
    assert get_commit(stack, "collector") == commit
    assert stack.container("scheduler") == scheduler
    # The run ends; the process that waits has to notice it.
    stack.compose("exec", "-T", "scheduler", "sh", "-c",
                  "kill $(grep -l '^sleep' /proc/[0-9]*/cmdline | cut -d/ -f3)")  # fmt: skip
    log = stack.clone / "data" / "release" / "scheduler.log"
    eventually(
        lambda: stack.container("scheduler") not in ("", scheduler),
        TIMEOUT_SECONDS, log.read_text, 1,
    )  # fmt: skip
    with exclusive_lock(log.with_suffix(".lock"), timeout_seconds=TIMEOUT_SECONDS):
        assert get_commit(stack, "scheduler") == commit, log.read_text()
    stack.compose("up", "-d", "--wait", "scheduler")


@soak_only
def test_up_in_each_phase_changes_no_slot_before_the_release_does(
    releases: Releases, developer: Path
) -> None:
    """The merge changes the slots' section; the release is stopped in each phase for `up -d`."""
    stack = releases.stack
    compose_file = developer / "docker-compose.yml"
    compose_file.write_text(compose_file.read_text().replace("mem_limit: 512m", "mem_limit: 500m"))
    push(developer)
    releases.settings = {}  # those of the fixture refuse the release
    before = {slot: read_slot(stack, slot) for slot in SLOTS}

    def release() -> None:
        done = releases.deploy()
        assert done.returncode == 0, done.stderr
        for phase in NEW_SLOTS:
            releases.wait_for_phase(phase, in_background=True)
            check_up_while_stopped(releases, phase, before)
        releases.wait_for_phase("completed", in_background=True)

    assert_available(run_under_load(releases, release))
    assert releases.state["outcome"] == "promoted", releases.read_log()


def read_slot(stack: Stack, slot: str) -> tuple[str, int]:
    """Return image and memory limit (bytes) of a slot's container."""
    document = stack.inspect(slot)
    return document["Image"], document["HostConfig"]["Memory"]


def check_up_while_stopped(
    releases: Releases, phase: str, before: dict[str, tuple[str, int]]
) -> None:
    """Stop the release, run `docker compose up -d`, and check which slots are new; continue it."""
    stack = releases.stack
    process = stop_release(releases)
    try:
        stack.compose("up", "-d")
        slots = {slot: read_slot(stack, slot) for slot in SLOTS}
        assert releases.state["phase"] == phase
    finally:
        os.kill(process, signal.SIGCONT)
    changed = tuple(slot for slot in SLOTS if slots[slot] != before[slot])
    assert changed in NEW_SLOTS[phase], (phase, slots)
    new = releases.state.get("candidate_image"), 500 * 2**20
    assert {slots[slot] for slot in changed} <= {new}, (phase, slots)


def stop_release(releases: Releases) -> int:
    """Stop the release between two replacements of slots; return its process id.

    A replacement changes definition and tag and then recreates the slot: in the tenths of a second
    between, `docker compose up` would recreate it, too (docs/releasing.md).
    """
    stack = releases.stack
    while True:
        process = releases.get_lock_holder()
        os.kill(process, signal.SIGSTOP)
        wait_for_children(process)
        services = json.loads(stack.compose("config", "--format", "json"))["services"]
        defined = {
            slot: (
                docker("image", "inspect", "--format", "{{.Id}}", services[slot]["image"]).strip(),
                int(services[slot]["mem_limit"]),
            )
            for slot in SLOTS
        }
        if defined == {slot: read_slot(stack, slot) for slot in SLOTS}:
            return process
        os.kill(process, signal.SIGCONT)
        time.sleep(0.2)


def wait_for_children(process: int) -> None:
    """Wait until the children of a stopped process have ended; they remain as zombies."""

    def are_ended() -> bool:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        stats = [Path(f"/proc/{child}/stat").read_text() for child in children]
        return all(stat.rsplit(")", 1)[1].startswith(" Z") for stat in stats)

    eventually(are_ended, TIMEOUT_SECONDS, "the commands of the release end")


def test_no_build_by_hand_puts_an_image_into_a_slot(releases: Releases) -> None:
    stack = releases.stack
    assert releases.run("pin").returncode == 0
    source = stack.clone / "app" / "service" / "recommend.py"
    before = {slot: stack.inspect(slot)["Image"] for slot in SLOTS}
    times = stack.start_times()
    # As `docker compose build`, and then `up -d`. Short form: without the images of other services.
    build = ("up", "-d", "--wait", "--build", *(() if IS_SOAK else SLOTS))
    try:
        source.write_text(source.read_text() + "# not judged\n")
        stack.compose(*build, timeout=TIMEOUT_SECONDS)
        assert {slot: stack.inspect(slot)["Image"] for slot in SLOTS} == before
        assert not get_changed(times, stack) & set(SLOTS)
    finally:
        git(stack.clone, "checkout", "--quiet", "--", str(source))
        stack.compose(*build, timeout=TIMEOUT_SECONDS)
    assert {stack.inspect(s)["Config"]["Image"] for s in SLOTS} == {f"{PROJECT}:{s}" for s in SLOTS}
