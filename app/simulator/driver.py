"""Runs a simulation: in real time against a service, or as fast as possible without one."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import aiohttp
from kafka.errors import KafkaError
from yarl import URL

from app.cli_errors import MarqueeError
from app.model.recommendation_lists import RecommendationLists
from app.recent_events import KEPT_MOVIES, OLDER_MOVIES, RecentEvent, keep_last, to_seconds
from app.shutdown import stop_event
from app.simulator.arrivals import Arrival
from app.simulator.exporter import metrics_server
from app.simulator.log_writer import Sink
from app.simulator.movies import DAY_SECONDS
from app.simulator.progress import ReportProgress, progress_reporter
from app.simulator.responses import REQUEST_TIMEOUT_SECONDS, Response, classify_response
from app.simulator.simulation import Simulation, SimulationSettings
from app.simulator.sinks import FileSink, KafkaSink

_TICK_SECONDS = 0.02
#: Idle connections are closed before NGINX closes them.
_KEEPALIVE_TIMEOUT_SECONDS = 15
_ARRIVALS_PER_REPORT = 1000
#: Duration of a response from a model directory, which takes no measurable time.
_MODEL_RESPONSE_SECONDS = 0.001
DEFAULT_DAYS = 1.0


class SimulationError(MarqueeError):
    """A simulation that cannot start."""


@dataclass(frozen=True)
class RunOptions:
    """What a simulation is connected to.

    Attributes:
        url: base URL of the service; or
        model: model directory to respond from; with neither, no requests are sent.
        uses_recent: whether responses of the model depend on what was watched in this run.
        days: simulated days; None: until stopped.
        out: file for log lines; `-` is standard output.
        kafka_connection: `connection_options` of the brokers for log lines; empty: none.
        kafka_topic: their topic.
        metrics_bind: `host:port` at which to serve Prometheus metrics.
    """

    url: str | None = None
    model: Path | None = None
    uses_recent: bool = False
    days: float | None = None
    out: str | None = None
    kafka_connection: Mapping[str, Any] = field(default_factory=dict)
    kafka_topic: str = ""
    metrics_bind: str | None = None


class ModelClient:
    """Responds from a model directory as the service would.

    Args:
        model: the model directory.
        uses_recent: whether responses depend on the events that were added.

    Raises:
        ArtifactError: the model is missing or damaged.
        SimulationError: it lacks the parts for recent events.
    """

    def __init__(self, model: Path, uses_recent: bool = False) -> None:
        self._lists = RecommendationLists.open(model)
        self._version = str(self._lists.manifest.version)
        self.uses_recent = uses_recent
        if uses_recent and self._lists.recent is None:
            raise SimulationError("the model lacks the parts for recent events: train it anew")
        self._numbers = {movie_id: i for i, movie_id in enumerate(self._lists.movie_ids)}
        #: Events of each user by movie number, the newest last.
        self._events: dict[int, dict[int, RecentEvent]] = {}

    def add_event(
        self, user_id: int, movie_id: str, minutes: int, rating: int | None, time: float
    ) -> None:
        """Add a minute or a rating; movies that the model does not have are left out.

        Args:
            user_id: the user.
            movie_id: the movie.
            minutes: minutes watched so far.
            rating: None for a minute.
            time: seconds since 1970.
        """
        number = self._numbers.get(movie_id)
        if number is not None:
            events = self._events.setdefault(user_id, {})
            events.pop(number, None)
            events[number] = RecentEvent(number, minutes, rating, time)
            if len(events) > KEPT_MOVIES + OLDER_MOVIES:
                del events[next(iter(events))]

    def fetch(self, arrival: Arrival, now: float = 0) -> Response:
        """Return the service's response to a request; `now` in seconds since 1970."""
        duration = _MODEL_RESPONSE_SECONDS
        if not arrival.user_id:
            return Response("http_error", 400, duration, detail="a user id is a whole number")
        kept = keep_last([*self._events.get(arrival.user_id, {}).values()][::-1])
        found = self._lists.rank_recent(arrival.user_id, kept.events, now, kept.older)
        body = (found[0] if found else self._lists.get(arrival.user_id)).text
        return classify_response(200, body, duration, self._version)


def run_simulation(settings: SimulationSettings, options: RunOptions) -> dict[str, Any]:
    """Run a simulation to its end and return the summary that is printed.

    Raises:
        SimulationError: Kafka or the settings do not allow it to start.
        ArtifactError: the model is missing or damaged.
        OSError: a file or an address cannot be opened.
    """
    started = time.perf_counter()
    try:
        model = ModelClient(options.model, options.uses_recent) if options.model else None
        simulation = Simulation(settings, _open_sinks(options))
    except (KafkaError, ValueError) as error:
        raise SimulationError(str(error)) from error
    try:
        with (
            metrics_server(simulation, options.metrics_bind),
            progress_reporter(simulation) as report,
        ):
            if options.url:
                stop = stop_event()
                asyncio.run(run_live(simulation, options.url, options.days, report, stop))
            else:
                run_offline(simulation, model, options.days or DEFAULT_DAYS, report)
    finally:
        simulation.log_writer.close()
    return simulation.summary() | {"seconds": round(time.perf_counter() - started, 3)}


def _open_sinks(options: RunOptions) -> list[Sink]:
    sinks: list[Sink] = []
    if options.out:
        sinks.append(FileSink(options.out))
    if options.kafka_connection:
        is_offline = options.url is None
        sinks.append(
            KafkaSink(options.kafka_connection, options.kafka_topic, block_when_full=is_offline)
        )
    return sinks


def run_offline(
    simulation: Simulation, model: ModelClient | None, days: float, report: ReportProgress
) -> None:
    """Run without a clock; the same settings and model give the same log, byte for byte."""
    start = to_seconds(simulation.environment.datetime_at(0))
    if model and model.uses_recent:

        def add_event(user: int, movie: str, minutes: int, rating: int | None, second: int) -> None:
            model.add_event(user, movie, minutes, rating, start + second)

        simulation.watch_sessions.on_event = add_event
    for arrival in simulation.arrivals(days):
        simulation.watch_sessions.advance(arrival.time)
        simulation.announce(arrival)
        if model:
            response = model.fetch(arrival, start + int(arrival.time))
            simulation.handle_response(arrival, response)
        else:
            simulation.handle_visit(arrival)
        if arrival.number % _ARRIVALS_PER_REPORT == 0:
            report()
    simulation.watch_sessions.advance(days * DAY_SECONDS)


async def run_live(
    simulation: Simulation, url: str, days: float | None, report: ReportProgress, stop: Event
) -> None:
    """Send each request when it is due, however many responses are outstanding."""
    run = _LiveRun(simulation, url)
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        tasks = (
            asyncio.create_task(run.send_requests(session, days)),
            asyncio.create_task(run.advance_time(report, stop)),
            run.failure,
        )
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*run.outstanding)
    for result in results:
        if isinstance(result, Exception):
            raise result
    if days is not None and not stop.is_set():
        simulation.watch_sessions.advance(days * DAY_SECONDS)


class _LiveRun:
    """The tasks of a run in real time.

    Attributes:
        outstanding: one task for each request without a response.
        failure: set when one of them fails, which is a defect of the simulator.
    """

    def __init__(self, simulation: Simulation, url: str) -> None:
        self.outstanding: set[asyncio.Task[None]] = set()
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._simulation = simulation
        self._url = url.rstrip("/")
        self._start = time.perf_counter()

    async def send_requests(self, session: aiohttp.ClientSession, days: float | None) -> None:
        """Send every request when it is due."""
        for arrival in self._simulation.arrivals(days):
            # Sleeping for 0 lets responses be processed even when requests are late.
            await asyncio.sleep(max(0.0, arrival.due - self._elapsed()))
            self._simulation.announce(arrival)
            task = asyncio.create_task(self._send_request(session, arrival))
            self.outstanding.add(task)
            task.add_done_callback(self._on_done)

    async def advance_time(self, report: ReportProgress, stop: Event) -> None:
        """Advance simulated time with the clock until `stop` is set."""
        speed = self._simulation.settings.arrivals.speed
        while not stop.is_set():
            await asyncio.sleep(_TICK_SECONDS)
            self._simulation.watch_sessions.advance(self._elapsed() * speed)
            report()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self.outstanding.discard(task)
        error = None if task.cancelled() else task.exception()
        if error and not self.failure.done():
            self.failure.set_exception(error)

    async def _send_request(self, session: aiohttp.ClientSession, arrival: Arrival) -> None:
        self._simulation.request_stats.record_send_delay(self._elapsed() - arrival.due)
        self._simulation.handle_response(arrival, await self._fetch(session, arrival))

    async def _fetch(self, session: aiohttp.ClientSession, arrival: Arrival) -> Response:
        url = URL(f"{self._url}/recommend/{arrival.path_user}", encoded=True)
        sent = self._elapsed()
        try:
            async with session.get(url, allow_redirects=False) as response:
                version = response.headers.get("X-Model-Version", "unknown")
                body = await response.text(errors="replace")
                return classify_response(response.status, body, self._elapsed() - sent, version)
        except TimeoutError:
            duration = self._elapsed() - sent
            return Response("timeout", 0, duration, detail="no response within 600 ms")
        except (aiohttp.ClientError, OSError) as error:
            duration = self._elapsed() - sent
            return Response("connection_error", 0, duration, detail=str(error))

    def _elapsed(self) -> float:
        """Seconds since the start, by the clock."""
        return time.perf_counter() - self._start
