"""A broker that requires TLS with a client certificate, and SASL."""

import json
from pathlib import Path

import pytest

from tests.integration.ingest.kafka.conftest import CollectorHarness
from tests.support.certificates import CertificateAuthority
from tests.support.commands import summary_of
from tests.support.kafka import PASSWORD, USER


def secure_settings(harness: CollectorHarness, directory: Path) -> dict[str, str]:
    """Write the secrets of a client to files; return the settings that name them."""
    certificate, key = harness.broker.certificate
    secrets = {
        "PASSWORD": PASSWORD, "CA": harness.broker.authority,
        "CERTIFICATE": certificate, "KEY": key,
    }  # fmt: skip
    settings = {
        "MARQUEE_KAFKA_SERVERS": harness.broker.secure_servers,
        "MARQUEE_KAFKA_TOPIC": harness.topic,
        "MARQUEE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "MARQUEE_KAFKA_USER": USER,
    }
    for name, content in secrets.items():
        path = directory / name
        path.write_text(content + "\n")
        settings[f"MARQUEE_KAFKA_{name}_FILE"] = str(path)
    return settings


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
def test_producer_and_collector_use_sasl_and_tls(
    harness: CollectorHarness, tmp_path: Path, mechanism: str
) -> None:
    harness.broker.add_scram_user()
    settings = secure_settings(harness, tmp_path)
    settings["MARQUEE_KAFKA_SASL_MECHANISM"] = mechanism
    sent = summary_of("simulate", "--days", 0.01, "--rate", 0.03, stdin=b"", **settings)["log"]
    assert (sent["lost"], sent["lines"] > 0) == (0, True)
    output, log = harness.start("--for", "5s", "--json", **settings).communicate(timeout=120)
    assert json.loads(output)["lines"] == sent["lines"], log


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("password", "Authentication failed: Invalid username or password"),
        ("authority", "certificate verify failed"),
        ("client certificate", "alert"),
    ],
)
def test_a_refused_connection_is_reported_with_its_reason(
    harness: CollectorHarness, tmp_path: Path, wrong: str, reason: str
) -> None:
    settings = secure_settings(harness, tmp_path)
    settings["MARQUEE_KAFKA_SASL_MECHANISM"] = "PLAIN"
    other = CertificateAuthority()
    if wrong == "password":
        (tmp_path / "PASSWORD").write_text("guess-work")
    elif wrong == "authority":
        (tmp_path / "CA").write_text(other.pem)
    else:
        for name, content in zip(("CERTIFICATE", "KEY"), other.issue("client"), strict=True):
            (tmp_path / name).write_text(content)
    process = harness.start("--for", "2s", **settings)
    _, log = process.communicate(timeout=120)
    assert process.returncode == 1, log
    assert "no broker with" in log
    assert reason in log
    assert "Traceback" not in log
    assert "guess-work" not in log
