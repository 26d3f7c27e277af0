"""A Kafka broker in a container on a free loopback port, configured like the demo's."""

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from tests.conftest import ROOT
from tests.support.docker import docker, missing_image
from tests.support.service import free_port
from tests.support.waiting import eventually

IMAGE = "apache/kafka:4.1.0"
FILES = ROOT / "app" / "simulator" / "kafka"


@dataclass
class Broker:
    """A broker that can be stopped and started; it keeps its messages."""

    container: str
    port: int

    @property
    def servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        docker("stop", "--time", "30", self.container)

    def start(self) -> None:
        docker("start", self.container)
        probe = ["docker", "exec", self.container, "bash", "-c"]
        probe.append(f"exec 3<>/dev/tcp/127.0.0.1/{self.port}")

        def accepts_connections() -> bool:
            return not subprocess.run(probe, capture_output=True, check=False).returncode

        eventually(accepts_connections, 120, lambda: docker("logs", self.container))
        with self.admin() as admin:
            admin.list_topics()

    def admin(self) -> KafkaAdminClient:
        return KafkaAdminClient(bootstrap_servers=self.servers)

    def create_topic(self, name: str, partitions: int = 1) -> None:
        with self.admin() as admin:
            admin.create_topics([NewTopic(name, partitions, 1)])

    def produce(self, topic: str, lines: Iterable[bytes]) -> int:
        """Send lines and wait until the broker has all of them; return their number."""
        sent = 0
        with KafkaProducer(
            bootstrap_servers=self.servers, linger_ms=50, batch_size=1 << 18
        ) as producer:
            for line in lines:
                producer.send(topic, line)
                sent += 1
            producer.flush()
        return sent


def skip_reason() -> str | None:
    """Return why no broker can run here; None where one can."""
    return missing_image(IMAGE)


@contextmanager
def run_broker(directory: Path) -> Iterator[Broker]:
    """Run a broker with its configuration in `directory` until the block ends."""
    port = free_port()
    directory.chmod(0o755)
    configuration = (FILES / "server.properties").read_text().replace("9094", str(port))
    (directory / "server.properties").write_text(configuration)
    container = docker(
        "run", "--detach", f"--publish=127.0.0.1:{port}:{port}", "--user=1000:1000", "--read-only",
        "--memory=1g", "--tmpfs=/tmp:size=64m,mode=1777", "--volume=/var/lib/kafka/data",
        "--env=LOG_DIR=/tmp/kafka-logs", "--env=KAFKA_HEAP_OPTS=-Xms256m -Xmx512m",
        f"--volume={directory}/server.properties:/etc/marquee/server.properties:ro",
        f"--volume={FILES}/start.sh:/etc/marquee/start.sh:ro", "--entrypoint=bash", IMAGE,
        "/etc/marquee/start.sh",
    ).strip()  # fmt: skip
    broker = Broker(container, port)
    try:
        broker.start()
        yield broker
    finally:
        docker("rm", "--force", "--volumes", container)
