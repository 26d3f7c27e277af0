"""`GET /recommend/<user_id>`: movie ids, best first."""

import random
import re
import time
from typing import TYPE_CHECKING, get_args
from urllib.parse import parse_qs

from flask import Blueprint, Response, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import BadRequest

from app.model.recommendation_lists import RecommendationLists, Source
from app.service.metrics import Metrics
from app.service.recent_recommender import RecentRecommender
from app.service.response_recorder import ResponseRecorder
from app.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Longer ids are refused before they are converted to a number.
MAX_USER_ID_DIGITS = 18
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class StaticHeadersResponse(Response):
    """A response with complete headers, so that Werkzeug computes none for each request."""

    def get_wsgi_headers(self, environ: "WSGIEnvironment") -> Headers:
        """Return the headers unchanged."""
        return self.headers


def new_request_id() -> str:
    """Generate 24 hexadecimal digits: nanoseconds since 1970, then random. Sorts by time."""
    return f"{time.time_ns():016x}{random.getrandbits(32):08x}"


def parse_user_id(text: str) -> int:
    """Parse the user id in the path.

    Raises:
        BadRequest: anything but 1 to 18 ASCII digits.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_USER_ID_DIGITS):
        raise BadRequest(f"a user id is a whole number of at most {MAX_USER_ID_DIGITS} digits")
    return int(text)


def wants_profiling(query: str) -> bool:
    """Whether a query string allows a list that depends on the user: not with `profiling=false`.

    Raises:
        BadRequest: `profiling` is neither `true` nor `false`.
    """
    values = parse_qs(query, keep_blank_values=True).get("profiling", [])
    if any(value not in ("true", "false") for value in values):
        raise BadRequest("profiling is true or false")
    return "false" not in values


def blueprint(
    lists: RecommendationLists, recommender: RecentRecommender, metrics: Metrics, settings: Settings
) -> Blueprint:
    """The route that clients call."""
    record = (
        ResponseRecorder(settings, lists, metrics.dropped_records).record
        if settings.provenance_enabled
        else None
    )
    routes = Blueprint("recommend", __name__)
    get_recommendation, unprofiled = recommender.get, settings.unprofiled_user_ids
    static_headers = {
        source: [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("X-Model-Version", str(lists.manifest.version)),
            ("X-Recommendation-Source", source),
            ("X-Slot", settings.slot),
        ]
        for source in get_args(Source)
    }

    @routes.get("/recommend/<user_id>")
    def recommend(user_id: str) -> Response:
        user = parse_user_id(user_id)
        query = request.environ.get("QUERY_STRING")
        if user in unprofiled or (query and not wants_profiling(query)):
            recommendation = lists.general
        else:
            recommendation = get_recommendation(user)
        metrics.recommendations[recommendation.source].inc()
        incoming_id = request.environ.get("HTTP_X_REQUEST_ID", "")
        request_id = incoming_id if _REQUEST_ID.fullmatch(incoming_id) else new_request_id()
        if record:
            record(request.environ, request_id, user, recommendation)
        headers = [*static_headers[recommendation.source], ("X-Request-Id", request_id)]
        return StaticHeadersResponse(recommendation.text, headers=headers)

    return routes
