"""A release that is killed, rebooted, superseded or fails half-way ends in the right state."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.load import assert_available
from tests.support.releases import (
    TIMEOUT_SECONDS,
    Releases,
    ReleaseTimer,
    kill,
    run_under_load,
    wait,
)
from tests.support.soak import soak_only
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(900)
PHASES = ("building", "verifying", "deploying", "analyzing", "promoting", "finalizing")


def wait_for_new_container(releases: Releases, slot: str, before: dict[str, str]) -> None:
    """Wait until a slot has another container than before."""
    eventually(
        lambda: releases.stack.container(slot) not in ("", before[slot]), 60, f"a new {slot}"
    )


@soak_only
def test_release_that_is_killed_is_resumed_and_promoted(
    releases: Releases, record_measurement: Callable[[str], None]
) -> None:
    releases.commit_version()

    def release() -> None:
        command = "start"
        for phase in PHASES:
            before = releases.get_containers()
            process = releases.start(command)
            releases.wait_for_phase(phase)
            # Kill after the slot is recreated: by then its image tag has moved.
            if phase == "deploying":
                wait_for_new_container(releases, "canary", before)
            elif phase == "promoting":
                wait_for_new_container(releases, "stable-1", before)
            kill(process)
            releases.wait_for_lock()
            assert releases.state["phase"] == phase
            releases.assert_up_changes_nothing()
            command = "supervise"
        assert releases.run("supervise").returncode == 0, releases.read_log()

    result = run_under_load(releases, release)
    record_measurement(
        f"killed while {', '.join(PHASES)} and resumed: {releases.state['outcome']}, {result}"
    )
    assert releases.state["outcome"] == "promoted"
    assert set(releases.get_images().values()) == {releases.state["candidate_image"]}
    assert_available(result)
    releases.assert_up_changes_nothing()
    assert releases.run("supervise").returncode == 0  # nothing to do
    assert "Successfully deployed new model" in releases.read_notifications().mails


def has_guard_after(releases: Releases, time_seconds: float) -> bool:
    """Return whether a guard was evaluated after a Unix time."""
    file = releases.clone / "data" / "release" / "history" / f"{releases.state['id']}.jsonl"
    lines = file.read_text().split("\n")[:-1]  # the last one may be incomplete
    return any(
        event["event"] == "evaluation" and event["time"] > time_seconds
        for event in map(json.loads, lines)
    )


@soak_only
def test_supervise_is_killed_in_every_phase_and_continues_by_its_timer(
    releases: Releases, record_measurement: Callable[[str], None]
) -> None:
    # Long enough for the timer and a guard, also on a busy machine.
    releases.settings = {"RELEASE_ANALYSIS_WINDOW": "100s"}
    releases.commit_version()
    seconds: dict[str, int] = {}

    def kill_in(phase: str) -> None:
        releases.wait_for_phase(phase, in_background=True)
        process, killed_at = releases.get_lock_holder(), time.time()
        os.kill(process, signal.SIGKILL)
        eventually(
            lambda: releases.get_lock_holder() != process, TIMEOUT_SECONDS, releases.read_log
        )
        if phase == "analyzing":
            eventually(lambda: has_guard_after(releases, killed_at), 100, releases.read_log)
        seconds[phase] = round(time.time() - killed_at)

    def release() -> None:
        releases.start()
        with ReleaseTimer(releases):
            for phase in PHASES:
                kill_in(phase)
            releases.wait_for_phase("completed", in_background=True)

    result = run_under_load(releases, release)
    record_measurement(
        f"killed in every phase, resumed by the timer after {seconds} s (analyzing: until a guard "
        f"was evaluated): {releases.state['outcome']}, {result}"
    )
    assert_available(result)
    assert releases.state["outcome"] == "promoted", releases.read_log()
    assert set(releases.get_images().values()) == {releases.state["candidate_image"]}
    assert "Successfully deployed new model" in releases.read_notifications().mails


@soak_only
def test_bad_canary_on_a_full_disk_is_replaced(
    releases: Releases, record_measurement: Callable[[str], None]
) -> None:
    releases.settings = {"RELEASE_ANALYSIS_WINDOW": "10m"}
    releases.commit_version("slow:0.3")  # NGINX asks another slot: no client sees it
    before = releases.get_images()
    seconds: list[float] = []

    def release() -> None:
        process = releases.start()
        releases.wait_for_phase("analyzing")
        kill(process)
        fill(releases.clone / "data" / "release" / "fill")
        killed_at = time.monotonic()
        supervisor = releases.start("supervise")
        eventually(
            lambda: releases.get_images().get("canary") == before["stable-1"], 120,
            "the stable image in the canary slot",
        )  # fmt: skip
        seconds.append(time.monotonic() - killed_at)
        assert releases.state["phase"] == "analyzing"  # on the disk
        assert supervisor.poll() is None
        (releases.clone / "data" / "release" / "fill").unlink()
        assert wait(supervisor) == 1

    with small_disk(releases.clone / "data" / "release"):
        result = run_under_load(releases, release, rate=20)
        state = releases.state
    record_measurement(
        f"full disk: the canary was replaced {seconds[0]:.0f} s after the kill; {result}"
    )
    assert_available(result)
    assert state["outcome"] == "aborted"
    assert state["reason"].startswith("guard in minute ")
    assert "cannot write its files: No space left on device" in releases.read_notifications().mails
    assert releases.get_images() == {**before, "canary": before["stable-1"]}


@contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    """Mount a file system of its own on a directory, with its content, and copy it back."""
    directory.mkdir(parents=True, exist_ok=True)
    content = directory.with_suffix(".content")
    shutil.copytree(directory, content)
    mount = ["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", str(directory)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        shutil.rmtree(content)
        pytest.skip("a file system cannot be mounted here")
    try:
        shutil.copytree(content, directory, dirs_exist_ok=True)
        yield
        shutil.rmtree(content)
        shutil.copytree(directory, content)
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)
        shutil.copytree(content, directory, dirs_exist_ok=True)
        shutil.rmtree(content)


def fill(file: Path) -> None:
    """Write a file until its disk is full."""
    with file.open("wb", buffering=0) as output, suppress(OSError):
        while output.write(bytes(2**16)):
            pass


@soak_only
def test_release_killed_during_abort_leaves_the_canary_slot_empty(releases: Releases) -> None:
    releases.commit_version()
    releases.settings = {"RELEASE_ANALYSIS_WINDOW": "10m", "RELEASE_ON_ABORT": "empty"}
    before = releases.get_images()

    def release() -> None:
        process = releases.start()
        releases.wait_for_phase("analyzing")
        releases.assert_up_changes_nothing()
        request = releases.start("abort", "lists look odd")
        releases.wait_for_phase("aborting")
        kill(process)
        kill(request)
        releases.wait_for_lock()
        assert releases.run("resume").returncode == 1

    result = run_under_load(releases, release)
    assert_available(result)
    assert releases.state["outcome"] == "aborted"
    assert "lists look odd" in releases.read_notifications().slack
    expected = {slot: image for slot, image in before.items() if slot != "canary"}
    assert releases.get_images() == expected
    releases.assert_up_changes_nothing()
    assert releases.get_images() == expected


@soak_only
def test_new_commit_supersedes_a_release_if_the_setting_says_so(releases: Releases) -> None:
    first = releases.commit_version()
    releases.settings = {"RELEASE_ANALYSIS_WINDOW": "10m"}
    superseded: list[dict[str, object]] = []

    def release() -> None:
        process = releases.start()
        releases.wait_for_phase("analyzing")
        superseded.append(releases.state)
        releases.commit_version()
        releases.settings = {"RELEASE_ON_CONFLICT": "supersede", "RELEASE_ANALYSIS_WINDOW": "10s"}
        assert releases.run("start").returncode == 0, releases.read_log()
        assert wait(process) == 1

    result = run_under_load(releases, release)
    assert_available(result)
    state = releases.state
    assert (state["outcome"], state["version"]) == ("promoted", str(first + 1))
    assert state["analysis_started_at"] > int(str(superseded[0]["analysis_started_at"])) + 5
    assert state["analysis_deadline"] == state["analysis_started_at"] + 12  # whole intervals
    assert f"Release of version {first} superseded" in releases.read_notifications().mails


@soak_only
def test_failed_promotion_restores_both_stable_slots_even_when_killed(
    releases: Releases, record_measurement: Callable[[str], None]
) -> None:
    releases.commit_version("crash:stable-2")
    releases.settings = {"RELEASE_ANALYSIS_WINDOW": "8s"}
    before = releases.get_images()

    def release() -> None:
        process = releases.start()
        releases.wait_for_phase("restoring")
        kill(process)
        releases.wait_for_lock()
        assert releases.run("resume").returncode == 1

    result = run_under_load(releases, release)
    record_measurement(f"promotion that fails at the second slot: {result}")
    assert_available(result)
    assert releases.state["outcome"] == "failed", releases.read_log()
    assert "stable-2 did not become ready" in releases.read_notifications().mails
    assert releases.get_images() == {**before, "canary": before["stable-1"]}
    releases.assert_up_changes_nothing()


@soak_only
def test_release_is_resumed_after_a_reboot(releases: Releases) -> None:
    releases.commit_version()
    releases.settings = {"RELEASE_ANALYSIS_WINDOW": "8s"}

    def release() -> None:
        before = releases.get_containers()
        process = releases.start()
        releases.wait_for_phase("promoting")
        wait_for_new_container(releases, "stable-1", before)
        kill(process)

    run_under_load(releases, release)
    releases.wait_for_lock()
    releases.stack.compose("stop", "--timeout", "10")
    releases.stack.compose("start")
    assert releases.run("resume").returncode == 0, releases.read_log()
    assert releases.state["outcome"] == "promoted"
    assert set(releases.get_images().values()) == {releases.state["candidate_image"]}
