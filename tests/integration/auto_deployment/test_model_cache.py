"""A published version's model is fetched from git and the DVC remote, as `marquee quality` does."""

from pathlib import Path

import pytest

from app.model.verify import verify_model
from app.quality.errors import QualityError
from app.quality.model_cache import ModelCache
from app.settings import Settings
from tests.support.retraining import RetrainingEnvironment


def test_a_published_model_is_fetched_once_and_a_version_that_is_none_is_reported(
    published_template: RetrainingEnvironment, tmp_path: Path
) -> None:
    settings = Settings(
        git_remote=str(published_template.origin), dvc_remote=str(published_template.dvc_remote)
    )
    cache = ModelCache(tmp_path / "models", settings)
    found = cache.fetch((2, 2))
    assert verify_model(found[2])["lists"].version == 2
    moved = published_template.dvc_remote.rename(tmp_path / "away")
    try:
        assert cache.fetch((2, 2)) == found
        with pytest.raises(QualityError, match="version 9 cannot be fetched"):
            cache.fetch((2, 9))
    finally:
        moved.rename(published_template.dvc_remote)
    assert [path.name for path in (tmp_path / "models").iterdir() if path.is_dir()] == ["version-2"]
