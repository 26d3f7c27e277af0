"""The checker of a campaign finds defects, one deliberate one at a time, and nothing else.

The good records are those of a run with a release, a retraining, a stream and three faults. Each
defect changes them as a defect of the system would, and must be found by its invariant alone.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.campaign.invariants import INVARIANTS, check, summarize
from tests.support.campaign.records import (
    AppliedFault,
    Message,
    PublishedVersion,
    Records,
    ReleaseEvent,
    Request,
    RetrainingEnd,
    SlotSample,
    StoredAnswer,
    StoredPair,
    Usage,
)

START = 1000.0
OLD, NEW = "sha256:old", "sha256:new"
RELEASE = "20261127T120000Z-v2"
TIME = "2026-11-14T12:24"


def make_requests() -> list[Request]:
    """Two requests a second for 300 s, answered by the slots in turn."""
    slots = ("stable-1", "stable-2", "canary")
    return [
        Request(
            sent_at=START + number / 2, seconds=0.01, status=200, user=number,
            request_id=f"r{number}", slot=slots[number % 3], version="1",
            body=f"movie+{number}+1999,other+2001",
        )
        for number in range(600)
    ]  # fmt: skip


def make_slot_samples() -> list[SlotSample]:
    """The canary has the new image from 60 s on, stable-1 from 122 s, stable-2 from 130 s."""
    since = {"canary": 60, "stable-1": 122, "stable-2": 130}
    return [
        SlotSample(START + second, slot, NEW if second >= begin else OLD)
        for second in range(300)
        for slot, begin in since.items()
    ]


def make_release(id_: str = RELEASE, start: float = START + 50) -> list[ReleaseEvent]:
    """A release of 90 s that is promoted."""

    def event(seconds: float, name: str, **values: str) -> ReleaseEvent:
        return ReleaseEvent(id_, start + seconds, name, **values)

    return [
        event(0, "release_started", kind="release", version="2"),
        event(2, "phase_started", phase="deploying"),
        event(15, "phase_started", phase="analyzing"),
        event(70, "evaluation", verdict="PROMOTE"),
        event(71, "phase_started", phase="promoting"),
        event(88, "phase_started", phase="finalizing"),
        event(90, "release_completed", outcome="promoted", version="2", kind="release"),
    ]


def make_records() -> Records:
    """The records of a good run."""
    requests = make_requests()
    watches = [f"{TIME},{user},GET /data/m/whiplash+2014/{user % 90}.mpg" for user in range(50)]
    rating = f"{TIME}:01,7,GET /rate/whiplash+2014=4"
    damaged = f"{TIME}:01,7,GET /rate/whip lash+2014=4"
    stored = [StoredPair(user, "whiplash+2014", (user % 90,)) for user in range(50)]
    return Records(
        started_at=START,
        ended_at=START + 300,
        recovered_at=START + 310,
        faults=[
            AppliedFault(0, "kill-slot", "stable-1", START + 150, START + 270),
            AppliedFault(1, "kill-nginx", "nginx", START + 280, START + 285),
            AppliedFault(2, "restart-docker", "docker", START + 20, START + 20, skipped="SYSTEM=1"),
        ],
        requests=requests,
        answers=[
            StoredAnswer(request.request_id, request.slot, "1", request.user, request.body)
            for request in requests
        ],
        lines=[*watches, rating, damaged],
        sent_lines=watches[:20],
        stored=[*stored, StoredPair(7, "whiplash+2014", rating=4)],
        single_users=frozenset(range(20, 50)),
        slots=make_slot_samples(),
        releases=make_release(),
        versions=[PublishedVersion(1, True, True), PublishedVersion(2, True, True)],
        retrainings=[
            RetrainingEnd(START + 30, "published", version=2),
            RetrainingEnd(START + 200, "killed"),
        ],
        messages=[
            Message(START + 31, "Version 2 trained and pushed, release starting"),
            Message(START + 140, "Successfully deployed new model: version 2"),
            Message(START + 290, "Retraining was killed (train)"),
        ],
        alerts={"SlotDown": [START + 230]},
        watched=[START + second for second in range(0, 300, 2)],
        usage=[Usage("stable-1", "memory", 2**27, 2**29), Usage("spool", "disk", 2**20, 2**26)],
    )


def test_good_records_have_no_violation() -> None:
    assert check(make_records()) == {}


# -- deliberate defects --------------------------------------------------------------------------


def fail_a_request(records: Records) -> None:
    records.requests[100] = replace(records.requests[100], status=502, body="", request_id="")


def answer_late(records: Records) -> None:
    records.requests[100] = replace(records.requests[100], status=0, seconds=0.601)


def fail_after_the_excuse(records: Records) -> None:
    """NGINX was killed at 280 s: its excuse ends at 310 s."""
    records.requests.append(replace(records.requests[-1], sent_at=START + 311, status=0))


def answer_a_movie_twice(records: Records) -> None:
    body = "movie+1+1999,movie+1+1999"
    records.requests[3] = replace(records.requests[3], body=body)
    records.answers[3] = replace(records.answers[3], body=body)


def lose_a_record(records: Records) -> None:
    del records.answers[77]


def store_a_record_twice(records: Records) -> None:
    records.answers.append(records.answers[77])


def record_another_list(records: Records) -> None:
    records.answers[77] = replace(records.answers[77], body=records.answers[78].body)


def lose_more_than_is_counted(records: Records) -> None:
    records.dropped = {"write_failed": 2}
    records.alerts["ProvenanceRecordsDropped"] = [START + 100]
    del records.answers[77:80]


def lose_a_line(records: Records) -> None:
    del records.stored[30]


def store_a_line_twice(records: Records) -> None:
    records.stored.append(records.stored[30])


def lose_a_confirmed_line(records: Records) -> None:
    records.lines.remove(records.sent_lines[5])


def promote_another_image(records: Records) -> None:
    """Another build of the version reaches the stable slots; it was judged in an earlier run."""
    records.known_images = frozenset({"sha256:other"})
    records.slots = [
        replace(sample, image="sha256:other")
        if sample.slot != "canary" and sample.image == NEW
        else sample
        for sample in records.slots
    ]


def promote_without_a_verdict(records: Records) -> None:
    """The image is judged good only by an earlier release."""
    records.known_images = frozenset({NEW})
    records.releases = [event for event in records.releases if not event.verdict]


def run_an_unjudged_image(records: Records) -> None:
    records.slots = [
        replace(sample, image="sha256:bad")
        if sample.slot == "stable-2" and sample.time == START + 250
        else sample
        for sample in records.slots
    ]


def leave_a_candidate_in_the_canary_slot(records: Records) -> None:
    """A release was aborted and its image stays in the canary slot."""
    records.slots = [
        replace(sample, image="sha256:bad")
        if sample.slot == "canary" and sample.time > START + 200
        else sample
        for sample in records.slots
    ]


def start_two_releases(records: Records) -> None:
    second = "20261127T120030Z-v2"
    records.releases += make_release(second, START + 80)
    records.messages.append(records.messages[1])


def push_a_version_without_its_data(records: Records) -> None:
    records.versions[1] = replace(records.versions[1], missing=("files/md5/ab/cdef",))


def push_a_commit_without_its_tag(records: Records) -> None:
    records.versions[1] = replace(records.versions[1], has_tag=False)


def let_a_release_die_silently(records: Records) -> None:
    records.releases += [
        ReleaseEvent("20261127T120300Z-v3", START + 200, "release_started", version="3")
    ]


def send_no_message(records: Records) -> None:
    del records.messages[1]


def send_the_message_of_an_earlier_run(records: Records) -> None:
    """The same version was released before; this time without a message."""
    records.messages[1] = replace(records.messages[1], time=START - 100)


def send_the_message_of_another_version(records: Records) -> None:
    records.messages[1] = replace(
        records.messages[1], subject="Successfully deployed new model: version 21"
    )


def fail_a_retraining_silently(records: Records) -> None:
    records.retrainings.append(
        RetrainingEnd(START + 250, "failed", "Retraining failed (push-data)")
    )


def fire_no_alert(records: Records) -> None:
    records.alerts = {}


def exceed_the_memory(records: Records) -> None:
    records.killed_for_memory = ["collector"]


def fill_a_disk(records: Records) -> None:
    records.usage[1] = replace(records.usage[1], used=2**27)


def stay_broken(records: Records) -> None:
    records.recovered_at = 0


DEFECTS: dict[Callable[[Records], None], str] = {
    fail_a_request: "no valid request fails",
    answer_late: "no valid request fails",
    fail_after_the_excuse: "no valid request fails",
    answer_a_movie_twice: "every answer has the form of the contract",
    lose_a_record: "every answer is recorded once or counted as lost",
    store_a_record_twice: "every answer is recorded once or counted as lost",
    record_another_list: "every answer is recorded once or counted as lost",
    lose_more_than_is_counted: "every answer is recorded once or counted as lost",
    lose_a_line: "every line of the stream is stored once",
    store_a_line_twice: "every line of the stream is stored once",
    lose_a_confirmed_line: "every line of the stream is stored once",
    promote_another_image: "the promoted image is the judged one",
    promote_without_a_verdict: "the promoted image is the judged one",
    run_an_unjudged_image: "no slot runs an unjudged image",
    leave_a_candidate_in_the_canary_slot: "no slot runs an unjudged image",
    start_two_releases: "one release at a time",
    push_a_version_without_its_data: "versions are complete or absent",
    push_a_commit_without_its_tag: "versions are complete or absent",
    let_a_release_die_silently: "a message for every end",
    send_no_message: "a message for every end",
    send_the_message_of_an_earlier_run: "a message for every end",
    send_the_message_of_another_version: "a message for every end",
    fail_a_retraining_silently: "a message for every end",
    fire_no_alert: "an alert for every state a person must know",
    exceed_the_memory: "memory and disk are bounded",
    fill_a_disk: "memory and disk are bounded",
    stay_broken: "well again within the stated time",
}


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_a_deliberate_defect_is_found_by_its_invariant_alone(
    defect: Callable[[Records], None],
) -> None:
    records = make_records()
    defect(records)
    violations = check(records)
    assert list(violations) == [DEFECTS[defect]]
    assert summarize(violations).startswith(DEFECTS[defect])


def test_each_invariant_has_a_defect_that_it_finds() -> None:
    assert set(DEFECTS.values()) == INVARIANTS.keys()


# -- what is no defect ---------------------------------------------------------------------------


def test_only_the_excuses_allow_failed_requests() -> None:
    records = make_records()
    records.requests[561] = replace(records.requests[561], status=0, request_id="")  # at 280.5 s
    assert check(records) == {}
    records.faults[1] = replace(records.faults[1], skipped="no NGINX here")
    assert list(check(records)) == ["no valid request fails"]


def test_late_responses_count_only_where_the_machine_is_fast_enough() -> None:
    records = make_records()
    answer_late(records)
    records.judges_lateness = False
    assert check(records) == {}
    fail_a_request(records)
    assert list(check(records)) == ["no valid request fails"]


def test_records_that_are_counted_as_lost_are_no_violation() -> None:
    records = make_records()
    del records.answers[77:79]
    records.dropped = {"write_failed": 2}
    records.alerts["ProvenanceRecordsDropped"] = [START + 100]
    assert check(records) == {}


def test_an_alert_is_not_expected_while_prometheus_is_away() -> None:
    records = make_records()
    fire_no_alert(records)
    records.watched = records.watched[:80]
    assert check(records) == {}


def test_the_same_failure_is_a_message_once_a_day() -> None:
    records = make_records()
    fail_a_retraining_silently(records)
    records.messages.append(Message(START - 3600, "Retraining failed (push-data)"))
    assert check(records) == {}


def test_a_line_that_the_topic_has_twice_may_be_two_rows() -> None:
    records = make_records()
    store_a_line_twice(records)
    records.lines.append(records.lines[30])
    assert check(records) == {}
