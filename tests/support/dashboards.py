"""The panels of the dashboards in `monitoring/grafana`."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.conftest import ROOT

DIRECTORY = ROOT / "monitoring" / "grafana"


class Panel(NamedTuple):
    """A panel: dashboard and title, and its queries in PromQL."""

    name: str
    queries: list[str]


def read_dashboards() -> dict[str, dict[str, Any]]:
    """Return the dashboards by the name of their file."""
    files = sorted((DIRECTORY / "dashboards").glob("*.json"))
    return {file.stem: json.loads(file.read_text()) for file in files}


def read_panels() -> Iterator[Panel]:
    """Yield the panels of all dashboards."""
    for name, dashboard in read_dashboards().items():
        for panel in dashboard["panels"]:
            queries = [target["expr"] for target in panel["targets"]]
            yield Panel(f"{name}: {panel['title']}", queries)
