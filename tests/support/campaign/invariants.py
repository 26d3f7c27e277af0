"""The checker of a campaign: what must be true after every run, whatever was done to the system.

Each invariant is a function from the records of a run to sentences, one for each violation. The
excuses are fixed here, before any run, and bounded in seconds: outside of them a failed request is
a violation.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from tests.support.campaign.records import AppliedFault, Records, ReleaseEvent, Request, SlotSample

CLIENT_TIMEOUT_SECONDS = 0.6
#: How long requests may fail after the begin of a fault of these kinds, in seconds. A request sent
#: just before may be in flight.
EXCUSES = {
    "kill-nginx": 30.0,
    "pause-nginx": 15.0,
    "stop-all-slots": 60.0,
    "restart-docker": 120.0,
}
#: After the end of the last fault, and of releases and retrainings in progress.
MAX_RECOVERY_SECONDS = 300.0
#: Violations of one invariant that are listed; the others are counted.
MAX_LISTED = 5
#: Until a sample of a slot shows what a release has recorded, and the reverse.
_SAMPLE_SECONDS = 5.0
_STABLE = ("stable-1", "stable-2")
_MOVIE = r"[a-z0-9+_.*-]{1,200}"
_BODY = re.compile(rf"{_MOVIE}(,{_MOVIE}){{0,19}}")
_TIME = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?"
_WATCH = re.compile(rf"{_TIME},(\d{{1,18}}),GET /data/m/({_MOVIE})/(\d{{1,4}})\.mpg", re.ASCII)
_RATING = re.compile(rf"{_TIME},(\d{{1,18}}),GET /rate/({_MOVIE})=([1-5])", re.ASCII)


# -- excuses -------------------------------------------------------------------------------------


def find_excuses(faults: Iterable[AppliedFault]) -> list[tuple[float, float]]:
    """Return the spans of time, as Unix times, in which requests sent then may fail."""
    return [
        (fault.began_at - CLIENT_TIMEOUT_SECONDS, fault.began_at + EXCUSES[fault.kind])
        for fault in faults
        if fault.kind in EXCUSES and not fault.skipped
    ]


def is_excused(request: Request, excuses: Iterable[tuple[float, float]]) -> bool:
    return any(start <= request.sent_at <= end for start, end in excuses)


def is_late(request: Request) -> bool:
    """Return whether a request failed for its duration alone."""
    gateway_timeout = 504
    return request.status == gateway_timeout or (
        request.seconds > CLIENT_TIMEOUT_SECONDS and request.status in (0, 200)
    )


def is_ok(request: Request) -> bool:
    return request.status == 200 and request.seconds <= CLIENT_TIMEOUT_SECONDS


# -- requests ------------------------------------------------------------------------------------


def check_availability(records: Records) -> list[str]:
    """No valid request fails, except where one of the excuses covers it."""
    excuses = find_excuses(records.faults)
    return [
        f"{_at(records, request.sent_at)}: user {request.user}: status {request.status} after "
        f"{request.seconds:.3f} s {request.error}".rstrip()
        for request in records.requests
        if not is_ok(request)
        and not is_excused(request, excuses)
        and (records.judges_lateness or not is_late(request))
    ]


def check_form(records: Records) -> list[str]:
    """Every answer is one line of 1 to 20 different movie ids."""
    found = []
    for request in records.requests:
        if request.status == 200 and (
            not _BODY.fullmatch(request.body)
            or len(set(request.body.split(","))) != request.body.count(",") + 1
        ):
            found.append(f"{request.request_id}: {request.body[:80]!r}")
    return found


def check_recorded(records: Records) -> list[str]:
    """Every answer has one row with its content, or is counted as lost."""
    found = []
    rows = defaultdict(list)
    for row in records.answers:
        rows[row.request_id, row.slot].append(row)
    lost = []
    for request in records.requests:
        if request.status != 200:
            continue
        same = rows.get((request.request_id, request.slot), [])
        if not same:
            lost.append(request)
        elif len(same) > 1:
            found.append(f"{request.request_id} of {request.slot} has {len(same)} rows")
        elif (same[0].version, same[0].user, same[0].body) != (
            request.version, request.user, request.body,
        ):  # fmt: skip
            found.append(f"{request.request_id} of {request.slot} has another content")
    counted = sum(records.dropped.values())
    if len(lost) > counted:
        found.append(
            f"{len(lost)} answers are not in the database, {counted} counted as lost "
            f"{records.dropped}; the first was sent {_at(records, lost[0].sent_at)} to "
            f"{lost[0].slot}: {lost[0].request_id}"
        )
    return found


# -- the stream ----------------------------------------------------------------------------------


def check_stream(records: Records) -> list[str]:
    """Every line of the stream is in the store, once."""
    missing = Counter(records.sent_lines) - Counter(records.lines)
    found = [f"confirmed by the broker and not in the topic: {line}" for line in missing]
    minutes, ratings = _parse_lines(records.lines)
    stored: dict[tuple[int, str], set[int]] = defaultdict(set)
    stored_ratings: dict[tuple[int, str], set[int]] = defaultdict(set)
    for pair in records.stored:
        if pair.rating is None:
            stored[pair.user, pair.movie].update(pair.minutes)
        else:
            stored_ratings[pair.user, pair.movie].add(pair.rating)
    for key, expected in minutes.items():
        if lost := expected - stored[key]:
            found.append(f"user {key[0]}, {key[1]}: minutes {sorted(lost)} are not in the store")
    for key, expected in ratings.items():
        if not expected & stored_ratings[key]:
            found.append(f"user {key[0]}, {key[1]}: the rating is not in the store")
    return found + _find_doubled(records)


def _parse_lines(
    lines: Iterable[str],
) -> tuple[dict[tuple[int, str], set[int]], dict[tuple[int, str], set[int]]]:
    """Return minutes and ratings by user and movie, of lines with the form of the contract."""
    minutes: dict[tuple[int, str], set[int]] = defaultdict(set)
    ratings: dict[tuple[int, str], set[int]] = defaultdict(set)
    for line in lines:
        if watch := _WATCH.fullmatch(line):
            minutes[int(watch[1]), watch[2]].add(int(watch[3]))
        elif rating := _RATING.fullmatch(line):
            ratings[int(rating[1]), rating[2]].add(int(rating[3]))
    return minutes, ratings


def _find_doubled(records: Records) -> list[str]:
    """Return the users of a single line who have several rows, except where the topic has two."""
    rows = Counter(pair.user for pair in records.stored)
    repeated = [line for line, count in Counter(records.lines).items() if count > 1]
    excused = {int(match[1]) for line in repeated if (match := _WATCH.fullmatch(line))}
    return [
        f"user {user}: one line is {rows[user]} rows of the store"
        for user in records.single_users - excused
        if rows[user] > 1
    ]


# -- releases ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Release:
    id: str
    kind: str
    started_at: float
    completed_at: float | None
    outcome: str
    version: str
    analysis: tuple[float, float] | None
    judged_good_at: float | None


def _group_releases(events: Iterable[ReleaseEvent]) -> list[_Release]:
    """Return the releases in the order of their starts."""
    by_id: dict[str, list[ReleaseEvent]] = defaultdict(list)
    for event in events:
        by_id[event.release].append(event)
    releases = []
    for id_, own in by_id.items():
        starts = [event for event in own if event.event == "release_started"]
        ends = [event for event in own if event.event == "release_completed"]
        phases = [event for event in own if event.event == "phase_started"]
        analyzing = [event.time for event in phases if event.phase == "analyzing"]
        later = [event.time for event in phases if analyzing and event.time > analyzing[0]]
        good = [event.time for event in own if event.verdict == "PROMOTE"]
        releases.append(
            _Release(
                id=id_,
                kind=starts[0].kind if starts else "release",
                started_at=starts[0].time if starts else own[0].time,
                completed_at=ends[-1].time if ends else None,
                outcome=ends[-1].outcome if ends else "",
                version=ends[-1].version if ends else starts[0].version if starts else "",
                analysis=(analyzing[0], later[0] if later else own[-1].time) if analyzing else None,
                judged_good_at=good[-1] if good else None,
            )
        )
    return sorted(releases, key=lambda release: release.started_at)


def _sampled(
    slots: Iterable[SlotSample], names: Iterable[str], start: float, end: float
) -> set[str]:
    return {
        sample.image for sample in slots if sample.slot in names and start <= sample.time <= end
    }


def check_promoted_is_judged(records: Records) -> list[str]:
    """The image in the stable slots after a promotion is the one that the canary slot had."""
    found = []
    for release in _group_releases(records.releases):
        if release.outcome != "promoted" or release.kind != "release" or not release.analysis:
            continue
        judged = _sampled(records.slots, ["canary"], *_inner(release.analysis))
        end = release.completed_at or records.ended_at
        promoted = _sampled(records.slots, _STABLE, end, end + 2 * _SAMPLE_SECONDS)
        if judged and promoted and (len(judged) > 1 or promoted != judged):
            found.append(f"{release.id}: promoted {sorted(promoted)}, judged {sorted(judged)}")
        if release.judged_good_at is None:
            found.append(f"{release.id}: promoted without a verdict")
    return found


def _inner(span: tuple[float, float]) -> tuple[float, float]:
    """Return a span of time without its ends, whose samples may be of before and after."""
    return span[0] + 1, span[1] - 1


def check_only_judged_images(records: Records) -> list[str]:
    """Stable slots run images that were judged good, or that they had; the canary a candidate."""
    if not records.slots:
        return []
    releases = _group_releases(records.releases)
    first = records.slots[0].time
    # Before its first release a new installation has an image of its own in each slot.
    allowed = records.known_images | _sampled(records.slots, (*_STABLE, "canary"), first, first + 1)
    judged: dict[str, float] = {}
    for release in releases:
        if release.kind == "rollback":
            continue
        if release.analysis and release.judged_good_at:
            for image in _sampled(records.slots, ["canary"], *_inner(release.analysis)):
                judged.setdefault(image, release.judged_good_at)
    found: dict[tuple[str, str], float] = {}
    for sample in records.slots:
        known = sample.image in allowed or (
            judged.get(sample.image, float("inf")) <= sample.time + _SAMPLE_SECONDS
        )
        during = any(
            release.started_at - _SAMPLE_SECONDS
            <= sample.time
            <= (release.completed_at or records.ended_at) + _SAMPLE_SECONDS
            for release in releases
        )
        if not known and (sample.slot in _STABLE or not during):
            found.setdefault((sample.slot, sample.image), sample.time)
    return [
        f"{_at(records, time)}: {slot} runs {image}, which was not judged"
        for (slot, image), time in found.items()
    ]


def check_one_release(records: Records) -> list[str]:
    """No release starts before the one before it has ended."""
    found = []
    for first, second in pairwise(_group_releases(records.releases)):
        if first.completed_at is None or first.completed_at > second.started_at + 1:
            found.append(f"{second.id} started before {first.id} had ended")
    return found


def check_versions(records: Records) -> list[str]:
    """Every version is complete in Git and DVC, or absent in both."""
    found = []
    counts = Counter(version.number for version in records.versions)
    found += [f"version {number} occurs {n} times" for number, n in counts.items() if n > 1]
    for version in records.versions:
        if not version.has_commit or not version.has_tag:
            only = "tag" if version.has_tag else "commit"
            found.append(f"version {version.number} has only its {only}")
        if version.missing:
            found.append(
                f"version {version.number} lacks {len(version.missing)} files in DVC: "
                f"{version.missing[0]}"
            )
    return found


# -- people --------------------------------------------------------------------------------------

#: What the subject of a release's message contains, by outcome.
_RELEASE_SUBJECTS = {
    "promoted": "Successfully deployed new model: version {version}",
    "rolled-back": "Rolled back to version {version}",
}
#: Statuses of retrainings that end with a message of their own.
_FAILURES = ("data_rejected", "gate_failed", "failed")


def check_messages(records: Records) -> list[str]:
    """Every release and every retraining ends, and somebody gets a message about it."""
    releases = _group_releases(records.releases)
    found = [f"release {one.id} has no end" for one in releases if one.completed_at is None]
    expected = Counter(_get_subject(one) for one in releases if one.completed_at is not None)
    for end in records.retrainings:
        if end.status == "published":
            expected[f"Version {end.version} trained and pushed"] += 1
        elif end.status == "killed":
            expected["Retraining was killed"] = 1
    new = [m.subject for m in records.messages if m.time >= records.started_at]
    for text, count in expected.items():
        # Not "version 12" for "version 1".
        got = sum(bool(re.match(rf"{re.escape(text)}(?!\d)", subject)) for subject in new)
        if got < count:
            found.append(f"{count} times {text!r}, {got} messages")
    # The same failure is sent once a day: an earlier run may have sent it.
    failures = {end.subject for end in records.retrainings if end.status in _FAILURES}
    for text in failures:
        if not any(message.subject.startswith(text) for message in records.messages):
            found.append(f"no message {text!r}")
    return found


def _get_subject(release: _Release) -> str:
    """Return how the subject of the message about the end of a release begins."""
    other = "Release of version {version} " + release.outcome
    return _RELEASE_SUBJECTS.get(release.outcome, other).format(version=release.version)


@dataclass(frozen=True)
class _AlertRule:
    alert: str
    kinds: tuple[str, ...]
    targets: tuple[str, ...]
    min_seconds: float


_DOWN = ("kill", "stop", "pause", "kill-slot", "stop-slot", "pause-slot", "cut-slot")
#: The alert that must fire when a fault lasts that long. The rules measure 60 s of 120 s, or 120 s
#: of 240 s, by scrapes, and are evaluated every 15 s.
ALERT_RULES = (
    _AlertRule("SlotDown", _DOWN, ("stable-1", "stable-2", "canary"), 100),
    _AlertRule("ShipperDown", _DOWN, ("shipper",), 160),
    _AlertRule("CollectorDown", _DOWN, ("collector",), 160),
    _AlertRule("FollowerDown", _DOWN, ("recent",), 160),
)
#: Until an alert about something that has been recorded fires.
_ALERT_SECONDS = 60.0
_BAD_OUTCOMES = ("aborted", "failed", "inconclusive")
#: Prometheus responds to at least this share of the samples of a span that is judged.
_MIN_WATCHED = 0.9


def check_alerts(records: Records) -> list[str]:
    """An alert fires about every state that a person must know."""
    found = []
    for fault in records.faults:
        for rule in ALERT_RULES:
            if (
                fault.kind in rule.kinds
                and fault.target in rule.targets
                and not fault.skipped
                and fault.ended_at - fault.began_at >= rule.min_seconds
                and _is_watched(records, fault.began_at, fault.ended_at)
                and not _fires(records, rule.alert, fault.began_at, fault.ended_at + _ALERT_SECONDS)
            ):
                seconds = fault.ended_at - fault.began_at
                found.append(
                    f"{rule.alert} did not fire: {fault.kind} {fault.target}, {seconds:.0f} s"
                )
    for release in _group_releases(records.releases):
        end = release.completed_at
        if (
            release.outcome in _BAD_OUTCOMES
            and end
            and end + _ALERT_SECONDS <= records.ended_at
            and _is_watched(records, end, end + _ALERT_SECONDS)
            and not _fires(records, "ReleaseFailed", end, end + 2 * _ALERT_SECONDS)
        ):
            found.append(f"ReleaseFailed did not fire: {release.id} {release.outcome}")
    if (
        sum(records.dropped.values())
        and _is_watched(records, records.started_at, records.ended_at)
        and not records.alerts.get("ProvenanceRecordsDropped")
    ):
        found.append(f"ProvenanceRecordsDropped did not fire: {records.dropped}")
    return found


def _is_watched(records: Records, start: float, end: float) -> bool:
    """Return whether Prometheus and its targets could be reached all the time."""
    sampled = [time for time in records.watched if start <= time <= end]
    disturbing = ("prometheus", "prometheus@metrics", "docker", "nginx", "slots")
    is_disturbed = any(
        fault.target in disturbing and fault.began_at < end and fault.ended_at > start
        for fault in records.faults
        if not fault.skipped
    )
    return not is_disturbed and len(sampled) * _SAMPLE_SECONDS >= _MIN_WATCHED * (end - start)


def _fires(records: Records, alert: str, start: float, end: float) -> bool:
    return any(start <= time <= end for time in records.alerts.get(alert, []))


# -- resources and recovery ----------------------------------------------------------------------


def check_bounds(records: Records) -> list[str]:
    """Memory and disks stay within their limits."""
    found = [f"{name} was killed for its memory" for name in records.killed_for_memory]
    found += [
        f"{usage.kind} of {usage.name}: {usage.used / 2**20:.0f} MiB of {usage.limit / 2**20:.0f}"
        for usage in records.usage
        if usage.used > usage.limit
    ]
    return found


def check_recovery(records: Records) -> list[str]:
    """All is well again within the stated time after the last fault."""
    if not records.recovered_at:
        return [f"not well again within {MAX_RECOVERY_SECONDS:.0f} s"]
    return []


INVARIANTS: dict[str, Callable[[Records], list[str]]] = {
    "no valid request fails": check_availability,
    "every answer has the form of the contract": check_form,
    "every answer is recorded once or counted as lost": check_recorded,
    "every line of the stream is stored once": check_stream,
    "the promoted image is the judged one": check_promoted_is_judged,
    "no slot runs an unjudged image": check_only_judged_images,
    "one release at a time": check_one_release,
    "versions are complete or absent": check_versions,
    "a message for every end": check_messages,
    "an alert for every state a person must know": check_alerts,
    "memory and disk are bounded": check_bounds,
    "well again within the stated time": check_recovery,
}


def check(records: Records) -> dict[str, list[str]]:
    """Return the violations by invariant; empty: none."""
    found = {name: invariant(records) for name, invariant in INVARIANTS.items()}
    return {name: violations for name, violations in found.items() if violations}


def summarize(violations: dict[str, list[str]]) -> str:
    """Return the violations as text, with the first of each invariant."""
    lines = []
    for name, found in violations.items():
        lines.append(f"{name}: {len(found)}")
        lines += [f"  {text}" for text in found[:MAX_LISTED]]
    return "\n".join(lines)


def _at(records: Records, time: float) -> str:
    """Return a moment as seconds after the start of the load."""
    return f"at {time - records.started_at:.1f} s"
