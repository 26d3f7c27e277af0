"""From what stands in the queue to rows of the tables."""

import base64
from typing import Any

from app.provenance.database import day_of
from app.provenance.record_format import ASKED_AGAIN, GIVEN_UP, PERSONAL
from app.provenance.spool_reader import Piece


def answer_rows(piece: Piece) -> list[dict[str, Any]]:
    """The rows of `reccom` for the records of a segment."""
    return [
        {
            **piece.head,
            "day": day_of(record.request_id, record.time),
            "request_id": record.request_id,
            "user_id": record.user_id,
            "time": record.time,
            "source": "personal" if record.flags & PERSONAL else "popular",
            "took": record.took,
            "given_up": bool(record.flags & GIVEN_UP),
            "asked_again": bool(record.flags & ASKED_AGAIN),
            "movies": record.movies,
        }
        for record in piece.records
    ]


def about_rows(about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Table -> row, of what a slot says of itself, or who made a version of that alone."""
    rows = dict(about)
    if "catalogue" in rows:
        names = base64.b64decode(rows["catalogue"]["names"])
        rows["catalogue"] = {**rows["catalogue"], "names": names}
    return rows
