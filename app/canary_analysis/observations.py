"""What is known of the slots in each minute, as arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SlotCounts:
    """Increments per minute of one or more slots: shape (..., slots, minutes), or as stated.

    Leading axes are releases: none for a real one, one for simulated ones. What a slot does not
    export is None.

    Attributes:
        answered: responses of any status.
        failures: responses of status 5xx.
        client_errors: responses of status 4xx.
        reached: scrapes that reached the slot.
        scrapes: scrapes that were tried; 0 in a minute without a sample.
        started: requests whose processing began.
        popular: responses with the popular list.
        recent: responses with a list by recent activity.
        recent_unused: responses with a list that could not use recent activity.
        recommended: responses with any list.
        buckets: successful responses by latency, not cumulative, shape (..., slots, minutes,
            buckets); the last bucket has no upper bound.
        seconds: sum of the latencies of successful responses.
    """

    answered: Counts
    failures: Counts
    client_errors: Counts
    reached: Counts
    scrapes: Counts
    started: Counts | None = None
    popular: Counts | None = None
    recent: Counts | None = None
    recent_unused: Counts | None = None
    recommended: Counts | None = None
    buckets: Counts | None = None
    seconds: Floats | None = None

    @property
    def slots(self) -> int:
        """Number of slots."""
        return int(self.answered.shape[-2])

    def first_minutes(self, minutes: int) -> "SlotCounts":
        """Return the first minutes only."""
        axes = {name: value for name, value in vars(self).items() if value is not None}
        return SlotCounts(
            **{
                name: value[..., :minutes, :] if name == "buckets" else value[..., :minutes]
                for name, value in axes.items()
            }
        )


@dataclass(frozen=True)
class Observations:
    """The canary (one slot), the stables (any number of slots), and the bounds of the buckets.

    Attributes:
        canary: counts of the canary; the axis of slots has length 1.
        stables: counts of the stables.
        bounds: finite upper bounds of the latency buckets in seconds.
        expected_scrapes: scrapes of a slot in a full minute.
    """

    canary: SlotCounts
    stables: SlotCounts
    bounds: Floats
    expected_scrapes: int

    @property
    def minutes(self) -> int:
        """Number of minutes."""
        return int(self.canary.answered.shape[-1])

    def first_minutes(self, minutes: int) -> "Observations":
        """Return the first minutes only."""
        return Observations(
            self.canary.first_minutes(minutes),
            self.stables.first_minutes(minutes),
            self.bounds,
            self.expected_scrapes,
        )
