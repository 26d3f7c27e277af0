"""What a run left behind, read from outside: the load's own log, the database, the store, Docker.

Nothing here comes from the product's code. The checker (`invariants`) knows these records only, so
that each of its conclusions can be tried with records that have a defect.
"""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class AppliedFault:
    """A fault as it was done; times are Unix times in seconds.

    Attributes:
        number: its place in the schedule.
        kind: of the schedule.
        target: what it was done to.
        began_at: before its begin, and
        ended_at: after its end.
        note: what was done in particular.
        skipped: why it could not be done here; "": it was done.
    """

    number: int
    kind: str
    target: str
    began_at: float
    ended_at: float
    note: str = ""
    skipped: str = ""


@dataclass(frozen=True)
class Request:
    """A valid request of the load, by the load generator's log.

    Attributes:
        sent_at: Unix time.
        seconds: until the response was complete, or the request failed.
        status: of the response; 0 without one.
        user: user id.
        request_id: of the response's header, and so
        slot: and
        version: of the model.
        body: text of a response with status 200.
        error: of the client.
    """

    sent_at: float
    seconds: float
    status: int
    user: int
    request_id: str = ""
    slot: str = ""
    version: str = ""
    body: str = ""
    error: str = ""


@dataclass(frozen=True)
class StoredAnswer:
    """A row of the table `reccom`, with its movies as text."""

    request_id: str
    slot: str
    version: str
    user: int
    body: str


@dataclass(frozen=True)
class StoredPair:
    """A row of a segment of the event store: minutes of a movie, or a rating."""

    user: int
    movie: str
    minutes: tuple[int, ...] = ()
    rating: int | None = None


@dataclass(frozen=True)
class SlotSample:
    """The image of a slot's container at one moment."""

    time: float
    slot: str
    image: str


@dataclass(frozen=True)
class ReleaseEvent:
    """A line of the history of a release.

    Attributes:
        release: id of the release.
        time: Unix time.
        event: release_started, phase_started, evaluation, release_completed.
        phase: that began.
        verdict: of an evaluation.
        outcome: of a completed release.
        version: number of the version.
        kind: release or rollback.
    """

    release: str
    time: float
    event: str
    phase: str = ""
    verdict: str = ""
    outcome: str = ""
    version: str = ""
    kind: str = ""


@dataclass(frozen=True)
class PublishedVersion:
    """A version in Git and DVC.

    Attributes:
        number: of the version.
        has_commit: the branch has its commit.
        has_tag: its tag names that commit.
        missing: files of the DVC remote that it names and that are missing or damaged.
    """

    number: int
    has_commit: bool
    has_tag: bool
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class RetrainingEnd:
    """How a retraining ended, by its process: its status, or killed."""

    ended_at: float
    status: str
    subject: str = ""
    version: int | None = None


@dataclass(frozen=True)
class Message:
    """A mail that the mail server got."""

    time: float
    subject: str


@dataclass(frozen=True)
class Usage:
    """What something holds at the end of the run, in bytes, and how much it may."""

    name: str
    kind: Literal["memory", "disk"]
    used: int
    limit: int


@dataclass
class Records:
    """All records of a run.

    Attributes:
        started_at: Unix time of the first request, and
        ended_at: of the last.
        recovered_at: when all was well again after the last fault; 0: not within the limit.
        judges_lateness: whether late responses count, which they do not on a machine that runs
            other programs.
        faults: what was done.
        requests: all requests of the load.
        answers: rows of `reccom` of this run.
        dropped: records that slots and shipper counted as lost, by reason.
        lines: lines of the stream of this run, as the topic has them.
        sent_lines: lines that the broker has confirmed to a producer of ours.
        stored: rows of the store's segments about users of `lines`; one pair may have several.
        single_users: users of whom one line was sent, once.
        slots: samples of the slots.
        known_images: images that earlier runs in the same stack have judged good.
        releases: histories of the releases, each from its start.
        versions: versions in Git and DVC.
        retrainings: ends of the retrainings of this run.
        messages: mails, of earlier runs in the same stack as well.
        alerts: moments in which an alert fired, by name.
        watched: moments in which Prometheus responded.
        usage: memory of containers, and size of volumes.
        killed_for_memory: containers that the kernel has killed.
    """

    started_at: float
    ended_at: float
    recovered_at: float
    judges_lateness: bool = True
    faults: list[AppliedFault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    answers: list[StoredAnswer] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    sent_lines: list[str] = field(default_factory=list)
    stored: list[StoredPair] = field(default_factory=list)
    single_users: frozenset[int] = frozenset()
    slots: list[SlotSample] = field(default_factory=list)
    known_images: frozenset[str] = frozenset()
    releases: list[ReleaseEvent] = field(default_factory=list)
    versions: list[PublishedVersion] = field(default_factory=list)
    retrainings: list[RetrainingEnd] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    alerts: dict[str, list[float]] = field(default_factory=dict)
    watched: list[float] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)
    killed_for_memory: list[str] = field(default_factory=list)
