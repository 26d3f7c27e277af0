"""Recommend by what a user watched since the model was made, where it is known."""

from collections.abc import Callable, Mapping
from time import monotonic

from prometheus_client import Counter

from app import logs
from app.model.recommendation_lists import Recommendation, RecommendationLists
from app.recent_activity.reader import STATES, RecentActivityReader
from app.settings import Settings

#: Why a recommendation could not depend on recent activity: the states of a look-up without a
#: result; the model lacks the parts for it; an unexpected error, which is logged.
UNUSED_REASONS = (*(state for state in STATES if state not in {"found", "none"}), "model", "error")
_LOG_INTERVAL_SECONDS = 10.0

_log = logs.get(__name__)


class RecentRecommender:
    """Returns the recommendations of one process; whatever goes wrong, that of the lists.

    Args:
        lists: the stored lists.
        settings: where the recent activity is.
        unused: counter of recommendations that could not depend on it, by reason.

    Attributes:
        reader: reads the recent activity; None: switched off, or the model lacks the parts for it.
    """

    def __init__(
        self, lists: RecommendationLists, settings: Settings, unused: Mapping[str, Counter]
    ) -> None:
        self.reader: RecentActivityReader | None = None
        self._lists = lists
        self._unused = unused
        self._log_at = 0.0
        #: Returns the recommendation of a user.
        self.get: Callable[[int], Recommendation] = lists.get
        if not settings.recent_enabled:
            return
        if lists.recent is None:
            _log.warning("recent activity is not used: the model lacks the parts for it")
            self.get = self._get_without_parts
            return
        numbers = {movie_id: number for number, movie_id in enumerate(lists.movie_ids)}
        self.reader = RecentActivityReader(settings.recent_dir, numbers)
        self.get = self._get_recent

    def _get_without_parts(self, user_id: int) -> Recommendation:
        self._unused["model"].inc()
        return self._lists.get(user_id)

    def _get_recent(self, user_id: int) -> Recommendation:
        assert self.reader is not None  # noqa: S101 - set together with this method
        state, events, older = self.reader.get(user_id)
        if state == "none":
            return self._lists.get(user_id)
        if state != "found":
            self._unused[state].inc()
            return self._lists.get(user_id)
        try:
            # The time of the log, which may differ from that of the clock by a time zone.
            now = max(self.reader.newest_time, events[0].time) if events else 0
            found = self._lists.rank_recent(user_id, events, now, older)
        except Exception:  # noqa: BLE001 - a request is answered without recent activity
            self._unused["error"].inc()
            if monotonic() >= self._log_at:
                self._log_at = monotonic() + _LOG_INTERVAL_SECONDS
                _log.exception("a recommendation by recent activity failed", user_id=user_id)
            found = None
        return found[0] if found else self._lists.get(user_id)
