"""What runs and looks on during a run: the load, the simulator, lines of our own, and samplers."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from kafka import KafkaProducer
from kafka.errors import KafkaError

from app.simulator.environment import SAMPLE_END
from tests.support.campaign.docker_engine import list_containers
from tests.support.campaign.records import Message, Request, SlotSample
from tests.support.campaign.schedule import SLOTS
from tests.support.load import CLIENT_TIMEOUT_SECONDS, binary
from tests.support.stack import MAILDEV, PROJECT, PROMETHEUS, URL
from tests.support.stream import BROKER

#: Users of the lines that are sent once; no other user has such an id.
FIRST_SINGLE_USER = 5_000_000_000
_USERS_PER_SEED = 100_000
_MOVIES = ("whiplash+2014", "the+matrix+1999", "leon+the+professional+1994", "go+2001")
_LINE_SECONDS = 0.25
_SLOT_SECONDS, _LOOK_SECONDS = 0.5, 2.0
#: Simulated seconds in a second, and requests in a second: 500 lines a second, as in the real log.
SIMULATION_SPEED, SIMULATION_RATE = 120, 5


class Load:
    """Requests at a constant rate, by vegeta, with the log of every answer in a file."""

    def __init__(self, directory: Path, users: Sequence[int], rate: int) -> None:
        self._log = directory / "requests.bin"
        targets = directory / "targets.txt"
        targets.write_text("".join(f"GET {URL}/recommend/{user}\n" for user in users))
        self._process = subprocess.Popen(
            [str(binary()), "attack", f"-targets={targets}", f"-rate={rate}", "-duration=0",
             f"-timeout={CLIENT_TIMEOUT_SECONDS}s", "-max-body=-1", "-redirects=0",
             f"-output={self._log}"],
        )  # fmt: skip

    def stop(self) -> list[Request]:
        """Stop the load; return all requests in the order in which they ended."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)
        encoder = subprocess.Popen(
            [str(binary()), "encode", "-to=json", str(self._log)], stdout=subprocess.PIPE, text=True
        )
        assert encoder.stdout
        with encoder.stdout as lines:
            found = [parse_hit(json.loads(line)) for line in lines]
        encoder.wait(30)
        self._log.unlink()
        return found


def parse_hit(hit: dict[str, Any]) -> Request:
    """Return a result of vegeta, as JSON, as a request."""
    headers = {name: values[0] for name, values in (hit.get("headers") or {}).items()}
    moment = datetime.fromisoformat(hit["timestamp"][:26].rstrip("Z") + "+00:00")
    is_ok = hit["code"] == 200
    return Request(
        sent_at=moment.timestamp(),
        seconds=hit["latency"] / 1e9,
        status=hit["code"],
        user=int(hit["url"].rsplit("/", 1)[1]),
        request_id=headers.get("X-Request-Id", ""),
        slot=headers.get("X-Slot", ""),
        version=headers.get("X-Model-Version", ""),
        body=base64.b64decode(hit["body"] or "").decode(errors="replace") if is_ok else "",
        error=hit["error"],
    )


class Simulator:
    """`marquee simulate`: users who also watch and rate; the stream of the run.

    Args:
        topic: where its lines go.
        seed: of the simulation.
        days: simulated days since the end of the sample, so that runs follow one another.
        directory: for its log.
    """

    def __init__(self, topic: str, seed: int, days: float, directory: Path) -> None:
        # Lines of the future are rejected: a long campaign begins again.
        available = (datetime.now() - SAMPLE_END).days - 1
        start = SAMPLE_END + timedelta(days=days % max(1, available))
        self._out = directory / "simulator.json"
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("MARQUEE_")
        } | {"MARQUEE_KAFKA_SERVERS": BROKER, "MARQUEE_KAFKA_TOPIC": topic}
        with self._out.open("w") as out, (directory / "simulator.log").open("w") as log:
            self._process = subprocess.Popen(
                [Path(sys.executable).with_name("marquee"), "simulate", f"--url={URL}", "--json",
                 f"--rate={SIMULATION_RATE}", f"--speed={SIMULATION_SPEED}", f"--seed={seed}",
                 f"--start={start:%Y-%m-%dT%H:%M:%S}", "--max-users=10000"],
                env=environment, stdout=out, stderr=log,
            )  # fmt: skip

    def stop(self) -> dict[str, Any]:
        """Stop it; return its summary, which is empty if it had failed."""
        self._process.terminate()
        self._process.wait(60)
        text = self._out.read_text()
        summary: dict[str, Any] = json.loads(text) if text.strip() else {}
        return summary


class _Thread:
    """A function that is called again and again until the end."""

    def __init__(self, call: Callable[[], object], seconds: float) -> None:
        self._call, self._seconds = call, seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            with suppress(OSError, ValueError, KeyError):
                self._call()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(60)


class SingleLines:
    """Sends lines of which each is the only one of its user, so that a second row is a defect.

    Attributes:
        users: of the lines that were sent.
        confirmed: lines that the broker has confirmed.
    """

    def __init__(self, topic: str, seed: int) -> None:
        self.users: set[int] = set()
        self.confirmed: list[str] = []
        self._topic = topic
        first = FIRST_SINGLE_USER + seed * _USERS_PER_SEED + int(time.time()) % 50_000
        self._ids = iter(range(first, first + _USERS_PER_SEED))
        self._producer = KafkaProducer(
            bootstrap_servers=BROKER, acks="all", delivery_timeout_ms=300_000, max_block_ms=300_000
        )
        self._thread = _Thread(self._send, _LINE_SECONDS)

    def _send(self) -> None:
        user = next(self._ids)
        movie = _MOVIES[user % len(_MOVIES)]
        line = f"2026-05-01T12:{user % 60:02}:01,{user},GET /data/m/{movie}/{user % 90}.mpg"
        self.users.add(user)
        with suppress(KafkaError):
            future = self._producer.send(self._topic, line.encode())
            future.add_callback(lambda _: self.confirmed.append(line))

    def stop(self) -> None:
        """Stop, and wait for the broker."""
        self._thread.stop()
        with suppress(KafkaError):
            self._producer.flush(60)
        self._producer.close()


class Observer:
    """Samples slots, alerts and mails until it is stopped.

    Attributes:
        slots: which image each slot ran.
        alerts: moments in which each alert fired.
        watched: moments in which Prometheus responded.
    """

    def __init__(self, messages: "Messages") -> None:
        self.slots: list[SlotSample] = []
        self.alerts: dict[str, list[float]] = defaultdict(list)
        self.watched: list[float] = []
        self._threads = [
            _Thread(self._sample_slots, _SLOT_SECONDS),
            _Thread(self._sample_alerts, _LOOK_SECONDS),
            _Thread(messages.read, _LOOK_SECONDS),
        ]

    def _sample_slots(self) -> None:
        containers, now = list_containers(PROJECT), time.time()
        self.slots += [
            SlotSample(now, container.service, container.image)
            for container in containers
            if container.service in SLOTS and container.state == "running"
        ]

    def _sample_alerts(self) -> None:
        try:
            response = requests.get(f"{PROMETHEUS}/api/v1/alerts", timeout=2)
            found = response.json()["data"]["alerts"]
        except requests.RequestException:
            return
        now = time.time()
        self.watched.append(now)
        for alert in found:
            if alert["state"] == "firing":
                self.alerts[alert["labels"]["alertname"]].append(now)

    def stop(self) -> None:
        for thread in self._threads:
            thread.stop()


class Messages:
    """The mails of the stack's mail server, which keeps them in memory and may be killed."""

    def __init__(self) -> None:
        self._mails: dict[str, Message] = {}
        self._lock = threading.Lock()

    def read(self) -> None:
        """Read the mails from the server's web page.

        Raises:
            OSError: it does not respond.
        """
        self._add(requests.get(f"{MAILDEV}/api/email", timeout=5).json())

    def read_inside(self, container: str) -> None:
        """Read the mails in the server's container, which may be cut off already."""
        command = ["docker", "exec", container, "wget", "-q", "-O-",
                   "http://127.0.0.1:1080/api/email"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)
        with suppress(ValueError):
            self._add(json.loads(done.stdout))

    def _add(self, mails: list[dict[str, Any]]) -> None:
        with self._lock:
            for mail in mails:
                self._mails.setdefault(mail["id"], Message(time.time(), mail["subject"]))

    def __iter__(self) -> Iterator[Message]:
        with self._lock:
            return iter(list(self._mails.values()))
