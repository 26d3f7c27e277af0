import logging
import socket
import ssl
from types import SimpleNamespace
from typing import Any

import pytest
from kafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    RequestTimedOutError,
    SaslAuthenticationFailedError,
)
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport

from app.ingest.kafka.connection import _CLOSED, ClientErrors, connection_options
from app.settings import SettingsError, read_settings
from tests.support.certificates import CertificateAuthority


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.mark.parametrize("transport", [KafkaTCPTransport, KafkaSSLTransport])
def test_data_before_the_end_of_a_connection_is_received(transport: Any) -> None:
    """Fails when kafka-python changes: see `_deliver_before_end` in app.ingest.kafka.connection."""
    ours, theirs = socket.socketpair()
    theirs.sendall(b"the reason")
    theirs.close()
    with ours:
        connection = SimpleNamespace(_sock=ours)
        assert transport._sock_recv(connection) == (b"the reason", None)
        data, error = transport._sock_recv(connection)
        assert (data, _CLOSED in str(error)) == (b"", True)


def test_without_settings_the_connection_is_plain() -> None:
    options = connection_options(read_settings(kafka_servers="a:1,b:2"))
    assert options == {"bootstrap_servers": ["a:1", "b:2"], "security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize("has_own_authority", [True, False])
def test_tls_verifies_the_certificate_and_the_host(
    authority: CertificateAuthority, has_own_authority: bool
) -> None:
    ca = authority.pem if has_own_authority else ""
    context = connection_options(read_settings(kafka_security_protocol="SSL", kafka_ca=ca))[
        "ssl_context"
    ]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    if has_own_authority:
        assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize("name", ["kafka_ca", "kafka_certificate", "kafka_key"])
@pytest.mark.parametrize("content", ["no PEM", "-----BEGIN CERTIFICATE-----\nx", "é"])
def test_an_invalid_certificate_is_an_error_with_its_setting(
    authority: CertificateAuthority, name: str, content: str
) -> None:
    certificate, key = authority.issue("client")
    valid = {"kafka_certificate": certificate, "kafka_key": key}
    settings = read_settings(kafka_security_protocol="SSL", **{**valid, name: content})
    with pytest.raises(SettingsError, match=f"MARQUEE_{name.upper()}: no certificate|PEM format"):
        connection_options(settings)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kafka_security_protocol": "SASL_SSL"}, "SASL_SSL needs kafka_user and kafka_password"),
        ({"kafka_user": "reader"}, "not used with PLAINTEXT"),
        ({"kafka_ca": "x"}, "not used with PLAINTEXT"),
        ({"kafka_key": "x", "kafka_security_protocol": "SSL"}, "need each other"),
        ({"kafka_security_protocol": "TLS"}, "KAFKA_SECURITY_PROTOCOL"),
    ],
)
def test_credentials_that_are_missing_or_would_not_be_used_are_refused(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        read_settings(**values)


def test_the_reason_of_a_refusal_outlasts_connections_closed_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logger = logging.getLogger("kafka")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", False)
    errors, failure = ClientErrors(), KafkaTimeoutError("no bootstrap")
    closed = KafkaConnectionError("socket disconnected")
    logger.error("lost: %s", closed)
    assert "socket disconnected" in errors.explain(failure)
    logger.error("lost: %s", SaslAuthenticationFailedError("wrong password"))
    logger.error("lost: %s", closed)
    logger.error("lost: %s", RequestTimedOutError("after 15 ms"))
    logger.error("bootstrap failed: %s", failure)
    assert "wrong password" in errors.explain(failure)
    logger.error("lost: %s", KafkaConnectionError("connection refused"))
    assert "connection refused" in errors.explain(failure)
    errors.clear()
    logger.error("lost: %s", closed)
    assert "connection refused" not in errors.explain(failure)
