"""Verify a whole model directory before it is used."""

from pathlib import Path

from app.model.artifact import verify_artifact
from app.model.manifest import ArtifactError, Manifest
from app.model.recommendation_lists import LISTS, RecommendationLists

#: Directory of the training artifact inside a model directory; the service's image omits it.
FACTORS = "factors"


def verify_model(model: Path) -> dict[str, Manifest]:
    """Verify every artifact of a model directory: `lists` always, `factors` where present.

    Returns:
        Manifest of each artifact by the name of its directory.

    Raises:
        ArtifactError: an artifact is not valid; the message names the file.
    """
    if not model.is_dir():
        raise ArtifactError(f"{model}: no such model directory")
    for path in sorted(model.iterdir()):
        if path.name not in (LISTS, FACTORS):
            raise ArtifactError(f"{path}: not part of a model directory")
    manifests = {LISTS: RecommendationLists.open(model, verify=True).manifest}
    if (model / FACTORS).exists():
        factors = verify_artifact(model / FACTORS, "factors").manifest
        if (factors.version, factors.data) != (manifests[LISTS].version, manifests[LISTS].data):
            raise ArtifactError(f"{model / FACTORS}: trained from other data than {model / LISTS}")
        manifests[FACTORS] = factors
    return manifests
