"""The service's constants for NGINX's timeouts are those of `nginx/nginx.conf`."""

import re

from app.service.metrics import EDGE_TRY_TIMEOUT_SECONDS
from app.service.response_recorder import EDGE_CONNECT_TIMEOUT_SECONDS
from tests.conftest import ROOT

CONFIGURATION = (ROOT / "nginx" / "nginx.conf").read_text()


def timeout_seconds(directive: str) -> set[float]:
    """All values of a timeout, which nginx.conf gives in milliseconds."""
    return {int(ms) / 1000 for ms in re.findall(rf"\b{directive} (\d+)ms;", CONFIGURATION)}


def test_the_try_timeout_is_that_of_nginx() -> None:
    assert timeout_seconds("proxy_read_timeout") == {EDGE_TRY_TIMEOUT_SECONDS}
    assert timeout_seconds("proxy_send_timeout") == {EDGE_TRY_TIMEOUT_SECONDS}


def test_the_connect_timeout_is_that_of_nginx() -> None:
    assert timeout_seconds("proxy_connect_timeout") == {EDGE_CONNECT_TIMEOUT_SECONDS}
