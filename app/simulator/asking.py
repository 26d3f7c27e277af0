"""Where recommendations come from when no service runs: a model directory."""

from pathlib import Path

from app.model.recommendation_lists import RecommendationLists
from app.simulator.arrivals import Arrival
from app.simulator.responses import Answer, judge


class ModelAnswers:
    """Answers at once from a model directory, as the service would: the same each time."""

    def __init__(self, model: Path) -> None:
        """Open a model.

        Raises:
            ArtifactError: it must not be served.
        """
        self._lists = RecommendationLists.open(model)
        self._version = str(self._lists.manifest.version)

    def answer(self, arrival: Arrival) -> Answer:
        """What the service would answer."""
        if not arrival.user_id:
            return Answer("status", 400, 0.001, detail="a user id is a whole number")
        return judge(200, self._lists.get(arrival.user_id).text, 0.001, self._version)
