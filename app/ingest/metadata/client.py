"""HTTP client of the metadata API: rate limit, retries, and batches where the API accepts them."""

import json
import time
import zlib
from dataclasses import dataclass
from threading import Event
from typing import Any, Literal
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from urllib3.exceptions import HTTPError, NewConnectionError

from app import logs
from app.ingest.metadata.parse import Row, match_rows

Kind = Literal["user", "movie"]
#: Ids per request that the newest edition of the API accepts.
MAX_BATCH_SIZE = 200
#: Characters of a path that every server accepts.
_MAX_PATH_LENGTH = 6000
#: Bytes of a body, as received and unpacked; 200 movies take less than 1 MB. As Python objects a
#: body takes up to 24 times as much memory.
_MAX_RESPONSE_BYTES = 4 << 20
_CHUNK_BYTES = 64 << 10
_CONNECT_TIMEOUT_SECONDS = 3.0
_READ_TIMEOUT_SECONDS = 15.0
#: Maximum time of reading a body, whose chunks may each come within the read timeout.
_BODY_TIMEOUT_SECONDS = 60.0
_MAX_RETRIES = 4
_MAX_READ_RETRIES = 1
_MAX_RETRY_AFTER_SECONDS = 60
_RETRIED_STATUSES = (429, 502, 503, 504)
_UNKNOWN_ID_STATUSES = (400, 404, 410, 414, 422)
_OK = 200
#: Failed batches, none having succeeded, after which single ids are requested only.
_MAX_FAILED_BATCHES = 10
#: Names of the id in a response.
_ID_KEYS: dict[Kind, tuple[str, ...]] = {"user": ("user_id", "id"), "movie": ("id", "movie_id")}

_log = logs.get(__name__)


class MetadataApiError(Exception):
    """The API cannot be reached, or the client was stopped: further requests would fail, too."""


class InvalidResponseError(Exception):
    """One request has no usable response; requests of other ids may have one."""


@dataclass
class _BatchState:
    """How many ids the next request of a kind has.

    Attributes:
        size: ids of the next request.
        max_size: 1 where the API does not accept batches.
        singles_left: ids of a rejected batch, which are requested one by one.
        has_worked: whether a batch has succeeded.
        failed: number of batches without a usable response.
    """

    size: int = MAX_BATCH_SIZE
    max_size: int = MAX_BATCH_SIZE
    singles_left: int = 0
    has_worked: bool = False
    failed: int = 0

    def record_success(self, requested: int, known: int) -> None:
        """Record a response with `known` of the requested ids."""
        self.has_worked |= requested > 1
        if self.singles_left:
            self.singles_left -= 1
            if known and not self.has_worked:
                self.singles_left, self.size, self.max_size = 0, 1, 1
        else:
            self.size = min(self.max_size, 2 * requested)

    def record_rejection(self, requested: int) -> None:
        """Record that the API does not accept this batch."""
        self.singles_left = requested

    def record_failure(self, requested: int) -> None:
        """Record a request without a usable response."""
        self.singles_left = max(0, self.singles_left - 1)
        self.size = max(1, requested // 2)
        self.failed += requested > 1
        if self.failed >= _MAX_FAILED_BATCHES and not self.has_worked:
            self.max_size = 1


class MetadataClient:
    """Client of one metadata API. It does not follow redirects.

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
        self._batches: dict[Kind, _BatchState] = {"user": _BatchState(), "movie": _BatchState()}
        retry = Retry(
            total=_MAX_RETRIES,
            read=_MAX_READ_RETRIES,
            backoff_factor=0.5,
            status_forcelist=_RETRIED_STATUSES,
            raise_on_status=False,
            retry_after_max=_MAX_RETRY_AFTER_SECONDS,
        )
        self._session = requests.Session()
        self._session.headers["Accept-Encoding"] = "gzip, deflate"
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def batch_size(self, kind: Kind) -> int:
        """Return how many ids the next call of `fetch` should have."""
        batches = self._batches[kind]
        return 1 if batches.singles_left else batches.size

    def fetch(self, kind: Kind, ids: list[str]) -> dict[str, Row] | None:
        """Fetch the metadata of some ids; ids that the API does not know are missing.

        Older editions of the API accept no batches, and some reject a batch of unknown ids. Then
        the result is None and `batch_size` is 1 for these ids. When one of them is known, batches
        are not supported; otherwise the next ids are requested as a batch again. A batch without a
        usable response is None, too, and `batch_size` half of it: so the ids are found that the
        API fails for.

        Raises:
            InvalidResponseError: a single id has no usable response.
            MetadataApiError: the API cannot be reached, or `stop` is set.
        """
        batches = self._batches[kind]
        path = self._path_of(kind, ids)
        if len(ids) > 1 and len(path) > _MAX_PATH_LENGTH:
            batches.size = len(ids) // 2
            return None
        try:
            rows = self._request(kind, ids, path)
        except InvalidResponseError as error:
            batches.record_failure(len(ids))
            if len(ids) == 1:
                raise
            _log.info("batch request failed, requesting fewer ids", kind=kind, error=str(error))
            return None
        if rows is None and len(ids) > 1:
            batches.record_rejection(len(ids))
            return None
        batches.record_success(len(ids), len(rows or {}))
        return rows or {}

    def _request(self, kind: Kind, ids: list[str], path: str) -> dict[str, Row] | None:
        """Return the rows of a response; None where the API rejects the ids."""
        if self._stop.wait(max(0.0, self._next_request_at - time.monotonic())):
            raise MetadataApiError("interrupted")
        self._next_request_at = time.monotonic() + self._interval_seconds
        self.request_count += 1
        try:
            status, body = self._get(path)
            if status in _UNKNOWN_ID_STATUSES:
                return None
            if status != _OK:
                raise InvalidResponseError(_describe_status(status))
            rows = match_rows(ids, json.loads(body), _ID_KEYS[kind])
        except (OSError, HTTPError) as error:  # of requests, and of reading the body
            if _is_unreachable(error):
                raise MetadataApiError(f"{self._url}: {error}") from error
            raise InvalidResponseError(str(error)) from error
        except (ValueError, RecursionError, zlib.error) as error:
            raise InvalidResponseError(f"invalid body: {error}") from error
        if rows is None and len(ids) == 1:
            raise InvalidResponseError("invalid body: no JSON object of the id")
        return rows

    def _get(self, path: str) -> tuple[int, bytes]:
        """Return the status and the unpacked body of a response."""
        request = self._session.prepare_request(requests.Request("GET", f"{self._url}/"))
        # Set afterwards, because `prepare_request` would resolve an id `..`.
        request.url = f"{str(request.url).removesuffix('/')}{path}"
        options = self._session.merge_environment_settings(request.url, {}, True, None, None)
        with self._session.send(
            request,
            allow_redirects=False,
            timeout=(_CONNECT_TIMEOUT_SECONDS, _READ_TIMEOUT_SECONDS),
            **options,
        ) as response:
            if response.status_code != _OK:
                return response.status_code, b""
            return _OK, _read_body(response)

    def _path_of(self, kind: Kind, ids: list[str]) -> str:
        # Movie ids come from the paths of the log: characters escaped there must stay escaped.
        name = quote(",".join(ids), safe=",+*%")
        if name in {".", ".."}:
            name = name.replace(".", "%2E")
        return f"/{kind}/{name}"


def _read_body(response: requests.Response) -> bytes:
    """Return the unpacked body; both its forms are bounded, so that memory is.

    Raises:
        ValueError: it is too large, takes too long, or has an unknown encoding.
        zlib.error: it cannot be unpacked.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise ValueError("unknown Content-Encoding")
    body = bytearray()
    end_at = time.monotonic() + _BODY_TIMEOUT_SECONDS
    while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=False):
        body += chunk
        if len(body) > _MAX_RESPONSE_BYTES:
            raise ValueError(f"more than {_MAX_RESPONSE_BYTES} bytes")
        if time.monotonic() > end_at:
            raise ValueError(f"not complete after {_BODY_TIMEOUT_SECONDS:.0f} s")
    if encoding in {"", "identity"}:
        return bytes(body)
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # gzip or zlib, as the header says
    unpacked = unpacker.decompress(body, _MAX_RESPONSE_BYTES + 1)
    if len(unpacked) > _MAX_RESPONSE_BYTES:
        raise ValueError(f"more than {_MAX_RESPONSE_BYTES} bytes unpacked")
    return unpacked


def _describe_status(status: int) -> str:
    is_redirect = 300 <= status < 400  # noqa: PLR2004
    return f"status {status}{', a redirect, which is not followed' if is_redirect else ''}"


def _is_unreachable(error: Exception) -> bool:
    """Whether no connection can be made, so that the request of another id would fail, too."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError):
        return True
    cause: Any = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", None), NewConnectionError)
