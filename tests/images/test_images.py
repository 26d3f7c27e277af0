"""Each stand-in has the user, paths, ports, version and entry point of the original image."""

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

from tests.support.docker import docker
from tests.support.images import CONFINED, LABEL, TAGS, missing_requirement, run_once, running

DEBIAN_VERSION = 13
#: Command that prints the version.
VERSION_COMMANDS = {
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
def skip_without_image(request: pytest.FixtureRequest) -> None:
    """Skip a test whose stand-in is missing: its parameter, or the first word of its name."""
    parameters = getattr(request.node, "callspec", None)
    name = parameters.params["name"] if parameters else request.node.name.split("_")[1]
    name = {"exporter": "nginx-exporter", "proxy": "socket-proxy"}.get(name, name)
    if reason := missing_requirement(name):
        pytest.skip(reason)


def write_file(directory: Path, name: str, text: str) -> str:
    """Write a file that every user can read; return its path."""
    path = directory / name
    path.write_text(text)
    path.chmod(0o644)
    return str(path)


def version_numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


@pytest.mark.parametrize("name", VERSION_COMMANDS)
def test_the_version_is_at_least_that_of_the_tag(name: str) -> None:
    program, *arguments = VERSION_COMMANDS[name]
    output = run_once(name, *arguments, entrypoint=program)
    version = re.search(r"\d+\.\d+(\.\d+)?", output)
    minimum = version_numbers(TAGS[name].rpartition(":")[2]) or [DEBIAN_VERSION]
    assert version, output
    assert version_numbers(version[0])[: len(minimum)] >= minimum


@pytest.mark.parametrize("name", TAGS)
def test_an_image_contains_no_settings_of_the_machine_it_was_built_on(name: str) -> None:
    if read_label(name) != "true":
        pytest.skip(f"{TAGS[name]} is the original image")
    unwanted = machine_certificates() | {b"Suites: unstable", b"/run/secrets/ca", b"<settings"}
    with subprocess.Popen(["docker", "save", TAGS[name]], stdout=subprocess.PIPE) as saving:
        assert saving.stdout
        overlap, has_debian = b"", False
        while block := saving.stdout.read(1 << 22):
            for text in unwanted:
                assert text not in overlap + block, text
            has_debian = has_debian or b"Suites: trixie-security" in overlap + block
            overlap = block[-200:]
    # Otherwise the layers are compressed and the search above finds nothing.
    assert has_debian or name == "loadgen"


def machine_certificates() -> set[bytes]:
    """Return a line of each certificate that this machine trusts and Debian does not include."""
    directory = Path("/usr/local/share/ca-certificates")
    return {path.read_bytes().splitlines()[5] for path in directory.rglob("*.crt")}


def read_label(name: str) -> str:
    template = f'{{{{index .Config.Labels "{LABEL}"}}}}'
    return docker("image", "inspect", "--format", template, TAGS[name]).strip()


def test_debian_has_the_package_sources_of_the_original() -> None:
    sources = run_once("debian", "cat", "/etc/apt/sources.list.d/debian.sources")
    assert "Suites: trixie trixie-updates" in sources
    assert "Suites: trixie-security" in sources


def test_python_creates_virtual_environments_and_has_no_compiler() -> None:
    steps = "command -v python3; command -v pip; python3 -m venv /tmp/v; /tmp/v/bin/python -mpip -V"
    output = run_once("python", "sh", "-c", steps)
    assert "/usr/local/bin/python3\n/usr/local/bin/pip\n" in output
    assert "from /tmp/v/lib/python3.13/site-packages" in output
    compiler = run_once("python", "sh", "-c", "command -v cc || command -v gcc || echo none")
    assert compiler == "none\n"


def test_nginx_serves_without_root_and_logs_to_the_container(tmp_path: Path) -> None:
    configuration = """
        pid /tmp/nginx.pid;
        events {}
        http {
            include /etc/nginx/mime.types;
            resolver 127.0.0.11 valid=1s;
            upstream slots { zone slots 64k; server missing:80 resolve; }
            access_log /var/log/nginx/access.log;
            server {
                listen 8082;
                location /hello { return 200 "hello"; }
                location /status { stub_status; }
                location / { proxy_pass http://slots; }
            }
        }"""
    mounted = write_file(tmp_path, "nginx.conf", configuration)
    with running(
        "nginx",
        "--user=101:101",
        "--tmpfs=/var/cache/nginx:uid=101,gid=101",
        f"--volume={mounted}:/etc/nginx/nginx.conf:ro",
        "--publish=127.0.0.1::8082",
    ) as nginx:
        assert nginx.get(8082, "/hello") == "hello"
        assert "Active connections" in nginx.get(8082, "/status")
        assert '"GET /hello HTTP/1.1" 200' in nginx.logs()
        assert "uid=101(nginx)" in nginx.execute("id")
        assert "syntax is ok" in nginx.execute("nginx", "-t")
        assert nginx.execute("curl", "--fail", "--silent", "http://127.0.0.1:8082/hello") == "hello"


def test_mariadb_initializes_an_empty_data_directory(tmp_path: Path) -> None:
    root = write_file(tmp_path, "root", "it's \\ root")
    user = write_file(tmp_path, "user", "it's \\ me")
    script = write_file(
        tmp_path, "10.sql", "CREATE TABLE example (id INT); GRANT FILE ON *.* TO 'app'@'%';"
    )
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
        mariadb.execute_until_success(*client, "--execute=SELECT 1")
        assert "example" in mariadb.execute(*client, "mar_quee", "--execute=SHOW TABLES")
        assert "20" in mariadb.execute(*client, "--execute=SELECT @@max_connections")
        assert "Uptime" in mariadb.execute("mariadb-admin", "-uroot", "-pit's \\ root", "status")
        with pytest.raises(AssertionError, match="Access denied"):
            mariadb.execute("mariadb", "--user=root", "--execute=SELECT 1")


def test_mariadb_does_not_start_without_a_root_password() -> None:
    options = ("--user=999:999", "--tmpfs=/var/lib/mysql:uid=999,gid=999", "--tmpfs=/run/mysqld")
    with running("mariadb", *options) as mariadb:
        docker("wait", mariadb.name)
        assert "MARIADB_ROOT_PASSWORD" in mariadb.logs()


def test_prometheus_is_ready_and_checks_rules(tmp_path: Path) -> None:
    configuration = (
        "scrape_configs: [{job_name: self, static_configs: [{targets: [localhost:9090]}]}]"
    )
    mounted = write_file(tmp_path, "prometheus.yml", configuration)
    with running(
        "prometheus",
        "--tmpfs=/prometheus:uid=65534,gid=65534",
        f"--volume={mounted}:/etc/prometheus/prometheus.yml:ro",
        "--publish=127.0.0.1::9090",
    ) as prometheus:
        assert "Ready" in prometheus.get(9090, "/-/ready")
        output = prometheus.execute(
            "/bin/promtool", "check", "config", "/etc/prometheus/prometheus.yml"
        )
        assert "SUCCESS" in output
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


def test_exporter_reports_nginx_down() -> None:
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


def test_cadvisor_reports_containers_by_name_through_the_proxy(network: str) -> None:
    root_directory = docker("info", "--format", "{{.DockerRootDir}}").strip()
    proxy_options = (
        f"--network={network}",
        "--network-alias=docker-proxy",
        "--volume=/var/run/docker.sock:/var/run/docker.sock:ro",
        "--env=CONTAINERS=1",
        "--env=INFO=1",
    )
    cadvisor_options = (
        f"--network={network}",
        "--publish=127.0.0.1::8080",
        "--user=0:0",
        "--volume=/sys:/sys:ro",
        "--volume=/proc:/rootfs/proc:ro",
        f"--volume={root_directory}/image:/rootfs{root_directory}/image:ro",
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
        running("socket-proxy", *proxy_options) as proxy,
        running("cadvisor", *cadvisor_options, command=flags) as cadvisor,
    ):
        fetch = "wget -q -O - http://127.0.0.1:8080/metrics"
        cadvisor.execute_until_success("sh", "-c", f"{fetch} | grep {proxy.name}")
        assert cadvisor.get(8080, "/healthz") == "ok"
        page = cadvisor.get(8080, "/metrics")
        for metric in (
            "cpu_usage_seconds_total",
            "memory_working_set_bytes",
            "network_receive_bytes_total",
        ):
            assert re.search(rf'container_{metric}{{[^}}]*name="{proxy.name}"', page), metric


def test_proxy_forwards_only_get_requests_to_enabled_sections() -> None:
    options = (
        "--volume=/var/run/docker.sock:/var/run/docker.sock:ro",
        "--env=CONTAINERS=1",
    )

    def status_of(path: str, method: str = "GET") -> str:
        command = (
            f"printf '{method} {path} HTTP/1.0\\r\\n\\r\\n' | busybox nc 127.0.0.1 2375 | head -1"
        )
        return proxy.execute("sh", "-c", command).split()[1]

    with running("socket-proxy", *options) as proxy:
        proxy.execute_until_success("wget", "-q", "-O", "-", "http://127.0.0.1:2375/_ping")
        assert status_of("/containers/json") == "200"
        assert status_of("/v1.41/containers/json") == "200"
        assert status_of("/version") == "200"
        assert status_of("/images/json") == "403"
        assert status_of("/info") == "403"
        assert status_of("/containersx/json") == "403"
        assert status_of(f"/containers/{proxy.name}/stop", "POST") == "403"
        assert status_of(f"/containers/{proxy.name}", "DELETE") == "403"


def test_kafka_formats_its_storage_and_delivers_messages() -> None:
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
        kafka.execute_until_success(
            f"{scripts}/kafka-topics.sh", *server, "--create", *topic, "--partitions", "2"
        )
        kafka.execute(f"{scripts}/kafka-console-producer.sh", *server, *topic, stdin=b"a movie\n")
        reading = ("--from-beginning", "--max-messages", "1", "--timeout-ms", "20000")
        assert "a movie" in kafka.execute(
            f"{scripts}/kafka-console-consumer.sh", *server, *topic, *reading
        )
        assert "movies:" in kafka.execute(f"{scripts}/kafka-get-offsets.sh", *server, *topic)
        assert "uid=1000(appuser)" in kafka.execute("id")
        assert "Kafka Server started" in kafka.logs()


def test_maildev_shows_received_mails() -> None:
    ports = ("--publish=127.0.0.1::1025", "--publish=127.0.0.1::1080")
    with running("maildev", "--user=1000:1000", *ports) as maildev:
        maildev.get(1080, "/api/healthz")
        with smtplib.SMTP(*maildev.published_address(1025), timeout=10) as server:
            server.sendmail(
                "a@marquee.test", ["b@marquee.test"], "Subject: version 7\n\nIt is out."
            )
        assert [mail["subject"] for mail in json.loads(maildev.get(1080, "/api/email"))] == [
            "version 7"
        ]
        assert "<html" in maildev.get(1080, "/").lower()
        maildev.execute("wget", "-q", "-O", "-", "http://127.0.0.1:1080/api/healthz")


def test_loadgen_sends_at_a_constant_rate_and_reports_json() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ConstantHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    run = ("run", "--rm", "--interactive", "--network=host", *CONFINED, TAGS["loadgen"])
    attack = ("attack", "-rate=100", "-duration=2s", "-timeout=30s", "-targets=/dev/stdin")
    target = f"GET http://127.0.0.1:{server.server_port}/".encode()
    hits = subprocess.run(["docker", *run, *attack], input=target, capture_output=True, check=True)
    server.shutdown()
    server.server_close()
    report = json.loads(docker(*run, "report", "-type=json", stdin=hits.stdout))
    assert report["requests"] == 200
    assert report["status_codes"] == {"200": 200}
    assert report["latencies"]["99th"] > 0


class ConstantHandler(http.server.BaseHTTPRequestHandler):
    """Responds to everything with status 200 and logs nothing."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - name of the base class
        pass
