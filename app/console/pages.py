"""The routes of the pages. Each shows what is known now; only the actions change anything."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, abort, render_template, request
from markupsafe import Markup

from app.console import pictures
from app.console.action_pages import add_actions
from app.console.confirmation import Guard
from app.console.console import Console
from app.console.overview import find_problems, link_runbook
from app.console.prometheus import Metrics
from app.console.queries import QUERIES
from app.console.records import Version
from app.console.release_state import PastRelease, ReleaseState
from app.console.retraining_state import Fairness
from app.console.runbook import read_section
from app.console.sources import SourceError
from app.provenance.lineage import explain_events

SLOTS = ("stable-1", "stable-2", "canary")
#: Address and title, in the order of the navigation.
PAGES = (
    ("overview", "Overview"),
    ("release", "Release"),
    ("slots", "Slots"),
    ("versions", "Versions"),
    ("retraining", "Retraining"),
    ("ingest", "Ingest"),
    ("alerts", "Alerts"),
    ("storage", "Storage"),
    ("find", "Find"),
    ("sources", "Sources"),
)
#: Further pages where actions are switched on.
ACTION_PAGES = (("actions", "Actions"),)
#: Versions whose metrics are compared, and metrics that are shown of them.
_COMPARED_VERSIONS, _MAX_METRICS = 8, 40
_MAX_USER_ID = 2**63 - 1
#: At a time, so that the other pages are served while the database is away (of 8 threads).
MAX_LOOK_UPS = 3
#: How long a page waits for one. The time-outs of the database do not cover the resolution of its
#: name, which takes half a minute while its container is stopped.
LOOK_UP_SECONDS = 5.0
_ALERT = re.compile(r"[A-Za-z0-9_]{1,80}")


def create_blueprint(console: Console, token: str = "") -> Blueprint:
    """Create the pages of a console.

    Args:
        console: its sources.
        token: who has it may act; without one there are no pages of actions.
    """
    pages = Blueprint(
        "console",
        __name__,
        template_folder="templates",
        static_folder="static",
        static_url_path="/static",
    )
    _add_pages_of_releases(pages, console)
    _add_pages_of_data(pages, console)
    _add_runbook(pages, console)
    _add_look_ups(pages, console)
    if console.orders and token:
        add_actions(pages, console, console.orders, Guard(token))

    @pages.app_context_processor
    def shared() -> dict[str, Any]:
        return {
            "console": console,
            "pages": PAGES + ACTION_PAGES if console.orders else PAGES,
            "queries": QUERIES,
            "query_url": lambda name: _query_url(console, QUERIES[name]),
            "expression_url": lambda text: _query_url(console, text),
            "runbook_url": link_runbook,
            "pictures": pictures,
        }

    return pages


def _query_url(console: Console, expression: str) -> str:
    """The address of Prometheus' page that shows a query."""
    options = urlencode({"g0.expr": expression, "g0.tab": "1"}, errors="replace")
    return f"{console.prometheus_link}/graph?{options}"


def _metrics(console: Console) -> Metrics:
    """The samples that were read last; none before the first time."""
    return console.metrics.get().value or Metrics({})


def _releases(console: Console) -> ReleaseState:
    return console.release.get().value or ReleaseState()


def _keep_last(render: Callable[..., str]) -> Callable[..., Markup]:
    """Render again only what has changed: the tables of versions do with a new version."""
    last: tuple[tuple[Any, ...], Markup] | None = None

    def render_or_repeat(*values: Any) -> Markup:
        nonlocal last
        kept = last
        if kept is None or kept[0] != values:
            last = kept = (values, Markup(render(*values)))  # noqa: S704 - a rendered template
        return kept[1]

    return render_or_repeat


def _render_version_tables(
    versions: list[Version],
    slots_by_version: dict[str, list[str]],
    past: list[PastRelease],
    fairness: list[Fairness],
) -> str:
    compared = versions[:_COMPARED_VERSIONS]
    names = sorted({name for version in compared for name in version.metrics})
    return render_template(
        "_versions.html",
        versions=versions,
        compared=compared,
        metrics=[
            (name, [version.metrics.get(name) for version in compared])
            for name in names[:_MAX_METRICS]
        ],
        slots_by_version=slots_by_version,
        releases_by_version=_releases_by_version(past),
        past=past,
        fairness=fairness[:_COMPARED_VERSIONS],
    )


def _add_pages_of_releases(pages: Blueprint, console: Console) -> None:
    @pages.get("/")
    def overview() -> str:
        return render_template(
            "overview.html",
            problems=find_problems(console.alerts.get(), console.sources),
            alerts=console.alerts.get(),
            metrics=_metrics(console),
            release=_releases(console).release,
            slots=SLOTS,
        )

    @pages.get("/release")
    def release() -> str:
        state = _releases(console)
        return render_template("release.html", state=state, release=state.release)

    @pages.get("/slots")
    def slots() -> str:
        histories = console.histories.get().value or {}
        return render_template(
            "slots.html", metrics=_metrics(console), slots=SLOTS, histories=histories
        )

    render_tables = _keep_last(_render_version_tables)

    @pages.get("/versions")
    def versions() -> str:
        retraining = console.retraining.get().value
        tables = render_tables(
            console.versions.get().value or [],
            _slots_by_version(_metrics(console)),
            _releases(console).past,
            retraining.fairness if retraining else [],
        )
        return render_template("versions.html", tables=tables)


def _add_pages_of_data(pages: Blueprint, console: Console) -> None:
    @pages.get("/retraining")
    def retraining() -> str:
        return render_template(
            "retraining.html", metrics=_metrics(console), state=console.retraining.get().value
        )

    @pages.get("/ingest")
    def ingest() -> str:
        return render_template("ingest.html", metrics=_metrics(console), slots=SLOTS)

    @pages.get("/alerts")
    def alerts() -> str:
        return render_template("alerts.html", alerts=console.alerts.get().value or [])

    @pages.get("/storage")
    def storage() -> str:
        return render_template("storage.html", metrics=_metrics(console))

    @pages.get("/sources")
    def sources() -> str:
        return render_template("sources.html")


def _add_runbook(pages: Blueprint, console: Console) -> None:
    @pages.get("/runbook/<alert>")
    def runbook(alert: str) -> str:
        if not _ALERT.fullmatch(alert):
            abort(404, "There is no such section in the runbook.")
        try:
            section = read_section(console.runbook, alert)
        except (OSError, ValueError):
            abort(503, f"The runbook {console.runbook} cannot be read.")
        if section is None:
            abort(404, "There is no such section in the runbook.")
        return render_template("runbook.html", alert=alert, section=section)


def _slots_by_version(metrics: Metrics) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for sample in metrics.all("model"):
        slots = found.setdefault(sample.labels.get("version", ""), [])
        slots.append(sample.labels.get("slot", ""))
    return {version: sorted(slots) for version, slots in found.items()}


def _releases_by_version(past: list[PastRelease]) -> dict[str, list[PastRelease]]:
    found: dict[str, list[PastRelease]] = {}
    for release in past:
        found.setdefault(release.version, []).append(release)
    return found


def _add_look_ups(pages: Blueprint, console: Console) -> None:
    """Look-ups wait for the database, in threads of their own."""
    free = BoundedSemaphore(MAX_LOOK_UPS)
    threads = ThreadPoolExecutor(MAX_LOOK_UPS, thread_name_prefix="look-up")

    def find_and_release(user: str, request_id: str, movie: str) -> dict[str, Any]:
        try:
            return _look_up(console, user, request_id, movie)
        finally:
            free.release()

    def look_up(user: str, request_id: str, movie: str) -> dict[str, Any]:
        if not free.acquire(blocking=False):
            return {"error": "Too many look-ups at a time: try again in some seconds."}
        try:
            return threads.submit(find_and_release, user, request_id, movie).result(LOOK_UP_SECONDS)
        except SourceError as error:
            return {"error": str(error)}
        except TimeoutError:
            return {"error": "the database does not respond in time"}

    @pages.get("/find")
    def find() -> str:
        user, request_id, movie = (
            request.args.get(name, "").strip()[:200] for name in ("user", "request", "movie")
        )
        found = look_up(user, request_id, movie) if user or request_id or movie else {}
        span = console.exposure.get().value
        return render_template(
            "find.html",
            user=user,
            request_id=request_id,
            movie=movie,
            now=datetime.now(UTC).timestamp(),
            first_day=None if span is None else _date(span.first_day),
            last_day=None if span is None else _date(span.last_day),
            span=span,
            **found,
        )


def _look_up(console: Console, user: str, request_id: str, movie: str) -> dict[str, Any]:
    """Find by the first text that is not empty; return what the template shows.

    Raises:
        SourceError: the database cannot be read.
    """
    if user:
        if not (user.isascii() and user.isdigit()) or int(user) > _MAX_USER_ID:
            return {"error": "A user id is a whole number, such as 42."}
        return {"records": [explain_events(one) for one in console.records.find_user(int(user))]}
    if request_id:
        records = console.records.find_request(request_id)
        return {"records": [explain_events(record) for record in records]}
    return {"exposure": console.movies.find_movie(movie)}


def _date(day: int | None) -> str | None:
    return None if day is None else f"{datetime.fromtimestamp(day * 86_400, UTC):%Y-%m-%d}"
