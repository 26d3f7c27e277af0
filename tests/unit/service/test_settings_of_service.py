from pathlib import Path

import pytest

from app.model.manifest import ArtifactError
from app.service.application import create_app
from app.settings import Settings
from tests.conftest import MOVIES


def test_a_missing_model_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such model directory"):
        create_app(Settings(model_dir=tmp_path / "none"))


def test_hidden_movies_are_left_out_of_every_answer(shared_model: Path) -> None:
    settings = Settings(model_dir=shared_model, hidden_movies=f"{MOVIES[1]}, {MOVIES[59]}\n")
    client = create_app(settings).test_client()
    assert client.get("/recommend/42").text.split(",") == MOVIES[2:22]
    assert client.get("/recommend/43").text.split(",") == MOVIES[:59][::-1][:20]


def test_a_shorter_answer_can_be_set(shared_model: Path) -> None:
    client = create_app(Settings(model_dir=shared_model, list_length=5)).test_client()
    assert client.get("/recommend/42").text.split(",") == MOVIES[1:6]
