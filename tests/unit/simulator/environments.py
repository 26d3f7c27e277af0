"""Small runs for tests."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from app.ingest.log_parser import RatingScale
from app.simulator.arrivals import Rates
from app.simulator.corruption import DamageRates
from app.simulator.driver import run_alone
from app.simulator.environment import World, WorldSettings
from app.simulator.simulation import RunSettings, Simulation


class Kept:
    """An output that keeps lines with their labels."""

    def __init__(self) -> None:
        self.lost: Counter[str] = Counter()
        self.lines: list[tuple[str, str]] = []
        self.closed = False

    def write(self, label: str, lines: Sequence[str]) -> None:
        self.lines += [(label, line) for line in lines]

    def close(self) -> None:
        self.closed = True


def world(**changes: Any) -> World:
    return World(WorldSettings(**changes))


def settings(
    rates: dict[str, Any] | None = None, damage: DamageRates | None = None, **changes: Any
) -> RunSettings:
    return RunSettings(
        WorldSettings(**changes),
        Rates(**{"rate": 0.02, **(rates or {})}),
        damage or DamageRates(),
        RatingScale(),
    )


def run(days: float = 0.2, **changes: Any) -> tuple[Simulation, list[tuple[str, str]]]:
    """A run in which nobody is asked; what it sent."""
    kept = Kept()
    simulation = Simulation(settings(**changes), [kept])
    run_alone(simulation, None, days, lambda: None)
    return simulation, kept.lines
