from pathlib import Path

from app.service.application import create_app
from app.settings import Settings


def test_health_ready_and_version(shared_model: Path) -> None:
    client = create_app(Settings(model_dir=shared_model, slot="canary")).test_client()
    assert client.get("/health").json == {"status": "alive"}
    assert client.get("/ready").json == {"status": "ready", "version": 3}
    version = client.get("/version").json
    assert version is not None
    assert (version["version"], version["slot"], version["movies"]) == (3, "canary", 60)
    assert len(version["model_hash"]) == 64


def test_openapi_describes_every_route(shared_model: Path) -> None:
    app = create_app(Settings(model_dir=shared_model))
    described = app.test_client().get("/openapi.json").json
    assert described is not None
    routes = {str(rule).replace("<user_id>", "{user_id}") for rule in app.url_map.iter_rules()}
    assert set(described["paths"]) == routes
