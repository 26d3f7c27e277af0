import socket
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from app.service.healthcheck import is_ready, read_address
from app.settings import Settings


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


def test_the_address_is_read_like_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MARQUEE_BIND", raising=False)
    assert read_address() == Settings().bind
    (tmp_path / "bind").write_text("[::1]:8090\n", encoding="utf-8-sig")
    monkeypatch.setenv("MARQUEE_BIND_FILE", str(tmp_path / "bind"))
    assert read_address() == "[::1]:8090"
    monkeypatch.delenv("MARQUEE_BIND_FILE")
    monkeypatch.setenv("MARQUEE_BIND", "127.0.0.1:8091")
    assert read_address() == "127.0.0.1:8091"
