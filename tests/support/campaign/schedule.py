"""What happens in a run of a campaign: faults at moments that follow from a seed.

A schedule is drawn without a look at the stack, so that a seed means the same everywhere. It can be
stored, and repeated in part: `keep` removes faults and leaves the others at their moments.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

SLOTS = ("stable-1", "stable-2", "canary")
#: Containers that may be killed, stopped or paused one at a time, besides slots and NGINX.
SERVICES = (
    "nginx-exporter", "mysql", "shipper", "collector", "recent", "scheduler", "prometheus",
    "alertmanager", "console", "docker-proxy", "cadvisor", "kafka", "maildev",
)  # fmt: skip
#: Phases of a release, and steps of a retraining, in which its process is killed.
PHASES = ("building", "verifying", "deploying", "analyzing", "promoting", "finalizing")
STEPS = (
    "snapshot", "check-data", "validate", "train", "commit", "push-data", "push-commit", "tracking",
)  # fmt: skip
#: Before the first fault, and after the end of the last one, in seconds.
QUIET_SECONDS = 5.0
#: To find a fault that ends in time and does not conflict with others.
_ATTEMPTS = 4


@dataclass(frozen=True)
class Kind:
    """What can be drawn.

    Attributes:
        targets: what it is done to; one of them is drawn.
        seconds: shortest and longest duration.
        long_seconds: duration of one in five, until an alert; 0: of none.
        weight: how often it is drawn, relative to the others.
        min_minutes: shortest run in which it is drawn.
        resources: what it occupies besides `target:<target>`; faults with a common resource do not
            overlap. "*" overlaps with nothing.
    """

    targets: tuple[str, ...]
    seconds: tuple[float, float] = (5, 40)
    long_seconds: float = 0
    weight: float = 1
    min_minutes: float = 0
    resources: tuple[str, ...] = ()


#: Long enough for every alert about a container that is down (120 s in 240 s).
_UNTIL_ALERT_SECONDS = 170


def _of_slot() -> Kind:
    """A fault that takes one slot away: never two, because NGINX tries two slots for a request."""
    return Kind(SLOTS, resources=("slots",), long_seconds=120, weight=2)


def _of_release(*targets: str, seconds: float = 1, resource: str = "") -> Kind:
    """What needs the time of a retraining or of a release."""
    resources = (resource,) if resource else ()
    return Kind(targets, (seconds, seconds), weight=2, min_minutes=3, resources=resources)


KINDS: dict[str, Kind] = {
    "kill": Kind(SERVICES, long_seconds=_UNTIL_ALERT_SECONDS, weight=4),
    "stop": Kind(SERVICES, long_seconds=_UNTIL_ALERT_SECONDS, weight=3),
    "pause": Kind(SERVICES, weight=3),
    "kill-slot": _of_slot(),
    "stop-slot": _of_slot(),
    "pause-slot": _of_slot(),
    "kill-worker": Kind(SLOTS, (1, 1), resources=("slots",)),
    "cut-slot": Kind(SLOTS, (5, 30), resources=("slots",)),
    "slow-slot": Kind(SLOTS, (10, 40), resources=("slots",)),
    # The three excuses.
    "kill-nginx": Kind(("nginx",), (1, 5), weight=0.7),
    "pause-nginx": Kind(("nginx",), (1, 5), weight=0.7),
    "stop-all-slots": Kind(("slots",), (3, 8), weight=0.7, resources=("slots", *SLOTS)),
    "restart-docker": Kind(("docker",), (1, 1), weight=0.7, min_minutes=3, resources=("*",)),
    # Networks.
    "cut": Kind(
        ("mysql@database", "shipper@database", "kafka@kafka", "collector@kafka", "recent@kafka",
         "prometheus@metrics", "alertmanager@metrics", "scheduler@egress", "maildev@metrics"),
        weight=3,
    ),
    "slow": Kind(("mysql@database:3306", "kafka@kafka:9092", "maildev@metrics:1025"), weight=2),
    # Disks, clocks, files.
    "full-disk": Kind(
        ("spool", "store", "workspace", "database", "prometheus"), (10, 60), weight=3, min_minutes=2
    ),
    "clock": Kind(("collector", "recent", "shipper", "scheduler"), (10, 60), weight=2),
    "torn": Kind(
        ("recent-table", "store-segment", "git-index", "release-history"), (3, 10), weight=2,
        min_minutes=2,
    ),
    # Remotes.
    "remote-away": Kind(("git", "dvc"), (10, 60), weight=2, min_minutes=3),
    # What the system does meanwhile.
    "retrain": _of_release("scheduler", resource="retraining"),
    "kill-retraining": _of_release(*STEPS, seconds=60, resource="retraining"),
    "deploy": _of_release("release"),
    "kill-release": _of_release(*PHASES, seconds=60, resource="release-process"),
    "two-releases": Kind(("release",), (1, 1), min_minutes=3),
    # Not one that answers with errors: those reach users until the verdict, which is what a canary
    # costs, and no excuse of a campaign.
    "bad-image": Kind(
        ("slow:0.4", "dies:20", "crash:canary", "corrupt"), (1, 1), min_minutes=3
    ),
    "rollback": Kind(("release",), (1, 1), min_minutes=3, weight=0.5),
}  # fmt: skip
#: Below so many minutes a run needs no repository, no small disks and no clocks of its own.
FULL_MINUTES = 2
SHORT_KINDS = tuple(
    name for name, kind in KINDS.items() if kind.min_minutes < FULL_MINUTES and name != "clock"
)


@dataclass(frozen=True)
class PlannedFault:
    """One fault of a schedule.

    Attributes:
        number: its place in the schedule as drawn, by which it is kept or removed.
        kind: key of `KINDS`.
        target: what it is done to.
        start: seconds after the start of the load.
        seconds: duration.
    """

    number: int
    kind: str
    target: str
    start: float
    seconds: float

    @property
    def end(self) -> float:
        return self.start + self.seconds

    @property
    def resources(self) -> frozenset[str]:
        """What no other fault may occupy at the same time."""
        target = self.target.partition("@")[0]
        return frozenset({target, *KINDS[self.kind].resources})

    def conflicts_with(self, other: "PlannedFault") -> bool:
        """Return whether both would occupy the same thing at the same time."""
        apart = self.start >= other.end + 1 or other.start >= self.end + 1
        shared = self.resources & other.resources or "*" in self.resources | other.resources
        return bool(shared) and not apart

    def __str__(self) -> str:
        times = f"{self.start:6.1f} s  {self.seconds:6.1f} s"
        return f"{self.number:3}  {times}  {self.kind} {self.target}"


@dataclass(frozen=True)
class Schedule:
    """The faults of one run, in the order of their starts.

    Attributes:
        seed: from which they were drawn.
        minutes: duration of the run, without the time until the system is well again.
        faults: the faults.
    """

    seed: int
    minutes: float
    faults: tuple[PlannedFault, ...]

    def keep(self, numbers: Collection[int]) -> "Schedule":
        """Return the schedule with these faults only, each at its moment.

        Raises:
            ValueError: a number is not in the schedule.
        """
        if missing := set(numbers) - {fault.number for fault in self.faults}:
            raise ValueError(f"no fault {sorted(missing)} in the schedule of seed {self.seed}")
        kept = tuple(fault for fault in self.faults if fault.number in numbers)
        return Schedule(self.seed, self.minutes, kept)

    def halves(self) -> list["Schedule"]:
        """Return the schedule's two halves, to find by bisection the faults that matter."""
        numbers = [fault.number for fault in self.faults]
        middle = (len(numbers) + 1) // 2
        return [self.keep(part) for part in (numbers[:middle], numbers[middle:]) if part]

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Schedule":
        """Read a schedule.

        Raises:
            ValueError: the text is none, or names an unknown kind.
        """
        content: Mapping[str, Any] = json.loads(text)
        try:
            faults = tuple(PlannedFault(**fault) for fault in content["faults"])
            schedule = cls(int(content["seed"]), float(content["minutes"]), faults)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a schedule: {error}") from error
        if unknown := {fault.kind for fault in faults} - KINDS.keys():
            raise ValueError(f"unknown kinds of faults: {sorted(unknown)}")
        return schedule

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, {self.minutes:g} minutes, {len(self.faults)} faults"]
        lines.append("  #     start  duration  fault")
        return "\n".join([*lines, *map(str, self.faults)])


def draw(seed: int, minutes: float, kinds: Iterable[str] = KINDS) -> Schedule:
    """Draw a schedule.

    The first fault's kind goes through all kinds with the seed, so that as many seeds as there are
    kinds have each at least once. Runs of three minutes and more begin with a retraining and its
    deployment, so that there is something to be hit.

    Args:
        seed: the same seed, minutes and kinds give the same schedule.
        minutes: duration of the run.
        kinds: keys of `KINDS` to draw from.
    """
    rng = Random(f"{seed} {minutes:g}")
    possible = [name for name in kinds if KINDS[name].min_minutes <= minutes]
    end = minutes * 60 - QUIET_SECONDS
    planned: list[PlannedFault] = []
    if "retrain" in possible:
        planned.append(PlannedFault(0, "retrain", "scheduler", 1.0, 1.0))
        planned.append(PlannedFault(1, "deploy", "release", round(minutes * 12, 1), 1.0))
    time = QUIET_SECONDS
    name = possible[seed % len(possible)]
    while time < end:
        for _ in range(_ATTEMPTS):
            fault = _draw_fault(rng, len(planned), name, time, end)
            name = rng.choices(possible, [KINDS[name].weight for name in possible])[0]
            if fault and not any(fault.conflicts_with(other) for other in planned):
                planned.append(fault)
                break
        # A third begins together with the one before; the others after a pause.
        time += rng.choice([rng.uniform(0, 2), rng.uniform(5, 25), rng.uniform(10, 40)])
    return Schedule(seed, minutes, number_by_start(planned))


def _draw_fault(
    rng: Random, number: int, name: str, start: float, end: float
) -> PlannedFault | None:
    """Draw target and duration; None where it does not end in time."""
    kind = KINDS[name]
    target = rng.choice(kind.targets)
    seconds = rng.uniform(*kind.seconds)
    if kind.long_seconds and rng.random() < 0.2:
        seconds = kind.long_seconds
    fault = PlannedFault(number, name, target, round(start, 1), round(seconds, 1))
    return fault if fault.end <= end else None


def number_by_start(faults: Sequence[PlannedFault]) -> tuple[PlannedFault, ...]:
    """Return the faults in the order of their starts, numbered from 0."""
    ordered = sorted(faults, key=lambda fault: (fault.start, fault.number))
    return tuple(
        PlannedFault(number, fault.kind, fault.target, fault.start, fault.seconds)
        for number, fault in enumerate(ordered)
    )


def parse_seeds(text: str) -> list[int]:
    """Return the seeds of a list such as `1-10,17`.

    Raises:
        ValueError: it is no such list.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        seeds += range(int(first), int(last if dash else first) + 1)
    if not seeds:
        raise ValueError(f"no seeds: {text!r}")
    return seeds
