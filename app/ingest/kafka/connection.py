"""How clients connect to the broker: addresses, TLS and SASL, from the settings.

Every client of the project, consumer or producer, uses these options.
"""

import logging
import os
import ssl
from collections.abc import Callable
from typing import Any

from kafka.errors import KafkaError, KafkaTimeoutError, RequestTimedOutError
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport

from app.settings import IngestSettings, SettingsError

#: What the client reports of a connection that the broker has closed.
_CLOSED = "socket disconnected"


class ClientErrors(logging.Handler):
    """Keeps the last error that kafka-python logs, instead of a line for every failed attempt.

    The exception of a failed connection names neither a wrong password nor an invalid certificate.
    The client connects several times in one attempt. A connection that the broker closes, or that
    ends with the attempt, has no reason: its error replaces none that has one.

    Args:
        is_logged: whether the log of the client is kept, too.
    """

    def __init__(self, is_logged: bool = False) -> None:
        super().__init__(logging.WARNING)
        self._last = ""
        logger = logging.getLogger("kafka")
        logger.propagate = is_logged
        logger.handlers = [self]

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the error of a record, if it has one."""
        values = record.args if isinstance(record.args, tuple) else ()
        for value in values:
            if not isinstance(value, Exception) or isinstance(value, KafkaTimeoutError):
                continue
            has_reason = not isinstance(value, RequestTimedOutError) and _CLOSED not in str(value)
            if has_reason or not self._last:
                self._last = str(value)

    def explain(self, error: BaseException | None) -> str:
        """Return the message of an error, with the last one of the client if that says more."""
        text = str(error) or type(error).__name__
        is_known = not isinstance(error, KafkaError) or self._last in text
        return text if is_known else f"{text}: {self._last}"

    def clear(self) -> None:
        """Forget the last error: a connection has succeeded."""
        self._last = ""


def _deliver_before_end(receive: Callable[..., tuple[bytes, Any]]) -> Callable[..., Any]:
    """Return a method that reports the end of a connection after the data received before it."""

    def receive_data_first(transport: Any) -> tuple[bytes, Any]:
        data, error = receive(transport)
        return data, None if data else error

    return receive_data_first


# kafka-python 3.0 drops what it has received when the connection ends in the same read. A broker
# that rejects a password sends the reason and closes at once: half of the refusals had no reason.
for _transport in (KafkaTCPTransport, KafkaSSLTransport):
    _transport._sock_recv = _deliver_before_end(_transport._sock_recv)


def connection_options(settings: IngestSettings) -> dict[str, Any]:
    """Return the arguments of kafka-python's clients that concern the connection.

    Raises:
        SettingsError: a certificate or the key is not valid; the message names the setting.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_servers.split(","),
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_security_protocol.endswith("SSL"):
        options["ssl_context"] = _create_ssl_context(settings)
    if settings.kafka_security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_user,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
        }
    return options


def _create_ssl_context(settings: IngestSettings) -> ssl.SSLContext:
    """Return a context that verifies the broker's certificate and host name.

    It is not `create_default_context`, which since Python 3.13 refuses certificates without the
    identifier of their authority; those made for Kafka often have none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if settings.kafka_ca:
            context.load_verify_locations(cadata=settings.kafka_ca)
        else:
            context.load_default_certs()
    except (ssl.SSLError, TypeError, ValueError) as error:
        raise SettingsError(f"MARQUEE_KAFKA_CA: no certificates in PEM format: {error}") from error
    if settings.kafka_certificate:
        key = settings.kafka_key.get_secret_value()
        try:
            _load_certificate(context, f"{settings.kafka_certificate}\n{key}\n")
        except (ssl.SSLError, ValueError) as error:
            names = "MARQUEE_KAFKA_CERTIFICATE, MARQUEE_KAFKA_KEY"
            raise SettingsError(
                f"{names}: no certificate with its unencrypted key in PEM format: {error}"
            ) from error
    return context


def _load_certificate(context: ssl.SSLContext, pem: str) -> None:
    """Load a certificate and its key, which OpenSSL reads from a file only, without a disk."""
    descriptor = os.memfd_create("marquee-kafka")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(pem)
        file.flush()
        # Without a password OpenSSL would ask for one at the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
