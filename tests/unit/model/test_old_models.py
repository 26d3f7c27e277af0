"""Models of earlier versions are served, verified and compared; later ones are refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from app.auto_deployment.production_model import ProductionModel, write_unseen_events
from app.ingest.prepare import prepare_tables
from app.model.artifact import ModelMetadata, open_artifact, write_array, write_manifest
from app.model.manifest import FORMAT, ArtifactError
from app.model.recommendation_lists import RecommendationLists
from app.model.verify import verify_model
from app.training.evaluate import evaluate
from app.training.load import load_interactions
from tests.conftest import ROOT, write_lists

#: The version before the last, and the last one; see the README there.
FORMATS = ROOT / "tests" / "formats"
OLD_MODELS = [FORMATS / "0.2.0" / "model", FORMATS / "3412c7b" / "model"]


@pytest.mark.parametrize("model", OLD_MODELS, ids=["0.2.0", "3412c7b"])
def test_a_model_of_an_earlier_version_is_valid_and_served(model: Path) -> None:
    manifests = verify_model(model)
    assert {kind: manifest.version for kind, manifest in manifests.items()} == {
        "lists": 4,
        "factors": 4,
    }
    found = RecommendationLists.open(model, verify=True).get(0)
    assert found.source == "personal"
    assert len(found.text.split(",")) == 5


@pytest.mark.parametrize("model", OLD_MODELS, ids=["0.2.0", "3412c7b"])
def test_a_model_of_an_earlier_version_is_evaluated(model: Path, tmp_path: Path) -> None:
    """On the events it was trained on, and on those that it has not seen: none."""
    prepare_tables(FORMATS / "0.2.0" / "store", tmp_path / "tables", None)
    ratings, watches = (tmp_path / "tables" / f"{name}.parquet" for name in ("ratings", "watches"))
    result = evaluate(model, load_interactions(ratings, watches, (1, 5)), 3)
    assert (result["users"], result["unknown_users"], result["unknown_events"]) == (12, 0, 0)
    assert result["rmse"] < 1.2
    manifest = verify_model(model)["lists"]
    assert manifest.data["pairs"] == result["events"]
    production = ProductionModel(4, model, manifest.data["newest"])
    assert write_unseen_events(production, tmp_path / "tables", tmp_path / "unseen") == 0


def test_arrays_of_version_0_2_0_have_their_present_names() -> None:
    old, new = (open_artifact(path / "factors", "factors").arrays for path in OLD_MODELS)
    assert old.keys() == new.keys()
    np.testing.assert_array_equal(old["seen_movies"], new["seen_movies"])


def test_a_changed_model_of_version_0_2_0_is_refused(tmp_path: Path) -> None:
    shutil.copytree(OLD_MODELS[0], tmp_path / "model")
    path = tmp_path / "model" / "lists" / "manifest.json"
    content = json.loads(path.read_bytes())
    content["parameters"]["seed"] = 7
    path.write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match="checksum mismatch"):
        verify_model(tmp_path / "model")


def test_a_model_of_a_later_format_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.model.artifact.FORMAT", FORMAT + 1)
    lists = write_lists(tmp_path / "model") / "lists"
    write_array(lists, "regions", np.zeros(4, np.uint8))
    metadata = ModelMetadata(version=3, parameters={}, metrics={}, data={}, code={})
    write_manifest(lists, "lists", users=4, movies=60, metadata=metadata)
    with pytest.raises(ArtifactError, match=r"format 3; this program reads formats 1 and 2: use"):
        verify_model(tmp_path / "model")
