"""Make recorded lists again with the model that made them, and compare."""

from pathlib import Path
from typing import Any, NamedTuple

from app.model.recommendation_lists import RecommendationLists, Source


class RecordedList(NamedTuple):
    """What is recorded of one list.

    Attributes:
        user_id: as in `record_format.Record`, like the following.
        source: where the list came from.
        movie_numbers: the list.
        recent_events: what it depends on.
        model_hash: of the model that made it; None where it is not known.
    """

    user_id: int
    source: Source
    movie_numbers: bytes
    recent_events: bytes
    model_hash: str | None


class ListRemaker:
    """Makes lists again with one model.

    Args:
        model: the model directory.

    Raises:
        ArtifactError: it is not a complete, unchanged model.
    """

    def __init__(self, model: Path) -> None:
        self._model = model
        self._lists: dict[int, RecommendationLists] = {}
        self._model_hash = RecommendationLists.open(model, verify=True).manifest.model_hash

    def compare(
        self, recorded: RecordedList, configuration: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Make a list again.

        Args:
            recorded: the list.
            configuration: the row of its process in the table of that name; None without one.

        Returns:
            `result`: `equal`, `different` (then also the `movie_ids`), or `impossible` (then also
            the `reason`).
        """
        if recorded.model_hash != self._model_hash:
            found = (recorded.model_hash or "unknown")[:12]
            return _impossible(f"made by the model {found}, this is {self._model_hash[:12]}")
        if configuration is None:
            return _impossible("hidden movies and length were not recorded")
        lists = self._get_lists(configuration)
        try:
            remade = lists.remake(recorded.user_id, recorded.source, recorded.recent_events)
        except ValueError as error:
            return _impossible(str(error))
        is_equal = (remade.source, remade.movie_numbers) == (
            recorded.source,
            recorded.movie_numbers,
        )
        if is_equal:
            return {"result": "equal"}
        return {"result": "different", "movie_ids": remade.text.split(",") if remade.text else []}

    def _get_lists(self, configuration: dict[str, Any]) -> RecommendationLists:
        number = configuration["configuration_id"]
        if number not in self._lists:
            self._lists[number] = RecommendationLists.open(
                self._model, configuration["list_length"], configuration["hidden_movies"]
            )
        return self._lists[number]


def _impossible(reason: str) -> dict[str, Any]:
    return {"result": "impossible", "reason": reason}
