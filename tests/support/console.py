"""What the console reads: files of releases, a Prometheus that answers from a table, a database."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from app.console.console import Console, create_console
from app.console.queries import QUERIES
from app.settings import Settings
from tests.support.provenance import Environment, encoded

SLOTS = ("stable-1", "stable-2", "canary")


def check(title: str, outcome: str, value: float, upper: float) -> dict[str, Any]:
    """A check as `marquee analyze` describes it."""
    return {
        "name": title.replace(" ", "_"),
        "title": title,
        "kind": "comparison",
        "unit": "share",
        "outcome": outcome,
        "value": value,
        "stables": 0.001,
        "interval": [-0.001, upper],
        "interval_of": "difference",
        "limit": 0.005,
        "sentence": f"{title} {value}, difference from -0.1 % to {upper}, must be below 0.5 %",
        "counters": ["status"],
        "window_seconds": 600,
    }


def write_release(directory: Path, **changes: Any) -> dict[str, Any]:
    """Write state and history of a release that is being analyzed; return the state."""
    now = time.time()
    state = {
        "format": 1,
        "id": "20261127T120000Z-v8",
        "kind": "release",
        "phase": "analyzing",
        "phase_started_at": now - 600,
        "started_at": now - 900,
        "started_by": "operator",
        "version": "8",
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "analysis_deadline": now + 3600,
        "window_extended": False,
        "last_evaluation": {
            "kind": "guard",
            "evaluated_at": now - 30,
            "verdict": "CONTINUE",
            "reason": "minute 10 of 70: no guard has aborted",
            "until": 1_795_780_800,
            "queries": {
                "status": "sum by (slot, status) (increase(answers[$WINDOW] @ $TIME))",
                "up": "avg by (slot) (avg_over_time(up[$WINDOW] @ $TIME))",
            },
            "checks": [
                check("failures", "passed", 0.002, 0.003),
                check("timeouts", "failed", 0.03, 0.04),
                {
                    "title": "requests",
                    "outcome": "shown",
                    "value": 100,
                    "limit": None,
                    "kind": "guard",
                    "window_seconds": 300,
                },
            ],
        },
        **changes,
    }
    history = directory / "history"
    history.mkdir(parents=True, exist_ok=True)
    (directory / "state.json").write_text(json.dumps(state))
    events = [{"time": now - 900, "event": "release_started", "kind": "release", "version": "8"}]
    events += [
        {"time": now - 600 + 60 * n, "event": "evaluation", "kind": "guard", "verdict": "CONTINUE",
         "reason": f"minute {n} of 70: no guard has aborted", "evaluated_at": now - 600 + 60 * n}
        for n in range(10)
    ]  # fmt: skip
    if state["phase"] == "completed":
        events.append(
            {"time": now, "event": "release_completed", "outcome": state.get("outcome"),
             "reason": state.get("reason"), "version": "8", "kind": "release"}
        )  # fmt: skip
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (history / f"{state['id']}.jsonl").write_text(lines + '{"time": 1, "ev')
    (history / "20261120T120000Z-v7.jsonl").write_text(
        json.dumps({"time": now - 9e5, "event": "release_started", "version": "7"}) + "\n"
        + json.dumps({"time": now - 8e5, "event": "release_completed", "outcome": "promoted",
                      "version": "7", "reason": "all checks passed"}) + "\n"
    )  # fmt: skip
    return state


class AnsweringScheduler:
    """The scheduler's `/state`.

    Attributes:
        state: what it answers.
    """

    def __init__(self, server: HTTPServer) -> None:
        self.state: dict[str, Any] = {
            "status": "gate_failed",
            "subject": "Version 9 is not published: ndcg is 0.1, must be at least 0.2",
            "finished_at": time.time() - 7200,
            "step": None,
        }
        server.expect_request("/state").respond_with_handler(
            lambda _: Response(json.dumps(self.state), mimetype="application/json")
        )


class AnsweringPrometheus:
    """The API of Prometheus with given samples and alerts.

    Attributes:
        samples: name of a query (`QUERIES`) -> labels and value of each series.
        alerts: name, state and summary of each.
    """

    def __init__(self, server: HTTPServer) -> None:
        self.url = server.url_for("")
        self.samples: dict[str, list[tuple[Mapping[str, str], float]]] = default_samples()
        self.alerts: list[tuple[str, str, str]] = []
        self._names = {text: name for name, text in QUERIES.items()}
        server.expect_request("/api/v1/query").respond_with_handler(self._query)
        server.expect_request("/api/v1/query_range").respond_with_handler(self._query_range)
        server.expect_request("/api/v1/rules").respond_with_handler(self._rules)

    def _query(self, request: Request) -> Response:
        found = self.samples.get(self._names[request.args["query"]], [])
        return _success(
            {"result": [{"metric": labels, "value": [time.time(), str(v)]} for labels, v in found]}
        )

    def _query_range(self, request: Request) -> Response:
        found = self.samples.get(self._names[request.args["query"]], [])
        end, step = float(request.args["end"]), float(request.args["step"])
        return _success(
            {
                "result": [
                    {"metric": labels, "values": [[end - n * step, str(v + n)] for n in range(9)]}
                    for labels, v in found
                ]
            }
        )

    def _rules(self, request: Request) -> Response:
        rules = [
            {
                "name": name,
                "query": "up == 0",
                "alerts": [
                    {
                        "state": state,
                        "labels": {"severity": "page"},
                        "annotations": {"summary": summary},
                        "activeAt": "2026-11-27T12:00:00.123456789Z",
                    }
                ],
            }
            for name, state, summary in self.alerts
        ]
        return _success({"groups": [{"rules": rules}]})


def _success(data: Any) -> Response:
    return Response(json.dumps({"status": "success", "data": data}), mimetype="application/json")


def default_samples() -> dict[str, list[tuple[Mapping[str, str], float]]]:
    """A sample of every query: of each slot where it is one of slots."""
    samples: dict[str, list[tuple[Mapping[str, str], float]]] = {
        name: [({"volume": "store", "status": "published", "kind": "watch", "reason": "time",
                 "table": "watches"}, 5.0)]
        for name in QUERIES
    }  # fmt: skip
    by_slot = {"up": 1.0, "model": 1.0, "model_age": 86_400.0, "requests": 20.0, "share": 0.4,
               "success": 0.9997, "mean": 0.002, "p99": 0.008, "timeouts": 0.0, "fallback": 0.1,
               "recent_unused": 0.0, "recent_age": 1.0}  # fmt: skip
    for name, value in by_slot.items():
        samples[name] = [
            ({"slot": slot, "version": "3", "job": "marquee"}, value) for slot in SLOTS
        ]
    samples["free"] = [({"volume": "store"}, 3e9)]
    samples["size"] = [({"volume": "store"}, 9e9)]
    samples["retrain_next"] = [({}, time.time() + 86_400)]
    return samples


def fill_database(directory: Path, model: Path) -> Environment:
    """Create a database with five answers to user 42 and one to user 7."""
    environment = Environment(directory, model)
    writer = environment.writer()
    for number in range(5):
        writer.append(encoded(number))
    writer.append(encoded(5, user_id=7))
    environment.shipper(environment.engine()).ship()
    return environment


def settings_of(directory: Path, prometheus_url: str, **changes: Any) -> Settings:
    """Settings of a console whose files are below a directory; the scheduler has the same URL."""
    return Settings(
        prometheus_url=prometheus_url,
        scheduler_url=prometheus_url,
        database=f"sqlite:///{directory}/provenance.db",
        release_dir=directory / "release",
        console_dir=directory / "console",
        console_bind="127.0.0.1:0",
        **changes,
    )


def open_console(settings: Settings) -> Console:
    """Create a console whose sources have been read once."""
    console = create_console(settings)
    refresh(console)
    return console


def refresh(console: Console) -> None:
    """Read every source once."""
    for source in console.sources:
        source.refresh()
