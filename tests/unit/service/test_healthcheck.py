import socket

import pytest
from pytest_httpserver import HTTPServer

from app.service.healthcheck import is_ready


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "bind"),
    [
        ("127.0.0.1", "127.0.0.1:{}"),
        ("127.0.0.1", "0.0.0.0:{}"),
        ("127.0.0.1", "localhost:{}"),
        pytest.param(
            "::1",
            "[::]:{}",
            marks=pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 on this machine"),
        ),
    ],
)
def test_the_service_is_found_at_the_address_it_listens_at(host: str, bind: str) -> None:
    with HTTPServer(host=host) as server:
        address = bind.format(server.port)
        server.expect_oneshot_request("/ready").respond_with_data("")
        assert is_ready(address)
        server.expect_oneshot_request("/ready").respond_with_data("", status=503)
        assert not is_ready(address)
    assert not is_ready(address)


def test_an_invalid_address_is_not_ready() -> None:
    assert not is_ready("8082")
