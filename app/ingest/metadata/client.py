"""Asking the information API: politely, in batches where it can, again where that may help."""

import time
from math import inf
from threading import Event
from typing import Literal
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from app import logs
from app.ingest.metadata.parse import Row, pair_up

Kind = Literal["user", "movie"]
#: What the newest edition takes at once.
BATCH = 200
#: Characters of a path that any server takes.
_PATH = 6000
_IDS: dict[Kind, tuple[str, ...]] = {"user": ("user_id", "id"), "movie": ("id", "movie_id")}
_TIMEOUT = (3.0, 15.0)
_LONGEST_ANSWER = 16 << 20
_AGAIN = (429, 502, 503, 504)
_UNKNOWN = (400, 404, 410, 414, 422)

_log = logs.get(__name__)


class ApiError(Exception):
    """The API does not answer, or in no form that is known. What was learnt before stays."""


class InformationApi:
    """One API, asked at most so many times a second; `requests` counts."""

    def __init__(self, url: str, per_second: float, stop: Event) -> None:
        self.requests = 0
        self._url = url.rstrip("/")
        self._pause = 1 / per_second
        self._stop = stop
        self._next = 0.0
        self._singly: dict[Kind, float] = {"user": 0, "movie": 0}
        retry = Retry(
            total=4, backoff_factor=0.5, status_forcelist=_AGAIN, raise_on_status=False,
            retry_after_max=60,
        )  # fmt: skip
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def close(self) -> None:
        """Close its connections."""
        self._session.close()

    def size(self, kind: Kind) -> int:
        """How many ids to ask for at once."""
        return 1 if self._singly[kind] > 0 else BATCH

    def ask(self, kind: Kind, ids: list[str]) -> dict[str, Row] | None:
        """What the API knows of these ids; those it does not know are missing.

        None where it answered no batch: ask for the same ids again, `size` at a time. An edition
        that takes none is found out so; one that refuses a batch of unknown ids is tried again.

        Raises:
            ApiError: it does not answer, or not as an information API.
        """
        if len(ids) == 1:
            found = self._get(kind, ids) or {}
            self._singly[kind] = inf if found else self._singly[kind] - 1
            return found
        if len(self._path(kind, ids)) > _PATH:
            half = len(ids) // 2
            first, second = self.ask(kind, ids[:half]), self.ask(kind, ids[half:])
            return None if first is None or second is None else first | second
        try:
            answered = self._get(kind, ids)
        except ApiError as error:
            _log.info("no batch was answered; asking singly", kind=kind, why=str(error))
            answered = None
        if answered is None:
            self._singly[kind] = len(ids)
        return answered

    def _get(self, kind: Kind, ids: list[str]) -> dict[str, Row] | None:
        if self._stop.wait(max(0.0, self._next - time.monotonic())):
            raise ApiError("told to stop")
        self._next = time.monotonic() + self._pause
        self.requests += 1
        try:
            answer = self._session.get(self._path(kind, ids), timeout=_TIMEOUT)
            if answer.status_code in _UNKNOWN:
                return None
            answer.raise_for_status()
            if len(answer.content) > _LONGEST_ANSWER:
                raise ApiError(f"{self._url}: an answer of {len(answer.content)} bytes")
            return pair_up(ids, answer.json(), _IDS[kind])
        except (requests.RequestException, ValueError) as error:
            raise ApiError(f"{self._url}: {error}") from error

    def _path(self, kind: Kind, ids: list[str]) -> str:
        # Movie ids are what stands in the paths of the log: what is escaped there stays so.
        return f"{self._url}/{kind}/{quote(','.join(ids), safe=',+*%')}"
