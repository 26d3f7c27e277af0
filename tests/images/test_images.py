"""Each stand-in is where the original is: its user, paths, ports, version and way of starting."""

import http.server
import json
import re
import smtplib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.images.containers import CONFINED, docker, images, once, running, why_not

NAMES = list(images())
VERSIONS = {
    "debian": ("cat", "/etc/debian_version"),
    "python": ("python3", "--version"),
    "nginx": ("nginx", "-v"),
    "mariadb": ("mariadbd", "--version"),
    "prometheus": ("/bin/prometheus", "--version"),
    "alertmanager": ("/bin/alertmanager", "--version"),
    "nginx-exporter": ("/usr/bin/nginx-prometheus-exporter", "--version"),
    "cadvisor": ("/usr/bin/cadvisor", "--version"),
    "kafka": ("/opt/kafka/bin/kafka-topics.sh", "--version"),
    "maildev": ("node", "dist/bin/maildev.js", "--version"),
    "loadgen": ("/usr/local/bin/vegeta", "--version"),
}


@pytest.fixture(autouse=True)
def standin(request: pytest.FixtureRequest) -> str:
    """The stand-in that a test is about: its parameter, or the first word of the test's name."""
    parameters = getattr(request.node, "callspec", None)
    name = parameters.params["name"] if parameters else request.node.name.split("_")[1]
    name = {"exporter": "nginx-exporter", "proxy": "socket-proxy"}.get(name, name)
    if reason := why_not(name):
        pytest.skip(reason)
    return str(name)


def file(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    path.chmod(0o644)
    return str(path)


def numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


@pytest.mark.parametrize("name", VERSIONS)
def test_the_version_is_at_least_the_tags(name: str) -> None:
    program, *arguments = VERSIONS[name]
    said = once(name, *arguments, entrypoint=program)
    found = re.search(r"\d+\.\d+(\.\d+)?", said)
    wanted = numbers(images()[name].rpartition(":")[2]) or [13]
    assert found, said
    assert numbers(found[0])[: len(wanted)] >= wanted


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_the_machine_it_was_built_on_is_left(name: str) -> None:
    if label(name) != "true":
        pytest.skip(f"{images()[name]} is a real image")
    unwanted = own_certificates() | {b"Suites: unstable", b"/run/secrets/ca", b"<settings"}
    with subprocess.Popen(["docker", "save", images()[name]], stdout=subprocess.PIPE) as saving:
        assert saving.stdout
        before, debian = b"", False
        while block := saving.stdout.read(1 << 22):
            for words in unwanted:
                assert words not in before + block, words
            debian = debian or b"Suites: trixie-security" in before + block
            before = block[-200:]
    assert debian or name == "loadgen", "the layers could not be read"


def own_certificates() -> set[bytes]:
    """A line of each certificate that this machine trusts and Debian does not ship."""
    folder = Path("/usr/local/share/ca-certificates")
    return {path.read_bytes().splitlines()[5] for path in folder.rglob("*.crt")}


def label(name: str) -> str:
    wanted = '{{index .Config.Labels "org.marquee.standin"}}'
    return docker("image", "inspect", "--format", wanted, images()[name]).strip()


def test_debian_has_the_originals_package_sources() -> None:
    said = once("debian", "cat", "/etc/apt/sources.list.d/debian.sources")
    assert "Suites: trixie trixie-updates" in said
    assert "Suites: trixie-security" in said


def test_python_makes_environments_and_has_no_compiler() -> None:
    steps = "command -v python3; command -v pip; python3 -m venv /tmp/v; /tmp/v/bin/python -mpip -V"
    said = once("python", "sh", "-c", steps)
    assert "/usr/local/bin/python3\n/usr/local/bin/pip\n" in said
    assert "from /tmp/v/lib/python3.13/site-packages" in said
    assert once("python", "sh", "-c", "command -v cc || command -v gcc || echo none") == "none\n"


def test_nginx_serves_without_root_and_logs_to_the_container(tmp_path: Path) -> None:
    configuration = """
        pid /tmp/nginx.pid;
        events {}
        http {
            include /etc/nginx/mime.types;
            resolver 127.0.0.11 valid=1s;
            upstream slots { zone slots 64k; server nobody:80 resolve; }
            access_log /var/log/nginx/access.log;
            server {
                listen 8082;
                location /there { return 200 "hello"; }
                location /status { stub_status; }
                location / { proxy_pass http://slots; }
            }
        }"""
    mounted = file(tmp_path, "nginx.conf", configuration)
    with running(
        "nginx",
        "--user=101:101",
        "--tmpfs=/var/cache/nginx:uid=101,gid=101",
        f"--volume={mounted}:/etc/nginx/nginx.conf:ro",
        "--publish=127.0.0.1::8082",
    ) as nginx:
        assert nginx.get(8082, "/there") == "hello"
        assert "Active connections" in nginx.get(8082, "/status")
        assert '"GET /there HTTP/1.1" 200' in nginx.logs()
        assert "uid=101(nginx)" in nginx.execute("id")
        assert "syntax is ok" in nginx.execute("nginx", "-t")
        assert nginx.execute("curl", "--fail", "--silent", "http://127.0.0.1:8082/there") == "hello"


def test_mariadb_fills_an_empty_data_directory_once(tmp_path: Path) -> None:
    root = file(tmp_path, "root", "it's \\ root")
    user = file(tmp_path, "user", "it's \\ me")
    script = file(tmp_path, "10.sql", "CREATE TABLE made (it INT); GRANT FILE ON *.* TO 'app'@'%';")
    options = (
        "--user=999:999",
        "--tmpfs=/run/mysqld:uid=999,gid=999",
        "--tmpfs=/var/lib/mysql:uid=999,gid=999",
        f"--volume={root}:/run/secrets/root:ro",
        f"--volume={user}:/run/secrets/user:ro",
        f"--volume={script}:/docker-entrypoint-initdb.d/10.sql:ro",
        "--env=MARIADB_ROOT_PASSWORD_FILE=/run/secrets/root",
        "--env=MARIADB_PASSWORD_FILE=/run/secrets/user",
        "--env=MARIADB_DATABASE=mar_quee",
        "--env=MARIADB_USER=app",
    )
    with running("mariadb", *options, command=("mariadbd", "--max-connections=20")) as mariadb:
        client = ("mariadb", "--host=127.0.0.1", "--user=app", "--password=it's \\ me", "--batch")
        mariadb.wait_for(*client, "--execute=SELECT 1")
        assert "made" in mariadb.execute(*client, "mar_quee", "--execute=SHOW TABLES")
        assert "20" in mariadb.execute(*client, "--execute=SELECT @@max_connections")
        assert "Uptime" in mariadb.execute("mariadb-admin", "-uroot", "-pit's \\ root", "status")
        with pytest.raises(AssertionError, match="Access denied"):
            mariadb.execute("mariadb", "--user=root", "--execute=SELECT 1")


def test_mariadb_does_not_start_without_a_password_for_root() -> None:
    options = ("--user=999:999", "--tmpfs=/var/lib/mysql:uid=999,gid=999", "--tmpfs=/run/mysqld")
    with running("mariadb", *options) as mariadb:
        docker("wait", mariadb.name)
        assert "MARIADB_ROOT_PASSWORD" in mariadb.logs()


def test_prometheus_is_ready_and_checks_rules(tmp_path: Path) -> None:
    configuration = (
        "scrape_configs: [{job_name: self, static_configs: [{targets: [localhost:9090]}]}]"
    )
    mounted = file(tmp_path, "prometheus.yml", configuration)
    with running(
        "prometheus",
        "--tmpfs=/prometheus:uid=65534,gid=65534",
        f"--volume={mounted}:/etc/prometheus/prometheus.yml:ro",
        "--publish=127.0.0.1::9090",
    ) as prometheus:
        assert "Ready" in prometheus.get(9090, "/-/ready")
        said = prometheus.execute(
            "/bin/promtool", "check", "config", "/etc/prometheus/prometheus.yml"
        )
        assert "SUCCESS" in said
        assert "uid=65534" in prometheus.execute("id")
        prometheus.execute("wget", "-q", "-O", "-", "http://127.0.0.1:9090/-/healthy")


def test_alertmanager_is_ready_and_checks_its_configuration() -> None:
    with running(
        "alertmanager",
        "--tmpfs=/alertmanager:uid=65534,gid=65534",
        "--publish=127.0.0.1::9093",
    ) as alertmanager:
        assert "OK" in alertmanager.get(9093, "/-/ready")
        path = "/etc/alertmanager/alertmanager.yml"
        assert "SUCCESS" in alertmanager.execute("/bin/amtool", "check-config", path)
        assert "uid=65534" in alertmanager.execute("id")
        alertmanager.execute("wget", "-q", "-O", "-", "http://127.0.0.1:9093/-/healthy")


def test_exporter_answers_while_nginx_is_away() -> None:
    flag = "--nginx.scrape-uri=http://127.0.0.1:1/status"
    options = ("--user=65534:65534", "--publish=127.0.0.1::9113")
    with running("nginx-exporter", *options, command=(flag,)) as exporter:
        assert "nginx_up 0" in exporter.get(9113, "/metrics")


@pytest.fixture
def network() -> Iterator[str]:
    name = f"standin-test-{uuid4().hex[:8]}"
    docker("network", "create", name)
    yield name
    docker("network", "rm", name)


def test_cadvisor_sees_containers_by_name_through_the_proxy(network: str) -> None:
    place = docker("info", "--format", "{{.DockerRootDir}}").strip()
    proxy = (
        f"--network={network}",
        "--network-alias=docker-proxy",
        "--volume=/var/run/docker.sock:/var/run/docker.sock:ro",
        "--env=CONTAINERS=1",
        "--env=INFO=1",
    )
    watching = (
        f"--network={network}",
        "--publish=127.0.0.1::8080",
        "--user=0:0",
        "--volume=/sys:/sys:ro",
        "--volume=/proc:/rootfs/proc:ro",
        f"--volume={place}/image:/rootfs{place}/image:ro",
    )
    flags = (
        "--docker=tcp://docker-proxy:2375",
        "--docker_only",
        "--housekeeping_interval=1s",
        "--store_container_labels=false",
        "--disable_metrics=disk,diskIO,advtcp,cpu_topology,cpuset,hugetlb,memory_numa,process,"
        "referenced_memory,resctrl,sched,tcp,udp",
    )
    with (
        running("socket-proxy", *proxy) as seen,
        running("cadvisor", *watching, command=flags) as it,
    ):
        it.wait_for("sh", "-c", f"wget -q -O - http://127.0.0.1:8080/metrics | grep {seen.name}")
        assert it.get(8080, "/healthz") == "ok"
        page = it.get(8080, "/metrics")
        for metric in (
            "cpu_usage_seconds_total",
            "memory_working_set_bytes",
            "network_receive_bytes_total",
        ):
            assert re.search(rf'container_{metric}{{[^}}]*name="{seen.name}"', page), metric


def test_proxy_lets_through_what_is_allowed_and_only_reading() -> None:
    options = (
        "--volume=/var/run/docker.sock:/var/run/docker.sock:ro",
        "--env=CONTAINERS=1",
    )

    def answer(path: str, method: str = "GET") -> str:
        asked = (
            f"printf '{method} {path} HTTP/1.0\\r\\n\\r\\n' | busybox nc 127.0.0.1 2375 | head -1"
        )
        return proxy.execute("sh", "-c", asked).split()[1]

    with running("socket-proxy", *options) as proxy:
        proxy.wait_for("wget", "-q", "-O", "-", "http://127.0.0.1:2375/_ping")
        assert answer("/containers/json") == "200"
        assert answer("/v1.41/containers/json") == "200"
        assert answer("/version") == "200"
        assert answer("/images/json") == "403"
        assert answer("/info") == "403"
        assert answer("/containersx/json") == "403"
        assert answer(f"/containers/{proxy.name}/stop", "POST") == "403"
        assert answer(f"/containers/{proxy.name}", "DELETE") == "403"


def test_kafka_formats_starts_and_passes_messages() -> None:
    scripts, configuration = "/opt/kafka/bin", "/opt/kafka/config/server.properties"
    start = (
        f"{scripts}/kafka-storage.sh format --standalone --ignore-formatted "
        f"--cluster-id 4L6g3nShT-eMCtK--X86sw --config {configuration} && "
        f"exec {scripts}/kafka-server-start.sh {configuration}"
    )
    options = (
        "--tmpfs=/var/lib/kafka/data:uid=1000,gid=1000",
        "--env=LOG_DIR=/tmp/logs",
        "--env=KAFKA_HEAP_OPTS=-Xms128M -Xmx256M",
    )
    server = ("--bootstrap-server", "localhost:9092")
    topic = ("--topic", "movies")
    with running("kafka", *options, command=("bash", "-c", start)) as kafka:
        kafka.wait_for(
            f"{scripts}/kafka-topics.sh", *server, "--create", *topic, "--partitions", "2"
        )
        kafka.execute(f"{scripts}/kafka-console-producer.sh", *server, *topic, given=b"a movie\n")
        reading = ("--from-beginning", "--max-messages", "1", "--timeout-ms", "20000")
        assert "a movie" in kafka.execute(
            f"{scripts}/kafka-console-consumer.sh", *server, *topic, *reading
        )
        assert "movies:" in kafka.execute(f"{scripts}/kafka-get-offsets.sh", *server, *topic)
        assert "uid=1000(appuser)" in kafka.execute("id")
        assert "Kafka Server started" in kafka.logs()


def test_maildev_shows_what_was_sent() -> None:
    ports = ("--publish=127.0.0.1::1025", "--publish=127.0.0.1::1080")
    with running("maildev", "--user=1000:1000", *ports) as maildev:
        maildev.get(1080, "/api/healthz")
        with smtplib.SMTP(*maildev.address(1025), timeout=10) as server:
            server.sendmail(
                "a@marquee.test", ["b@marquee.test"], "Subject: version 7\n\nIt is out."
            )
        assert [mail["subject"] for mail in json.loads(maildev.get(1080, "/api/email"))] == [
            "version 7"
        ]
        assert "<html" in maildev.get(1080, "/").lower()
        maildev.execute("wget", "-q", "-O", "-", "http://127.0.0.1:1080/api/healthz")


def test_loadgen_sends_at_a_constant_rate_and_reports_as_json() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    run = ("run", "--rm", "--interactive", "--network=host", *CONFINED, images()["loadgen"])
    attack = ("attack", "-rate=200", "-duration=1s", "-timeout=600ms", "-targets=/dev/stdin")
    target = f"GET http://127.0.0.1:{server.server_port}/".encode()
    hits = subprocess.run(["docker", *run, *attack], input=target, capture_output=True, check=True)
    server.shutdown()
    server.server_close()
    report = json.loads(docker(*run, "report", "-type=json", given=hits.stdout))
    assert report["requests"] == 200
    assert report["status_codes"] == {"200": 200}
    assert report["latencies"]["99th"] > 0


class Quiet(http.server.BaseHTTPRequestHandler):
    """Answers everything with 200 and logs nothing."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass
