"""Who may act: a token, and forms that only this server's own pages can send.

A page of another site cannot read the cookie's value, so it cannot know the form's key, which is
derived from it. What was asked is signed into the form that asks once more, so that the server
keeps no sessions; a signature works once.
"""

import hmac
import re
import secrets
import time
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from itsdangerous import BadSignature, Signer, URLSafeTimedSerializer

COOKIE = "marquee_console"
#: Until a form that asks once more is too old.
CONFIRMATION_SECONDS = 120
#: Wrong tokens that are accepted as mistakes, within a minute; then every token is refused.
MAX_WRONG_TOKENS = 5
_WINDOW_SECONDS = 60
_COOKIE = re.compile(r"[A-Za-z0-9_-]{43}")


class Guard:
    """Checks what a browser sends.

    Args:
        token: who has it may act.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._key = secrets.token_bytes(32)  # a restart invalidates open forms
        self._lock = Lock()
        self._wrong_at: list[float] = []
        self._used: dict[str, float] = {}

    def check_token(self, token: str) -> bool | None:
        """Return whether a token is the right one; None while too many were wrong."""
        with self._lock:
            now = time.monotonic()
            self._wrong_at = [at for at in self._wrong_at if now - at < _WINDOW_SECONDS]
            if len(self._wrong_at) >= MAX_WRONG_TOKENS:
                return None
            is_right = hmac.compare_digest(token.encode(errors="replace"), self._token)
            if not is_right:
                self._wrong_at.append(now)
            return is_right

    def form_key(self, cookie: str) -> str:
        """Return the key that a form of the owner of a cookie has to contain."""
        return Signer(self._key, salt="form").get_signature(cookie).decode()

    def check_form(self, cookie: str | None, key: str) -> bool:
        """Whether a form comes from a page that was sent to the owner of the cookie."""
        if cookie is None or not _COOKIE.fullmatch(cookie):
            return False
        return Signer(self._key, salt="form").verify_signature(cookie, key.encode(errors="replace"))

    def seal(self, cookie: str, content: dict[str, str]) -> str:
        """Sign a content for the owner of a cookie, for `CONFIRMATION_SECONDS`."""
        return self._seals(cookie).dumps({**content, "nonce": secrets.token_urlsafe(8)})

    def unseal(self, cookie: str, text: str) -> dict[str, Any] | None:
        """Return a content that `seal` signed; None if it is none, too old, or was used."""
        try:
            content: dict[str, Any] = self._seals(cookie).loads(text, CONFIRMATION_SECONDS)
        except BadSignature:  # also SignatureExpired and BadPayload
            return None
        nonce, now = content["nonce"], time.monotonic()
        with self._lock:
            self._used = {key: until for key, until in self._used.items() if until >= now}
            if nonce in self._used:
                return None
            # A second longer, since the age of a signature is counted in whole seconds.
            self._used[nonce] = now + CONFIRMATION_SECONDS + 1
        return content

    def _seals(self, cookie: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self._key, salt=f"seal {cookie}")


def keep_or_create_cookie(sent: str | None) -> str:
    """Return the value that a browser sent, or a new one in place of none or an invalid one."""
    return sent if sent is not None and _COOKIE.fullmatch(sent) else secrets.token_urlsafe(32)


def is_own_page(origin: str | None, fetch_site: str | None, host: str) -> bool:
    """Whether a browser says that a form was sent by a page of this server.

    Args:
        origin: the header `Origin`, which browsers send with every form.
        fetch_site: the header `Sec-Fetch-Site`; older browsers do not send it.
        host: the header `Host`, which is one of this server's names.
    """
    if fetch_site not in (None, "same-origin"):
        return False
    try:
        return origin is not None and urlsplit(origin).netloc == host
    except ValueError:
        return False
