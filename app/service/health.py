"""`/health`, `/ready` and `/version`: for orchestrators and people, not for the simulator."""

from flask import Blueprint, Response, jsonify

from app.model.recommendation_lists import RecommendationLists
from app.settings import Settings


def blueprint(lists: RecommendationLists, settings: Settings) -> Blueprint:
    """Liveness without dependencies, readiness by a real answer, and what is served."""
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
