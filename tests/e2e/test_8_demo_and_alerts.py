"""The demo's outside world, and an alert on its way to people."""

import json
import smtplib
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests
from kafka import KafkaProducer

from tests.e2e.stack import Stack, docker, eventually

MAILS = "http://127.0.0.1:1080"
ALERTS = "http://127.0.0.1:9093/api/v2/alerts"


@pytest.fixture(scope="module")
def demo(stack: Stack) -> Iterator[Stack]:
    """The profile `demo` up, and Alertmanager told of the mail catcher by settings alone."""
    (stack.clone / ".env").write_text(
        "MARQUEE_MAIL_SMARTHOST=maildev:1025\nMARQUEE_MAIL_TLS=false\n"
        "MARQUEE_MAIL_FROM=marquee@localhost\nMARQUEE_MAIL_TO=team@localhost\n"
        "MARQUEE_KAFKA_SERVERS=kafka:9092\n"
    )
    stack.compose("--profile", "demo", "up", "-d", "--wait")
    stack.compose("restart", "alertmanager")
    yield stack
    (stack.clone / ".env").unlink()
    stack.compose("--profile", "demo", "rm", "--stop", "--force", "kafka", "maildev")
    stack.compose("up", "-d", "--wait")
    stack.compose("restart", "alertmanager")


def test_a_line_goes_through_kafka(demo: Stack) -> None:
    line = "2022-11-14T12:24,388907,GET /data/m/whiplash+2014/42.mpg"
    tool = "/opt/kafka/bin/kafka-console-{}.sh --bootstrap-server {} --topic movielog1 {}"
    produce = f"echo '{line}' | " + tool.format("producer", "kafka:9092", "")
    demo.compose("exec", "-T", "kafka", "bash", "-c", produce)
    consume = tool.format("consumer", "kafka:9092", "--from-beginning --max-messages 1")
    assert line in demo.compose("exec", "-T", "kafka", "bash", "-c", consume)


def test_lines_arrive_in_the_store_and_no_stop_loses_any(demo: Stack) -> None:
    produce(demo, range(1000))
    eventually(lambda: stored(demo) == 1000, 60, "the lines in the store")
    demo.compose("stop", "collector")
    produce(demo, range(1000, 3000))
    demo.compose("start", "collector")
    eventually(lambda: stored(demo) == 3000, 60, "the lines that came meanwhile")
    demo.compose("kill", "--signal=SIGKILL", "collector")
    produce(demo, range(3000, 4000))
    demo.compose("up", "-d", "--wait", "collector")
    eventually(lambda: stored(demo) == 4000, 60, "the lines after a kill")


def produce(demo: Stack, users: range) -> None:
    """Each user watches one minute; the lines go to the broker's loopback port."""
    with KafkaProducer(bootstrap_servers="127.0.0.1:9094") as producer:
        for user in users:
            line = f"2022-11-14T12:24,{user},GET /data/m/whiplash+2014/42.mpg"
            producer.send("movielog", line.encode())
        producer.flush()


def stored(demo: Stack) -> int:
    """The pairs of user and film in the collector's store."""
    told = demo.compose("exec", "-T", "collector", "marquee", "data", "stats", "--json")
    pairs: int = json.loads(told)["pairs"]
    return pairs


def test_the_mail_catcher_shows_a_mail_on_its_page(demo: Stack) -> None:
    address = demo.inspect("maildev")["NetworkSettings"]["Networks"]
    host = next(iter(address.values()))["IPAddress"]
    with smtplib.SMTP(host, 1025, timeout=5) as server:
        server.sendmail("a@localhost", ["b@localhost"], "Subject: hello\r\n\r\nmail")
    eventually(lambda: "hello" in _mails(), 10, "the mail")
    page = requests.get(MAILS, headers={"Accept": "text/html"}, timeout=5)
    assert page.ok
    assert "<html" in page.text


def test_an_alert_reaches_people_by_mail(demo: Stack) -> None:
    alert: dict[str, object] = {
        "labels": {"alertname": "SlotDown", "slot": "canary", "severity": "page"},
        "annotations": {"summary": "canary has not answered Prometheus for a minute"},
        "startsAt": datetime.now(UTC).isoformat(),
    }
    eventually(lambda: _post([alert]), 30, "Alertmanager taking alerts")
    eventually(lambda: "SlotDown" in _mails(), 60, "its mail")
    told = next(mail for mail in json.loads(_mails()) if "SlotDown" in json.dumps(mail))
    assert "team@localhost" in json.dumps(told["to"])


def _mails() -> str:
    return requests.get(f"{MAILS}/api/email", timeout=5).text


def _post(alerts: list[dict[str, object]]) -> bool:
    try:
        return requests.post(ALERTS, json=alerts, timeout=5).ok
    except requests.ConnectionError:
        return False


def test_the_demo_too_is_contained(demo: Stack) -> None:
    for service in ("kafka", "maildev"):
        found = json.loads(docker("inspect", demo.container(service)))[0]
        assert found["HostConfig"]["ReadonlyRootfs"]
        assert found["HostConfig"]["CapDrop"] == ["ALL"]
        assert found["Config"]["User"] == "1000:1000"
        for bindings in found["NetworkSettings"]["Ports"].values():
            assert all(binding["HostIp"] == "127.0.0.1" for binding in bindings or [])
