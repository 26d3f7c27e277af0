"""Models are kept in a bounded directory; tests/integration/auto_deployment fetches a real one."""

import os
from pathlib import Path

import pytest

from app.locks import exclusive_lock
from app.quality.errors import QualityError
from app.quality.model_cache import MAX_MODELS, ModelCache
from app.settings import Settings


def make_cache(path: Path, count: int) -> ModelCache:
    """A cache with the versions 1 to `count`, of which 1 was used longest ago."""
    for version in range(1, count + 1):
        (path / f"version-{version}").mkdir(parents=True)
        os.utime(path / f"version-{version}", (version, version))
    return ModelCache(path, Settings(git_remote=""))


def test_models_that_are_there_are_used_and_the_oldest_beyond_the_bound_are_removed(
    tmp_path: Path,
) -> None:
    cache = make_cache(tmp_path, MAX_MODELS + 2)
    found = cache.fetch((1, 4))
    assert found == {1: tmp_path / "version-1", 4: tmp_path / "version-4"}
    assert {path.name for path in tmp_path.glob("version-*")} == {
        f"version-{version}" for version in (1, 4, 5, 6)
    }


def test_without_a_repository_nothing_can_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(QualityError, match="MARQUEE_GIT_REMOTE is not set"):
        make_cache(tmp_path, 1).fetch((1, 2))


def test_one_process_uses_it_at_a_time(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, 2)
    with exclusive_lock(tmp_path / "lock"), pytest.raises(QualityError, match="is used by"):
        cache.fetch((1, 2))
