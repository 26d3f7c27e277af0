"""The Flask application."""

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface, SessionMixin

from app import logs
from app.model.recommendation_lists import RecommendationLists
from app.service import health, openapi, problems, recommend
from app.service.metrics import Metrics
from app.settings import Settings, read_settings

log = logs.get(__name__)


def create_app(settings: Settings | None = None) -> Flask:
    """Make the application that answers from `settings.model_dir`.

    Raises:
        ArtifactError: the model directory must not be served.
    """
    settings = settings or read_settings()
    lists = RecommendationLists.open(
        settings.model_dir, length=settings.list_length, hidden=settings.hidden_movie_ids
    )
    if lists.unknown_hidden_ids:
        log.warning("hidden movies that this model does not know", ids=lists.unknown_hidden_ids)
    app = Flask("marquee", static_folder=None)
    app.url_map.merge_slashes = False  # a redirect is no answer
    app.session_interface = _NoSessions()
    problems.init_app(app)
    metrics = Metrics(app, settings, lists.manifest)
    app.register_blueprint(recommend.blueprint(lists, metrics, settings))
    app.register_blueprint(health.blueprint(lists, settings))
    app.register_blueprint(openapi.blueprint(settings.list_length))
    log.info(
        "model loaded",
        version=lists.manifest.version,
        model_hash=lists.manifest.model_hash[:12],
        users=lists.manifest.users,
        movies=lists.manifest.movies,
    )
    return app


class _NoSessions(SessionInterface):
    """Nobody logs in here: every request shares one empty session that is never kept."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> SessionMixin:
        return self._none

    def is_null_session(self, obj: object) -> bool:
        return True


def wsgi() -> Flask:
    """What gunicorn calls: settings from the environment, logging set up."""
    settings = read_settings()
    logs.set_up(settings)
    return create_app(settings)
