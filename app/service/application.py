"""The Flask application and its routes for health checks."""

from flask import Blueprint, Flask, Request, Response, jsonify
from flask.sessions import NullSession, SessionInterface, SessionMixin

from app import logs, problem_details
from app.model.recommendation_lists import RecommendationLists
from app.service import AFTER_FORK, openapi, recommend
from app.service.metrics import Metrics
from app.service.recent_recommender import RecentRecommender
from app.settings import Settings, read_settings

log = logs.get(__name__)


def create_app(settings: Settings | None = None) -> Flask:
    """Create the application that serves the model in `settings.model_dir`.

    Raises:
        ArtifactError: the model is missing or not valid.
    """
    settings = settings or read_settings()
    lists = RecommendationLists.open(
        settings.model_dir, length=settings.list_length, hidden=settings.hidden_movie_ids
    )
    if lists.unknown_hidden_ids:
        log.warning("hidden movies are not in the model", ids=lists.unknown_hidden_ids)
    app = Flask("marquee", static_folder=None)
    app.url_map.merge_slashes = False  # 404 instead of a redirect
    app.session_interface = _NoSessions()
    problem_details.init_app(app)
    metrics = Metrics(app, lists.manifest, settings.spool_dir)
    recommender = RecentRecommender(lists, settings, metrics.recent_unused)
    if recommender.reader:
        metrics.add_recent_activity(recommender.reader)
        app.extensions[AFTER_FORK] = recommender.reader.refresh
    app.register_blueprint(recommend.blueprint(lists, recommender, metrics, settings))
    app.register_blueprint(health_blueprint(lists, settings))
    app.register_blueprint(openapi.blueprint(settings.list_length))
    log.info(
        "model loaded",
        version=lists.manifest.version,
        model_hash=lists.manifest.model_hash[:12],
        users=lists.manifest.users,
        movies=lists.manifest.movies,
    )
    return app


def health_blueprint(lists: RecommendationLists, settings: Settings) -> Blueprint:
    """Routes `/health` (liveness), `/ready` (looks up a list) and `/version` (what is served)."""
    routes = Blueprint("health", __name__)
    manifest = lists.manifest

    @routes.get("/health")
    def health() -> Response:
        return jsonify(status="alive")

    @routes.get("/ready")
    def ready() -> Response:
        lists.get(0)
        return jsonify(status="ready", version=manifest.version)

    @routes.get("/version")
    def version() -> Response:
        return jsonify(
            version=manifest.version,
            created=manifest.created,
            model_hash=manifest.model_hash,
            data=manifest.data,
            code=manifest.code,
            users=manifest.users,
            movies=manifest.movies,
            slot=settings.slot,
        )

    return routes


class _NoSessions(SessionInterface):
    """Skip Flask's session handling: all requests share one empty session."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> SessionMixin:
        return self._none

    def is_null_session(self, obj: object) -> bool:
        return True


def wsgi() -> Flask:
    """Entry point of gunicorn: settings from the environment, logging configured."""
    settings = read_settings()
    logs.set_up(settings)
    return create_app(settings)
