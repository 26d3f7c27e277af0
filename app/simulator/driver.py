"""Drives a run: against a service in real time, or by itself as fast as it can."""

import asyncio
import signal
import time
from collections.abc import Callable

import aiohttp
from yarl import URL

from app.simulator.arrivals import Arrival
from app.simulator.asking import ModelAnswers
from app.simulator.movies import DAY
from app.simulator.responses import LIMIT_SECONDS, Answer, judge
from app.simulator.simulation import Simulation

_TICK_SECONDS = 0.02
#: Connections are closed before the edge closes them.
_KEEP_ALIVE_SECONDS = 15
_ARRIVALS_BETWEEN_TELLS = 1000
Tell = Callable[[], None]


def run_alone(
    simulation: Simulation, answers: ModelAnswers | None, days: float, tell: Tell
) -> None:
    """Let the days pass without a clock; with equal answers the stream is equal to the byte."""
    for arrival in simulation.arrivals(days):
        simulation.viewing.advance(arrival.time)
        simulation.begin(arrival)
        if answers:
            simulation.answered(arrival, answers.answer(arrival))
        else:
            simulation.unasked(arrival)
        if arrival.number % _ARRIVALS_BETWEEN_TELLS == 0:
            tell()
    simulation.viewing.advance(days * DAY)


async def run_live(
    simulation: Simulation, url: str, days: float | None, tell: Tell, stop: asyncio.Event
) -> None:
    """Ask a service, each request when it is due, however many answers are outstanding."""
    live = _Live(simulation, url)
    timeout = aiohttp.ClientTimeout(total=LIMIT_SECONDS)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        ticking = asyncio.create_task(live.tick(tell))
        asking = asyncio.create_task(live.ask_all(session, days))
        stopping = asyncio.create_task(stop.wait())
        everything = (asking, ticking, stopping, live.failure)
        await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
        for task in everything:
            task.cancel()
        ended = await asyncio.gather(*everything, return_exceptions=True)
        await asyncio.gather(*live.outstanding)
    for error in ended:
        if isinstance(error, Exception):
            raise error
    if days is not None and not stop.is_set():
        simulation.viewing.advance(days * DAY)


def stop_on_signals(stop: asyncio.Event) -> None:
    """Ctrl-C and `docker stop` end a run as its last day does."""
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


class _Live:
    def __init__(self, simulation: Simulation, url: str) -> None:
        self.outstanding: set[asyncio.Task[None]] = set()
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._simulation = simulation
        self._url = url.rstrip("/")
        self._start = time.perf_counter()

    async def ask_all(self, session: aiohttp.ClientSession, days: float | None) -> None:
        """Send every request when it is due."""
        for arrival in self._simulation.arrivals(days):
            # A sleep of 0 lets answers in, even when requests are behind.
            await asyncio.sleep(max(0.0, arrival.due - self._now()))
            self._simulation.begin(arrival)
            task = asyncio.create_task(self._ask(session, arrival))
            self.outstanding.add(task)
            task.add_done_callback(self._ended)

    async def tick(self, tell: Tell) -> None:
        """Let the world's time pass."""
        speed = self._simulation.settings.rates.speed
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self._simulation.viewing.advance(self._now() * speed)
            tell()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.outstanding.discard(task)
        error = None if task.cancelled() else task.exception()
        if error and not self.failure.done():
            self.failure.set_exception(error)  # a defect here: the run ends and says so

    async def _ask(self, session: aiohttp.ClientSession, arrival: Arrival) -> None:
        self._simulation.availability.sent_behind(self._now() - arrival.due)
        self._simulation.answered(arrival, await self._fetch(session, arrival))

    async def _fetch(self, session: aiohttp.ClientSession, arrival: Arrival) -> Answer:
        url = URL(f"{self._url}/recommend/{arrival.asked_as}", encoded=True)
        sent = self._now()
        try:
            async with session.get(url, allow_redirects=False) as response:
                version = response.headers.get("X-Model-Version", "unknown")
                body = await response.text(errors="replace")
                return judge(response.status, body, self._now() - sent, version)
        except TimeoutError:
            return Answer("late", 0, self._now() - sent, detail="no answer within 600 ms")
        except (aiohttp.ClientError, OSError) as error:
            return Answer("unreachable", 0, self._now() - sent, detail=str(error))

    def _now(self) -> float:
        return time.perf_counter() - self._start
