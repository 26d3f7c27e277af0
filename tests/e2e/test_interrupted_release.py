"""Killed, rebooted, superseded, failing half-way: a release ends in the right state anyway."""

from collections.abc import Callable

from tests.support.releases import Releases, kill, soak_only, under_load, wait
from tests.support.stack import eventually


def changed(releases: Releases, slot: str, before: dict[str, str]) -> None:
    """Wait until a slot has another container."""
    eventually(
        lambda: releases.stack.container(slot) not in ("", before[slot]), 60, f"a new {slot}"
    )


def test_killed_in_every_phase_it_is_promoted_in_the_end(
    releases: Releases, figures: Callable[[str], None]
) -> None:
    releases.new_version()
    done: list[str] = []

    def release() -> None:
        command = "start"
        for phase in ("building", "testing", "placing", "watching", "promoting", "telling"):
            before = releases.containers()
            process = releases.begin(command)
            releases.until(phase)
            # Where a slot is about to be replaced, kill once it is: its tag has moved by then.
            if phase == "placing":
                changed(releases, "canary", before)
            elif phase == "promoting":
                changed(releases, "stable-1", before)
            kill(process)
            releases.settled()
            assert releases.state["phase"] == phase
            releases.up_changes_nothing()
            done.append(phase)
            command = "resume"
        assert releases.run("resume").returncode == 0, releases.log()

    result = under_load(releases, release)
    figures(f"killed while {', '.join(done)}, each resumed: {releases.state['outcome']}, {result}")
    assert releases.state["outcome"] == "promoted"
    assert set(releases.images().values()) == {releases.state["candidate"]}
    assert result.failed == 0, result
    releases.up_changes_nothing()
    assert releases.run("resume").returncode == 0  # nothing to do
    assert "Successfully deployed new model" in releases.told().mails


@soak_only
def test_killed_while_it_is_given_up_and_the_slot_left_empty(releases: Releases) -> None:
    releases.new_version()
    releases.settings = {"RELEASE_ANALYSIS_WINDOW": "10m", "RELEASE_ON_ABORT": "empty"}
    before = releases.images()

    def release() -> None:
        process = releases.begin()
        releases.until("watching")
        releases.up_changes_nothing()
        word = releases.begin("abort", "lists look odd")
        releases.until("aborting")
        kill(process)
        kill(word)
        releases.settled()
        assert releases.run("resume").returncode == 1

    result = under_load(releases, release)
    assert result.failed == 0, result
    assert releases.state["outcome"] == "aborted"
    assert "lists look odd" in releases.told().slack
    expected = {slot: image for slot, image in before.items() if slot != "canary"}
    assert releases.images() == expected
    releases.up_changes_nothing()
    assert releases.images() == expected


@soak_only
def test_a_new_commit_supersedes_when_it_is_told_to(releases: Releases) -> None:
    first = releases.new_version()
    releases.settings = {"RELEASE_ANALYSIS_WINDOW": "10m"}
    stories: list[dict[str, object]] = []

    def release() -> None:
        process = releases.begin()
        releases.until("watching")
        stories.append(releases.state)
        releases.new_version()
        releases.settings = {"RELEASE_ON_CONFLICT": "supersede", "RELEASE_ANALYSIS_WINDOW": "10s"}
        assert releases.run("start").returncode == 0, releases.log()
        assert wait(process) == 1

    result = under_load(releases, release)
    assert result.failed == 0, result
    state = releases.state
    assert (state["outcome"], state["version"]) == ("promoted", str(first + 1))
    assert state["opened"] > int(str(stories[0]["opened"])) + 5
    assert state["deadline"] == state["opened"] + 10
    assert f"Release of version {first} superseded" in releases.told().mails


@soak_only
def test_a_promotion_that_fails_half_way_puts_both_back_also_when_killed(
    releases: Releases, figures: Callable[[str], None]
) -> None:
    releases.new_version("absent:stable-2")
    releases.settings = {"RELEASE_ANALYSIS_WINDOW": "8s"}
    before = releases.images()

    def release() -> None:
        process = releases.begin()
        releases.until("restoring")
        kill(process)
        releases.settled()
        assert releases.run("resume").returncode == 1

    result = under_load(releases, release)
    figures(f"a promotion that fails at its second slot: {result}")
    assert result.failed == 0, result
    assert releases.state["outcome"] == "failed", releases.log()
    assert "stable-2 did not get ready" in releases.told().mails
    assert releases.images() == {**before, "canary": before["stable-1"]}
    releases.up_changes_nothing()


@soak_only
def test_a_host_that_was_rebooted_goes_on(releases: Releases) -> None:
    releases.new_version()
    releases.settings = {"RELEASE_ANALYSIS_WINDOW": "8s"}

    def release() -> None:
        before = releases.containers()
        process = releases.begin()
        releases.until("promoting")
        changed(releases, "stable-1", before)
        kill(process)

    under_load(releases, release)
    releases.settled()
    releases.stack.compose("stop", "--timeout", "10")
    releases.stack.compose("start")
    assert releases.run("resume").returncode == 0, releases.log()
    assert releases.state["outcome"] == "promoted"
    assert set(releases.images().values()) == {releases.state["candidate"]}


def test_rollback_under_load(releases: Releases, figures: Callable[[str], None]) -> None:
    state = releases.state

    def release() -> None:
        assert releases.run("rollback").returncode == 0, releases.log()

    result = under_load(releases, release)
    figures(f"rollback: {result}")
    assert result.failed == 0, result
    assert set(releases.images().values()) == {state["stable"]}
    assert "Rolled back to version" in releases.told().mails
    releases.up_changes_nothing()
