"""The console's web application and its process."""

import prometheus_client
from flask import Flask, Response, render_template
from jinja2 import StrictUndefined
from prometheus_client.core import GaugeMetricFamily
from werkzeug.exceptions import HTTPException, SecurityError

from app import http_server, logs
from app.cli_errors import MarqueeError
from app.console import text
from app.console.console import Console, create_console
from app.console.pages import create_blueprint
from app.console.sources import start_refreshing
from app.settings import Settings
from app.settings_watch import SettingsWatch
from app.shutdown import stop_event

_log = logs.get(__name__)

#: Nothing but files of this server is loaded, nothing is embedded elsewhere, nothing is stored.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: a form would be sent with `Origin: null`, which the actions refuse.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class ConsoleError(MarqueeError):
    """The console cannot be served; the message says why."""


def create_app(console: Console, hosts: list[str], token: str = "") -> Flask:
    """Create the application.

    Args:
        console: its sources.
        hosts: names in the header `Host` that are answered. Any other is refused, so that a page
            of another site cannot read this one by a name of its own that leads here.
        token: who has it may act; without one there are no actions.
    """
    registry = prometheus_client.CollectorRegistry()
    registry.register(_SourceMetrics(console))
    app = http_server.create_app(registry, lambda: True)
    app.config["TRUSTED_HOSTS"] = hosts
    app.jinja_options = {
        "finalize": text.show_text,
        "undefined": StrictUndefined,
        "trim_blocks": True,
        "lstrip_blocks": True,
    }
    app.jinja_env.filters.update(text.FILTERS)
    app.register_blueprint(create_blueprint(console, token))
    app.register_error_handler(HTTPException, _show_error)

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    return app


def _show_error(error: HTTPException) -> tuple[str, int]:
    status = error.code or 500
    if isinstance(error, SecurityError):  # another host: no address of a page can be built
        return "not a name of this console (MARQUEE_CONSOLE_HOSTS)\n", status
    return render_template("error.html", title=error.name, detail=error.description), status


class _SourceMetrics(prometheus_client.registry.Collector):
    """Which sources the console reaches."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def collect(self) -> list[GaugeMetricFamily]:
        """Read the state of each source."""
        up = GaugeMetricFamily(
            "marquee_console_source_up", "1 if the source could be read.", labels=["source"]
        )
        for source in self._console.sources:
            up.add_metric([source.name], float(not source.get().is_away))
        return [up]


def run_console(settings: Settings) -> None:
    """Serve the console until SIGTERM or SIGINT.

    Raises:
        ConsoleError: the address is in use or does not exist.
    """
    stop = stop_event()
    watch = SettingsWatch(settings, stop)
    console = create_console(settings)
    token = settings.console_token.get_secret_value()
    app = create_app(console, settings.console_host_names, token)
    try:
        server = http_server.BackgroundServer(settings.console_bind, app)
    except OSError as error:
        raise ConsoleError(f"cannot listen at {settings.console_bind}: {error}") from error
    watch.start()
    for source in console.sources:
        start_refreshing(source, stop)
    _log.info("console started", address=settings.console_bind, port=server.port)
    stop.wait()
    server.stop()
    watch.restart_if_changed()
    _log.info("console stopped")
