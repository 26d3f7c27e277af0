"""The compose profile `demo`: simulated users, Kafka and mail; alerts are delivered by mail.

With them and a release that has failed Prometheus has every series that an alert, a recording rule
or a panel names.
"""

import json
import shutil
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from tests.conftest import ROOT
from tests.e2e.conftest import DEMO_SERVICES
from tests.support.alert_rules import find_named_series, read_rules
from tests.support.dashboards import read_panels
from tests.support.docker import docker
from tests.support.recorded_alerts import COURSES, Course, Sample, create_test, find_inputs
from tests.support.shipper import wait_until_shipped
from tests.support.stack import ALERTMANAGER, MAILDEV, PORTS, PROJECT, URL, Stack
from tests.support.stream import (
    RECENT_DAY,
    send_lines,
    send_watches,
    unused_user_ids,
    wait_until_collected,
)
from tests.support.waiting import eventually

TOPIC = "movielog"
#: Writes the metrics of a release that has failed, with the code of releases.
WRITE_METRICS = """
set -Eeuo pipefail
CODE_DIR=$PWD
source scripts/lib.sh
for file in settings state full_disk slots analysis metrics notify phases commands status; do
    source "scripts/release/$file.sh"
done
source scripts/platforms/compose.sh
write_metrics
write_host_metrics
"""


def test_the_sample_is_imported_before_any_service_has_run(stack: Stack, tmp_path: Path) -> None:
    """The demo's first step, in a project of its own, which has no volumes yet."""
    server, log = tmp_path / "server", tmp_path / "log"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(server)], check=True)
    (server / ".venv").symlink_to(Path(sys.prefix))
    environment = {
        **stack.environment, "COMPOSE_PROJECT_NAME": f"{PROJECT}-import",
        "SERVER_DIR": str(server), "DEMO_LOG": str(log),
    }  # fmt: skip
    step = "set -o pipefail; source scripts/demo/steps.sh; import_sample"
    try:
        done = subprocess.run(["bash", "-c", step], cwd=ROOT, env=environment, check=False)
        assert done.returncode == 0, log.read_text()
    finally:
        down = ["docker", "compose", "down", "--volumes", "--timeout", "1"]
        subprocess.run(down, cwd=server, env=environment, capture_output=True, check=True)
    counts = json.loads(log.read_text().splitlines()[-1])
    assert counts["watches"] > 0 and counts["rejected"] == 0


def test_kafka_delivers_a_line(demo: Stack) -> None:
    line = "2022-11-14T12:24,388907,GET /data/m/whiplash+2014/42.mpg"
    tool = "/opt/kafka/bin/kafka-console-{}.sh --bootstrap-server {} --topic movielog1 {}"
    produce = f"echo '{line}' | " + tool.format("producer", "kafka:9092", "")
    demo.compose("exec", "-T", "kafka", "bash", "-c", produce)
    consume = tool.format("consumer", "kafka:9092", "--from-beginning --max-messages 1")
    assert line in demo.compose("exec", "-T", "kafka", "bash", "-c", consume)


def test_the_simulator_sends_requests_to_nginx_and_lines_to_kafka(demo: Stack) -> None:
    ok = 'sum(marquee_simulator_requests_total{outcome="ok"})'
    eventually(lambda: demo.query_value(ok) > 20, 60, "requests of the simulator")
    assert demo.query_value(f"{ok} / sum(marquee_simulator_requests_total)") > 0.95
    assert demo.query_value("sum(marquee_simulator_choices_total)") > 0
    assert demo.query_value("marquee_simulator_lost_log_lines_total") == 0
    tool = "/opt/kafka/bin/kafka-console-consumer.sh --bootstrap-server kafka:9092"
    consume = f"{tool} --topic {TOPIC} --from-beginning --max-messages 200"
    lines = demo.compose("exec", "-T", "kafka", "bash", "-c", consume).splitlines()
    assert any(",GET /data/m/" in line for line in lines)
    assert any(",recommendation request nginx:8082, status 200" in line for line in lines)


def test_the_metadata_api_responds_inside_the_stack(demo: Stack) -> None:
    fetch = (
        "import urllib.request as r;"
        "print(r.urlopen('http://metadata-api:8080/user/7').read().decode())"
    )
    output = demo.compose("exec", "-T", "simulator", "python", "-c", fetch)
    assert json.loads(output)["user_id"] == 7


def test_no_line_is_lost_when_the_collector_is_stopped_or_killed(demo: Stack) -> None:
    demo.compose("stop", "simulator")
    wait_until_collected(TOPIC)
    before = demo.read_store_statistics()["pairs"]
    demo.compose("stop", "collector")
    send_watches(TOPIC, 2000)
    demo.compose("start", "collector")
    wait_until_collected(TOPIC)
    assert demo.read_store_statistics()["pairs"] == before + 2000
    send_watches(TOPIC, 1000)
    demo.compose("kill", "--signal=SIGKILL", "collector")
    send_watches(TOPIC, 1000)
    demo.compose("up", "-d", "collector")
    wait_until_collected(TOPIC)
    assert demo.read_store_statistics()["pairs"] == before + 4000


def test_a_line_in_kafka_changes_the_next_answer(demo: Stack) -> None:
    """The line is newer than the sample's events, on which the model was trained."""
    user = next(unused_user_ids)

    def ask() -> requests.Response:
        return requests.get(f"{URL}/recommend/{user}", timeout=2)

    before = ask()
    assert before.headers["X-Recommendation-Source"] == "popular"
    movie = before.text.split(",")[0]
    send_lines(TOPIC, [f"{RECENT_DAY}T12:00:01,{user},GET /data/m/{movie}/60.mpg"])
    eventually(lambda: ask().headers["X-Recommendation-Source"] == "recent", 60, "a new answer")
    after = ask()
    assert movie not in after.text.split(",")
    assert len(after.text.split(",")) == 20
    wait_until_shipped()
    request_id = after.headers["X-Request-Id"]
    trace = demo.compose("exec", "-T", "shipper", "marquee", "trace", "--request", request_id)
    assert f"because of {movie}, watched at {RECENT_DAY}T12:00:01" in trace
    # The slots still answer, and from the file, while the follower is stopped and killed.
    demo.compose("kill", "--signal=SIGKILL", "recent")
    assert ask().headers["X-Recommendation-Source"] == "recent"
    demo.compose("up", "-d", "--wait", "recent")
    assert demo.query_value("sum(marquee_recent_unused_total{reason='damaged'})") == 0


def test_maildev_shows_a_mail_on_its_page(demo: Stack) -> None:
    with smtplib.SMTP("127.0.0.1", PORTS["MARQUEE_MAILDEV_SMTP_PORT"], timeout=5) as server:
        server.sendmail("a@localhost", ["b@localhost"], "Subject: hello\r\n\r\nmail")
    eventually(lambda: "hello" in received_mails(), 10, "the mail")
    page = requests.get(MAILDEV, headers={"Accept": "text/html"}, timeout=5)
    assert page.ok
    assert "<html" in page.text


def test_alertmanager_sends_every_alert_by_mail(demo: Stack) -> None:
    alerts: list[dict[str, object]] = [
        {
            # Each in a slot of its own: SlotDown suppresses others of the same slot.
            "labels": {**rule["labels"], "alertname": rule["alert"], "slot": f"slot-{number}"},
            "annotations": rule["annotations"],
            "startsAt": datetime.now(UTC).isoformat(),
        }
        for number, rule in enumerate(read_rules())
        if "alert" in rule
    ]
    names = {rule["alert"] for rule in read_rules() if "alert" in rule}
    eventually(lambda: post_alerts(alerts), 30, "Alertmanager accepting alerts")

    def find_missing() -> set[str]:
        mails = received_mails()
        return {name for name in names if name not in mails}

    eventually(lambda: not find_missing(), 120, lambda: f"no mail about {find_missing()}", 2)
    mail = next(mail for mail in json.loads(received_mails()) if "SlotDown" in json.dumps(mail))
    assert "team@localhost" in json.dumps(mail["to"])


def received_mails() -> str:
    return requests.get(f"{MAILDEV}/api/email", timeout=5).text


def post_alerts(alerts: list[dict[str, object]]) -> bool:
    try:
        return requests.post(f"{ALERTMANAGER}/api/v2/alerts", json=alerts, timeout=5).ok
    except requests.ConnectionError:
        return False


def test_containers_of_the_demo_are_confined(demo: Stack) -> None:
    for service in DEMO_SERVICES:
        container = json.loads(docker("inspect", demo.container(service)))[0]
        assert container["HostConfig"]["ReadonlyRootfs"]
        assert container["HostConfig"]["CapDrop"] == ["ALL"]
        is_marquee = service in ("simulator", "metadata-api")
        assert container["Config"]["User"] == ("10001:10001" if is_marquee else "1000:1000")
        for bindings in container["NetworkSettings"]["Ports"].values():
            assert all(binding["HostIp"] == "127.0.0.1" for binding in bindings or [])


@pytest.fixture(scope="module")
def failed_release(demo: Stack) -> Iterator[Stack]:
    """The stack with the profile `demo`, in which a release has failed; it was backed up."""
    demo.compose("start", "simulator")  # another test stops it
    directory = demo.clone / "data" / "release"
    directory.mkdir(parents=True, exist_ok=True)
    now = int(time.time())
    state = {
        "format": 1, "id": "1", "kind": "release", "version": 1, "phase": "completed",
        "outcome": "failed", "reason": "a test", "window_extended": False,
        "analysis_deadline": now, "completed_at": now, "outcome_counts": {"failed": 1},
    }  # fmt: skip
    file = directory / "state.json"
    before = file.read_text() if file.exists() else None
    file.write_text(json.dumps(state))
    try:
        subprocess.run(["bash", "-c", WRITE_METRICS], cwd=demo.clone, check=True)
        subprocess.run(
            ["scripts/backup.sh", "--plain"], cwd=demo.clone, env=demo.environment, check=True
        )
    finally:
        if before is None:
            file.unlink()
        else:
            file.write_text(before)
    yield demo
    for metrics in (demo.clone / "monitoring" / "release").glob("*.prom"):
        metrics.unlink()  # the next release writes its own
    shutil.rmtree(demo.clone / "data" / "backups")


def test_prometheus_has_every_series_that_a_rule_names(failed_release: Stack) -> None:
    """The simulator sends requests and lines; the broker is configured."""
    named = find_named_series()

    def find_missing() -> dict[str, list[str]]:
        return {name: rules for name, rules in named.items() if not failed_release.query(name)}

    eventually(lambda: not find_missing(), 180, lambda: f"missing: {find_missing()}", 5)


def run_promtool(stack: Stack, alert: str, course: Course) -> None:
    """Continue the series that Prometheus has for an alert, and check when it fires."""
    inputs = find_inputs(alert)
    samples: dict[str, list[Sample]] = {}

    def are_recorded() -> bool:
        samples.update({selector: stack.query(selector) for selector in inputs})
        return all(samples.values())

    eventually(are_recorded, 180, lambda: f"no series: {samples}", 5)
    test = create_test(alert, course, samples, time.time())
    promtool = ("exec", "-T", "-e", "TMPDIR=/dev/shm", "prometheus", "promtool", "test", "rules")
    stack.compose(*promtool, "/dev/stdin", stdin=test)


@pytest.mark.parametrize("alert", COURSES)
def test_an_alert_about_hours_or_days_fires_and_ends_for_the_series_of_this_stack(
    failed_release: Stack, alert: str
) -> None:
    run_promtool(failed_release, alert, COURSES[alert])


def test_an_alert_that_does_not_fire_for_the_series_of_this_stack_is_noticed(
    failed_release: Stack,
) -> None:
    course = replace(COURSES["ReleaseStuck"], fires_at=COURSES["ReleaseStuck"].quiet_at)
    with pytest.raises(AssertionError, match="FAILED"):
        run_promtool(failed_release, "ReleaseStuck", course)


def test_free_space_of_every_volume_with_data_is_known(failed_release: Stack) -> None:
    expected = {"spool", "store", "recent", "workspace", "database", "prometheus", "release"}

    def find_volumes() -> set[str]:
        samples = failed_release.query("marquee_volume_free_bytes")
        return {sample["metric"]["volume"] for sample in samples}

    eventually(lambda: find_volumes() == expected, 60, lambda: f"{find_volumes()}")


def test_every_panel_of_the_dashboards_has_data(failed_release: Stack) -> None:
    """The queries of monitoring/grafana; Grafana itself is not run."""
    queries = {q: panel.name for panel in read_panels() for q in panel.queries}

    def find_empty() -> dict[str, str]:
        return {q: name for q, name in queries.items() if not failed_release.query(q)}

    eventually(lambda: not find_empty(), 180, find_empty)
