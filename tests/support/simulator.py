"""Small environments and simulations for tests."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.ingest.log_parser import RatingScale
from app.simulator.arrivals import ArrivalSettings
from app.simulator.corruption import CorruptionRates
from app.simulator.driver import ModelClient, run_offline
from app.simulator.environment import Environment, EnvironmentSettings
from app.simulator.simulation import Simulation, SimulationSettings

NO_CORRUPTION = CorruptionRates(inserted=0, random_ids=0)


class MemorySink:
    """Keeps lines with their labels."""

    def __init__(self) -> None:
        self.lost: Counter[str] = Counter()
        self.lines: list[tuple[str, str]] = []

    def write(self, label: str, lines: Sequence[str]) -> None:
        self.lines += [(label, line) for line in lines]

    def close(self) -> None:
        pass


def make_environment(**settings: Any) -> Environment:
    return Environment(EnvironmentSettings(**settings))


def make_simulation(
    arrivals: dict[str, Any] | None = None,
    corruption: CorruptionRates | None = None,
    **environment: Any,
) -> tuple[Simulation, MemorySink]:
    sink = MemorySink()
    settings = SimulationSettings(
        EnvironmentSettings(**environment),
        ArrivalSettings(**{"rate": 0.02, **(arrivals or {})}),
        corruption or CorruptionRates(),
        RatingScale(),
    )
    return Simulation(settings, [sink]), sink


def run_simulation(
    days: float = 0.2, model: Path | None = None, **settings: Any
) -> tuple[Simulation, list[tuple[str, str]]]:
    """Run offline; return the simulation and the labelled lines that it wrote."""
    simulation, sink = make_simulation(**settings)
    run_offline(simulation, ModelClient(model) if model else None, days, lambda: None)
    return simulation, sink.lines
