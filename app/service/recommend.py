"""`GET /recommend/<user_id>`: one line of movie ids, best first, without waiting."""

import random
import re
import time
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import BadRequest

from app.model.recommendation_lists import RecommendationLists
from app.service.metrics import Metrics
from app.service.response_recorder import Recording
from app.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: More digits than any user id has; what is longer is refused before it becomes a number.
MAX_DIGITS = 18
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class ListResponse(Response):
    """An answer whose headers are complete, so that none is worked out for each request."""

    def get_wsgi_headers(self, environ: "WSGIEnvironment") -> Headers:
        """The headers as they were given."""
        return self.headers


def new_request_id() -> str:
    """24 hexadecimal digits: nanoseconds since 1970, then chance. Sorts by time."""
    return f"{time.time_ns():016x}{random.getrandbits(32):08x}"


def parse_user_id(text: str) -> int:
    """A user id from the path.

    Raises:
        BadRequest: anything but 1 to 18 ASCII digits.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise BadRequest(f"a user id is a whole number of at most {MAX_DIGITS} digits")
    return int(text)


def blueprint(lists: RecommendationLists, metrics: Metrics, settings: Settings) -> Blueprint:
    """The one route that the simulator asks."""
    record = Recording(settings, lists, metrics.lost) if settings.provenance_enabled else None
    routes = Blueprint("recommend", __name__)
    always = {
        source: [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("X-Model-Version", str(lists.manifest.version)),
            ("X-Recommendation-Source", source),
            ("X-Slot", settings.slot),
        ]
        for source in ("personal", "popular")
    }

    @routes.get("/recommend/<user_id>")
    def recommend(user_id: str) -> Response:
        user = parse_user_id(user_id)
        answer = lists.get(user)
        metrics.answers[answer.source].inc()
        asked = request.environ.get("HTTP_X_REQUEST_ID", "")
        made_by = asked if _REQUEST_ID.fullmatch(asked) else new_request_id()
        if record:
            record(request.environ, made_by, user, answer)
        headers = [*always[answer.source], ("X-Request-Id", made_by)]
        return ListResponse(answer.text, headers=headers)

    return routes
