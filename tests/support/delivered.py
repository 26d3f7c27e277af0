"""The responses that clients received, compared with the records in the database of the stack."""

import base64
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.model.recommendation_lists import movie_number_dtype
from tests.support.shipper import wait_until_shipped
from tests.support.stack import Stack


@dataclass
class Delivered:
    """The responses that clients received.

    Attributes:
        responses: (request id, slot) -> (version, user id, text).
    """

    responses: dict[tuple[str, str], tuple[str, int, str]] = field(default_factory=dict)

    def __call__(self, hit: dict[str, Any]) -> None:
        if hit["code"] != 200:
            return
        headers = {name: values[0] for name, values in hit["headers"].items()}
        key = headers["X-Request-Id"], headers["X-Slot"]
        assert key not in self.responses
        user = int(hit["url"].rsplit("/", 1)[1])
        text = base64.b64decode(hit["body"]).decode()
        self.responses[key] = headers["X-Model-Version"], user, text


def compare(stack: Stack, delivered: Delivered) -> str:
    """Check that every delivered response has a row with its content; return a summary."""
    wait_until_shipped()
    catalogue = dict(stack.sql("select model_hash, hex(movie_ids) from catalogue"))
    (model_hash,) = {row[0] for row in stack.sql("select distinct model_hash from build")}
    packed = bytes.fromhex(catalogue[model_hash])
    movie_ids = zlib.decompress(packed).decode().split("\n")
    rows = stack.sql(
        "select request_id, slot, version_number, user_id, hex(movie_numbers), client_gone "
        "from reccom"
    )
    found = {(row[0], row[1]): row for row in rows}
    assert len(found) == len(rows), "a key occurs twice"
    lost = delivered.responses.keys() - found.keys()
    assert not lost, f"{len(lost)} of {len(delivered.responses)} responses are not in reccom"
    dtype = movie_number_dtype(len(movie_ids))
    for key, (version, user, text) in delivered.responses.items():
        row = found[key]
        numbers = np.frombuffer(bytes.fromhex(row[4]), dtype).tolist()
        assert (row[2], row[3], row[5]) == (version, str(user), "0"), key
        assert ",".join(movie_ids[number] for number in numbers) == text, key
    attempts = Counter(key[0] for key in found)
    sent = {request_id for request_id, _ in delivered.responses}
    retried = sum(count > 1 for request_id, count in attempts.items() if request_id in sent)
    return f"{len(delivered.responses)} delivered, 0 lost, 0 duplicated, {retried} retried"


def find_lost(stack: Stack, delivered: Delivered) -> set[tuple[str, str]]:
    """Return the request ids and slots of the delivered responses that have no row."""
    wait_until_shipped()
    rows = stack.sql("select request_id, slot from reccom")
    return delivered.responses.keys() - {(request_id, slot) for request_id, slot in rows}
