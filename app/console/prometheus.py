"""Read metrics and alerts from Prometheus' HTTP API."""

import json
import math
import time
from dataclasses import dataclass
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from app.console.queries import HISTORIES, QUERIES
from app.console.sources import SourceError

_TIMEOUT_SECONDS = 2.0
_MAX_RESPONSE_BYTES = 10_000_000
#: Span and step of the small pictures of the past.
HISTORY_SECONDS = 6 * 3600
_HISTORY_STEP_SECONDS = 300


@dataclass(frozen=True)
class Sample:
    """One series of an instant query: its labels and its value."""

    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Alert:
    """An alert of a rule.

    Attributes:
        name: of the rule.
        state: `pending` or `firing`.
        severity: label of that name; empty without one.
        summary: the rule's sentence with the values of this alert.
        active_at: since when its expression holds, as Prometheus writes it.
        expression: of the rule, in PromQL.
    """

    name: str
    state: str
    severity: str
    summary: str
    active_at: str
    expression: str


class Metrics:
    """The samples of all queries, by the query's name (`queries.QUERIES`)."""

    def __init__(self, samples: dict[str, list[Sample]]) -> None:
        self._samples = samples

    def all(self, name: str) -> list[Sample]:
        """Return every series of a query; empty where it has none."""
        return self._samples.get(name, [])

    def get(self, name: str, **labels: str) -> float | None:
        """Return the value of the first series with these labels; None without one."""
        for sample in self.all(name):
            if all(sample.labels.get(key) == value for key, value in labels.items()):
                return sample.value
        return None


class PrometheusClient:
    """Reads one Prometheus.

    Args:
        url: base URL, such as `http://prometheus:9090`.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def read_metrics(self) -> Metrics:
        """Evaluate every query of `queries.QUERIES` now.

        Raises:
            SourceError: no response in time, or one that cannot be used.
        """
        return Metrics({name: self._query(text) for name, text in QUERIES.items()})

    def read_histories(self) -> dict[str, dict[str, list[float | None]]]:
        """Return the last hours of each query of `HISTORIES`: name -> slot -> values.

        Values are five minutes apart, oldest first; None where there was no sample.

        Raises:
            SourceError: as above.
        """
        end = time.time() // _HISTORY_STEP_SECONDS * _HISTORY_STEP_SECONDS
        start = end - HISTORY_SECONDS
        times = {"start": start, "end": end, "step": _HISTORY_STEP_SECONDS}
        count = HISTORY_SECONDS // _HISTORY_STEP_SECONDS + 1
        found: dict[str, dict[str, list[float | None]]] = {}
        for name in HISTORIES:
            slots = found.setdefault(name, {})
            for series in self._result("query_range", {"query": QUERIES[name], **times}):
                values = slots.setdefault(str(series["metric"].get("slot", "")), [None] * count)
                for at, value in series["values"]:
                    index = round((float(at) - start) / _HISTORY_STEP_SECONDS)
                    if 0 <= index < count and math.isfinite(float(value)):
                        values[index] = float(value)
        return found

    def read_alerts(self) -> list[Alert]:
        """Return the alerts that are pending or firing.

        Raises:
            SourceError: as above.
        """
        try:
            return [
                Alert(
                    name=str(rule["name"]),
                    state=str(alert["state"]),
                    severity=str(alert["labels"].get("severity", "")),
                    summary=str(alert["annotations"].get("summary", "")),
                    active_at=str(alert.get("activeAt", "")),
                    expression=str(rule["query"]),
                )
                for group in self._get("rules", {"type": "alert"})["groups"]
                for rule in group["rules"]
                for alert in rule["alerts"]
            ]
        except (KeyError, TypeError, AttributeError) as error:
            raise SourceError("Prometheus returned alerts of an unknown form") from error

    def _query(self, expression: str) -> list[Sample]:
        try:
            return [
                Sample(dict(series["metric"]), float(series["value"][1]))
                for series in self._result("query", {"query": expression})
            ]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise SourceError("Prometheus returned samples of an unknown form") from error

    def _result(self, path: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        result = self._get(path, parameters).get("result")
        if not isinstance(result, list):
            raise SourceError("Prometheus returned an answer of an unknown form")
        return result

    def _get(self, path: str, parameters: dict[str, Any]) -> dict[str, Any]:
        url = f"{self._url}/api/v1/{path}?{urlencode(parameters)}"
        try:
            with urlopen(Request(url), timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310 - a setting
                content = json.loads(response.read(_MAX_RESPONSE_BYTES))
            data = content["data"]
            if not isinstance(data, dict):
                raise TypeError("data is not an object")
        except URLError as error:
            raise SourceError(f"Prometheus does not respond: {error.reason}") from error
        except OSError as error:
            raise SourceError(f"Prometheus does not respond: {error}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SourceError("Prometheus returned an answer of an unknown form") from error
        return data
