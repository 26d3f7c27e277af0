"""What `marquee simulate` does: puts a run together, lets it happen, and sums it up."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka.errors import KafkaError

from app.model.manifest import ArtifactError
from app.simulator.asking import ModelAnswers
from app.simulator.driver import Tell, run_alone, run_live, stop_on_signals
from app.simulator.log_writer import Output
from app.simulator.metrics import serve_metrics
from app.simulator.progress import telling
from app.simulator.simulation import RunSettings, Simulation
from app.simulator.sinks import FileOutput, KafkaOutput


class SimulationError(Exception):
    """A run that cannot begin; the message says why."""


@dataclass(frozen=True)
class Plan:
    """A run, and what it is connected to.

    Attributes:
        settings: what the run is a function of.
        url: of the service; or
        model: a directory to answer from; or neither, and nobody is asked.
        days: how long the world's time goes on; None: until it is stopped.
        out: file for lines; `-` is standard output.
        servers: Kafka brokers for lines, and
        topic: theirs.
        metrics: where Prometheus is answered.
    """

    settings: RunSettings
    url: str | None = None
    model: Path | None = None
    days: float | None = None
    out: str | None = None
    servers: str = ""
    topic: str = ""
    metrics: str | None = None


def simulate(plan: Plan) -> dict[str, Any]:
    """Run; returns the summary that is printed.

    Raises:
        SimulationError: it cannot begin.
    """
    started = time.perf_counter()
    try:
        answers = ModelAnswers(plan.model) if plan.model else None
        simulation = Simulation(plan.settings, _outputs(plan))
        if plan.metrics:
            serve_metrics(simulation, plan.metrics)
    except (ArtifactError, KafkaError, ValueError) as error:
        raise SimulationError(str(error)) from error
    except OSError as error:
        where = error.filename or plan.metrics
        raise SimulationError(f"{where}: {error.strerror or error}") from error
    try:
        with telling(simulation) as tell:
            if plan.url:
                asyncio.run(_live(simulation, plan.url, plan.days, tell))
            else:
                run_alone(simulation, answers, plan.days or 1.0, tell)
    finally:
        simulation.stream.close()
    return simulation.summary() | {"seconds": round(time.perf_counter() - started, 3)}


async def _live(simulation: Simulation, url: str, days: float | None, tell: Tell) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    await run_live(simulation, url, days, tell, stop)


def _outputs(plan: Plan) -> list[Output]:
    outputs: list[Output] = []
    if plan.out:
        outputs.append(FileOutput(plan.out))
    if plan.servers:
        outputs.append(KafkaOutput(plan.servers, plan.topic, may_wait=plan.url is None))
    return outputs
