"""A Kafka broker in a container on free loopback ports, configured like the demo's.

A second listener requires TLS with a client certificate, and SASL.
"""

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaProducer
from kafka.admin import (
    KafkaAdminClient,
    NewTopic,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.conftest import ROOT
from tests.support.certificates import CertificateAuthority
from tests.support.docker import docker, missing_image
from tests.support.service import free_port
from tests.support.waiting import eventually

IMAGE = "apache/kafka:4.1.0"
FILES = ROOT / "app" / "simulator" / "kafka"
#: User of the secure listener, for each of its mechanisms.
USER, PASSWORD = "reader", "pass-phrase"

_SECURE_LISTENER = """
listener.name.secure.ssl.client.auth=required
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location=/etc/marquee/broker.pem
listener.name.secure.ssl.truststore.type=PEM
listener.name.secure.ssl.truststore.location=/etc/marquee/authority.pem
listener.name.secure.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.secure.plain.sasl.jaas.config=\
    org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.secure.scram-sha-512.sasl.jaas.config=\
    org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


@dataclass
class Broker:
    """A broker that can be stopped and started; it keeps its messages.

    Attributes:
        secure_port: port of the secure listener.
        authority: certificate of the authority that signed the broker's and the client's.
        certificate: certificate and key of a client.
    """

    container: str
    port: int
    secure_port: int
    authority: str = ""
    certificate: tuple[str, str] = ("", "")

    @property
    def secure_servers(self) -> str:
        return f"127.0.0.1:{self.secure_port}"

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

    def add_scram_user(self) -> None:
        """Create `USER`, for SCRAM; the configuration has it for PLAIN."""
        credential = UserScramCredentialUpsertion(USER, ScramMechanism.SCRAM_SHA_512, PASSWORD)
        with self.admin() as admin:
            admin.alter_user_scram_credentials([credential])

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
    port, secure_port, authority = free_port(), free_port(), CertificateAuthority()
    directory.chmod(0o755)
    (directory / "server.properties").write_text(_configure(port, secure_port))
    (directory / "authority.pem").write_text(authority.pem)
    (directory / "broker.pem").write_text("".join(reversed(authority.issue("broker"))))
    container = docker(
        "run", "--detach", "--hostname=kafka", f"--publish=127.0.0.1:{port}:{port}",
        f"--publish=127.0.0.1:{secure_port}:{secure_port}", "--user=1000:1000", "--read-only",
        "--memory=1g", "--tmpfs=/tmp:size=64m,mode=1777", "--volume=/var/lib/kafka/data",
        "--env=LOG_DIR=/tmp/kafka-logs", "--env=KAFKA_HEAP_OPTS=-Xms256m -Xmx512m",
        f"--volume={directory}:/etc/marquee:ro",
        f"--volume={FILES}/start.sh:/opt/start.sh:ro", "--entrypoint=bash", IMAGE, "/opt/start.sh",
    ).strip()  # fmt: skip
    broker = Broker(container, port, secure_port, authority.pem, authority.issue("client"))
    try:
        broker.start()
        yield broker
    finally:
        docker("rm", "--force", "--volumes", container)


def _configure(port: int, secure_port: int) -> str:
    """Return the demo's configuration with these ports, and with the secure listener."""
    lines = (FILES / "server.properties").read_text().replace("9094", str(port)).splitlines()
    added = {
        "listeners": f",SECURE://:{secure_port}",
        "advertised.listeners": f",SECURE://127.0.0.1:{secure_port}",
        "listener.security.protocol.map": ",SECURE:SASL_SSL",
    }
    configured = [line + added.get(line.partition("=")[0], "") for line in lines]
    return "\n".join(configured) + _SECURE_LISTENER.format(user=USER, password=PASSWORD)
