"""Who may act: a token, and forms that only this server's own pages can send.

A page of another site cannot read the cookie's value, so it cannot know the form's key, which is
derived from it. What was asked is signed into the form that asks once more, so that the server
keeps no sessions; a signature works once.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

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
        return self._sign("form", cookie, "")

    def check_form(self, cookie: str | None, key: str) -> bool:
        """Whether a form comes from a page that was sent to the owner of the cookie."""
        if cookie is None or not _COOKIE.fullmatch(cookie):
            return False
        expected = self.form_key(cookie)
        return hmac.compare_digest(key.encode(errors="replace"), expected.encode())

    def seal(self, cookie: str, content: dict[str, str]) -> str:
        """Sign a content for the owner of a cookie, for `CONFIRMATION_SECONDS`."""
        sealed = {**content, "expires_at": time.time() + CONFIRMATION_SECONDS}
        body = base64.urlsafe_b64encode(json.dumps(sealed).encode()).decode()
        return f"{body}.{self._sign('seal', cookie, body)}"

    def unseal(self, cookie: str, text: str) -> dict[str, Any] | None:
        """Return a content that `seal` signed; None if it is none, too old, or was used."""
        body, _, signature = text.partition(".")
        expected = self._sign("seal", cookie, body)
        if not hmac.compare_digest(signature.encode(errors="replace"), expected.encode()):
            return None
        content: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body))
        now = time.time()
        with self._lock:
            self._used = {key: at for key, at in self._used.items() if at > now}
            if content["expires_at"] < now or signature in self._used:
                return None
            self._used[signature] = content["expires_at"]
        return content

    def _sign(self, purpose: str, cookie: str, text: str) -> str:
        message = json.dumps([purpose, cookie, text]).encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()


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
