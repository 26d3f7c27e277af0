"""The demo's outside world, and an alert on its way to people."""

import itertools
import json
import smtplib
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests
from kafka import KafkaProducer

from tests.support.stack import Stack, docker, eventually

MAILS = "http://127.0.0.1:1080"
OUTSIDE = ("simulator", "information-api", "kafka", "maildev")
ALERTS = "http://127.0.0.1:9093/api/v2/alerts"


@pytest.fixture(scope="module")
def demo(stack: Stack) -> Iterator[Stack]:
    """The profile `demo` up, and Alertmanager told of the mail catcher by settings alone."""
    (stack.clone / ".env").write_text(
        "MARQUEE_SMTP_HOST=maildev:1025\nMARQUEE_MAIL_TLS=false\n"
        "MARQUEE_MAIL_FROM=marquee@localhost\nMARQUEE_MAIL_TO=team@localhost\n"
        "MARQUEE_KAFKA_SERVERS=kafka:9092\n"
        "MARQUEE_SIMULATE=--rate 20 --speed 60\n"
    )
    stack.compose("--profile", "demo", "up", "-d", "--wait")
    stack.compose("restart", "alertmanager")
    yield stack
    (stack.clone / ".env").unlink()
    stack.compose("--profile", "demo", "rm", "--stop", "--force", *OUTSIDE)
    stack.compose("up", "-d", "--wait")
    stack.compose("restart", "alertmanager")


def test_a_line_goes_through_kafka(demo: Stack) -> None:
    line = "2022-11-14T12:24,388907,GET /data/m/whiplash+2014/42.mpg"
    tool = "/opt/kafka/bin/kafka-console-{}.sh --bootstrap-server {} --topic movielog1 {}"
    produce = f"echo '{line}' | " + tool.format("producer", "kafka:9092", "")
    demo.compose("exec", "-T", "kafka", "bash", "-c", produce)
    consume = tool.format("consumer", "kafka:9092", "--from-beginning --max-messages 1")
    assert line in demo.compose("exec", "-T", "kafka", "bash", "-c", consume)


def test_the_simulator_asks_the_edge_and_tells_kafka(demo: Stack) -> None:
    asked = 'sum(marquee_simulator_requests_total{outcome="ok"})'
    eventually(lambda: _value(demo, asked) > 20, 60, "requests of the simulator")
    assert _value(demo, f"{asked} / sum(marquee_simulator_requests_total)") > 0.95
    assert _value(demo, "sum(marquee_simulator_choices_total)") > 0
    assert _value(demo, "marquee_simulator_lost_lines_total") == 0
    tool = "/opt/kafka/bin/kafka-console-consumer.sh --bootstrap-server kafka:9092"
    consume = f"{tool} --topic movielog --from-beginning --max-messages 200"
    lines = demo.compose("exec", "-T", "kafka", "bash", "-c", consume).splitlines()
    assert any(",GET /data/m/" in line for line in lines)
    assert any(",recommendation request nginx:8082, status 200" in line for line in lines)


def test_the_information_api_answers_inside_the_stack(demo: Stack) -> None:
    ask = (
        "import urllib.request as r; print(r.urlopen('http://information-api:8080/user/7').read())"
    )
    told = demo.compose("exec", "-T", "simulator", "python", "-c", ask)
    assert '"user_id": 7' in told


def _value(stack: Stack, expression: str) -> float:
    result = stack.query(expression)
    return float(result[0]["value"][1]) if result else 0.0


def test_lines_arrive_in_the_store_and_no_stop_loses_any(demo: Stack) -> None:
    demo.compose("stop", "simulator")
    before = settled(demo)
    produce(demo, 1000)
    eventually(lambda: stored(demo) == before + 1000, 60, "the lines in the store")
    demo.compose("stop", "collector")
    produce(demo, 2000)
    demo.compose("start", "collector")
    eventually(lambda: stored(demo) == before + 3000, 60, "the lines that came meanwhile")
    demo.compose("kill", "--signal=SIGKILL", "collector")
    produce(demo, 1000)
    demo.compose("up", "-d", "--wait", "collector")
    eventually(lambda: stored(demo) == before + 4000, 60, "the lines after a kill")


_strangers = itertools.count(10**9)


def produce(demo: Stack, users: int) -> None:
    """So many new users watch one minute; the lines go to the broker's loopback port."""
    with KafkaProducer(bootstrap_servers="127.0.0.1:9094") as producer:
        for user in itertools.islice(_strangers, users):
            line = f"2022-11-14T12:24,{user},GET /data/m/whiplash+2014/42.mpg"
            producer.send("movielog", line.encode())
        producer.flush()


def stored(demo: Stack) -> int:
    """The pairs of user and movie in the collector's store."""
    told = demo.compose("exec", "-T", "collector", "marquee", "data", "stats", "--json")
    pairs: int = json.loads(told)["pairs"]
    return pairs


def settled(demo: Stack) -> int:
    """The pairs once nothing waits at the broker any more."""
    eventually(lambda: _value(demo, "marquee_kafka_consumer_lag") == 0, 60, "an empty broker")
    found = [stored(demo)]

    def stays() -> bool:
        time.sleep(12)  # longer than from one commit of the collector to the next
        found.append(stored(demo))
        return found[-1] == found[-2]

    eventually(stays, 90, "a store that stays as it is")
    return found[-1]


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
    for service in OUTSIDE:
        found = json.loads(docker("inspect", demo.container(service)))[0]
        assert found["HostConfig"]["ReadonlyRootfs"]
        assert found["HostConfig"]["CapDrop"] == ["ALL"]
        ours = service in ("simulator", "information-api")
        assert found["Config"]["User"] == ("10001:10001" if ours else "1000:1000")
        for bindings in found["NetworkSettings"]["Ports"].values():
            assert all(binding["HostIp"] == "127.0.0.1" for binding in bindings or [])
