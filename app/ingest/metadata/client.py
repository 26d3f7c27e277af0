"""HTTP client of the metadata API: rate limit, retries, and batches where the API accepts them."""

import time
from math import inf
from threading import Event
from typing import Literal
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from app import logs
from app.ingest.metadata.parse import Row, match_rows

Kind = Literal["user", "movie"]
#: Ids per request that the newest edition of the API accepts.
MAX_BATCH_SIZE = 200
#: Characters of a path that every server accepts.
_MAX_PATH_LENGTH = 6000
_MAX_RESPONSE_BYTES = 16 << 20
_CONNECT_TIMEOUT_SECONDS = 3.0
_READ_TIMEOUT_SECONDS = 15.0
_MAX_RETRIES = 4
_MAX_RETRY_AFTER_SECONDS = 60
_RETRIED_STATUSES = (429, 502, 503, 504)
_UNKNOWN_ID_STATUSES = (400, 404, 410, 414, 422)
#: Names of the id in a response.
_ID_KEYS: dict[Kind, tuple[str, ...]] = {"user": ("user_id", "id"), "movie": ("id", "movie_id")}

_log = logs.get(__name__)


class MetadataApiError(Exception):
    """The API does not respond, or not in a known format."""


class MetadataClient:
    """Client of one metadata API.

    Args:
        url: base URL; users are at `/user/<ids>`, movies at `/movie/<ids>`.
        max_requests_per_second: rate limit.
        stop: when set, the next request raises MetadataApiError.

    Attributes:
        request_count: requests sent so far, without retries.
    """

    def __init__(self, url: str, max_requests_per_second: float, stop: Event) -> None:
        self.request_count = 0
        self._url = url.rstrip("/")
        self._interval_seconds = 1 / max_requests_per_second
        self._stop = stop
        self._next_request_at = 0.0
        #: Ids to request one by one before a batch is tried (again).
        self._single_requests_left: dict[Kind, float] = {"user": 0, "movie": 0}
        retry = Retry(
            total=_MAX_RETRIES,
            backoff_factor=0.5,
            status_forcelist=_RETRIED_STATUSES,
            raise_on_status=False,
            retry_after_max=_MAX_RETRY_AFTER_SECONDS,
        )
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def batch_size(self, kind: Kind) -> int:
        """Return how many ids the next call of `fetch` should have."""
        return 1 if self._single_requests_left[kind] > 0 else MAX_BATCH_SIZE

    def fetch(self, kind: Kind, ids: list[str]) -> dict[str, Row] | None:
        """Fetch the metadata of some ids; ids that the API does not know are missing.

        Older editions of the API accept no batches, and some reject a batch of unknown ids. Then
        the result is None and `batch_size` is 1 for these ids. When one of them is known, batches
        are not supported; otherwise the next ids are requested as a batch again.

        Raises:
            MetadataApiError: no response, or not the response of a metadata API.
        """
        if len(ids) == 1:
            rows = self._request(kind, ids) or {}
            self._single_requests_left[kind] = inf if rows else self._single_requests_left[kind] - 1
            return rows
        if len(self._url_of(kind, ids)) > _MAX_PATH_LENGTH:
            half = len(ids) // 2
            first, second = self.fetch(kind, ids[:half]), self.fetch(kind, ids[half:])
            return None if first is None or second is None else first | second
        try:
            batch = self._request(kind, ids)
        except MetadataApiError as error:
            _log.info("batch request failed, requesting single ids", kind=kind, error=str(error))
            batch = None
        if batch is None:
            self._single_requests_left[kind] = len(ids)
        return batch

    def _request(self, kind: Kind, ids: list[str]) -> dict[str, Row] | None:
        if self._stop.wait(max(0.0, self._next_request_at - time.monotonic())):
            raise MetadataApiError("interrupted")
        self._next_request_at = time.monotonic() + self._interval_seconds
        self.request_count += 1
        try:
            response = self._session.get(
                self._url_of(kind, ids), timeout=(_CONNECT_TIMEOUT_SECONDS, _READ_TIMEOUT_SECONDS)
            )
            if response.status_code in _UNKNOWN_ID_STATUSES:
                return None
            response.raise_for_status()
            if len(response.content) > _MAX_RESPONSE_BYTES:
                raise MetadataApiError(f"{self._url}: response of {len(response.content)} bytes")
            return match_rows(ids, response.json(), _ID_KEYS[kind])
        except (requests.RequestException, ValueError) as error:
            raise MetadataApiError(f"{self._url}: {error}") from error

    def _url_of(self, kind: Kind, ids: list[str]) -> str:
        # Movie ids come from the paths of the log: characters escaped there must stay escaped.
        return f"{self._url}/{kind}/{quote(','.join(ids), safe=',+*%')}"
