"""A real MariaDB in a container on a free loopback port, configured as in the stack."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from app.provenance.database import connect
from app.provisioning.database import provision_database
from app.settings import Settings
from tests.conftest import ROOT
from tests.support.docker import docker, missing_image
from tests.support.images import TAGS
from tests.support.service import free_port
from tests.support.waiting import eventually

IMAGE = TAGS["mariadb"]


@dataclass
class Database:
    """A database server that can be stopped and started."""

    container: str
    port: int
    passwords: Path

    def settings(self, user: str = "marquee") -> dict[str, str]:
        """The settings of a process that connects as this user."""
        secret = {"marquee": "database_password", "marquee_owner": "database_owner_password"}
        return {
            "MARQUEE_DATABASE": f"mysql+mysqlconnector://{user}@127.0.0.1:{self.port}/marquee",
            "MARQUEE_DATABASE_PASSWORD_FILE": str(self.passwords / secret[user]),
        }

    def engine(self, user: str = "marquee") -> sa.Engine:
        settings = self.settings(user)
        password = Path(settings["MARQUEE_DATABASE_PASSWORD_FILE"]).read_text()
        return connect(Settings(database=settings["MARQUEE_DATABASE"], database_password=password))

    def query(self, statement: str, timeout_seconds: float = 120) -> str:
        """Run a statement in MariaDB's own client; return what it prints."""
        return docker(
            "exec", self.container, "mariadb", "--user=mysql", "--skip-column-names",
            "--socket=/run/mysqld/mysqld.sock", "--database=marquee", f"--execute={statement}",
            timeout_seconds=timeout_seconds,
        )  # fmt: skip

    def stop(self) -> None:
        docker("stop", "--time", "20", self.container)

    def start(self) -> None:
        docker("start", self.container)
        eventually(self.accepts_connections, 120, lambda: docker("logs", self.container))

    def accepts_connections(self) -> bool:
        try:
            with self.engine("marquee_owner").connect():
                return True
        except sa.exc.SQLAlchemyError:
            return False

    def clear(self) -> None:
        """Delete all rows, partitions and the state of the upkeep."""
        tables = ("reccom", "tracking", "build", "configuration", "catalogue")
        self.query("; ".join(f"truncate {table}" for table in tables))
        self.query(
            "alter table reccom partition by range (day) "
            "(partition later values less than maxvalue); "
            "update upkeep set retention_days = 90, checked_day = null, resume_day = 0"
        )


def skip_reason() -> str | None:
    """Why no database can be started here; None where one can."""
    if os.geteuid() != 0:
        return "changing the owner of the database's files needs root"
    return missing_image(IMAGE)


def marquee(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command and wait for its end."""
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, timeout=200,
        check=False,
    )  # fmt: skip


@contextmanager
def running_database(
    config: Path, *options: str, data: Path | None = None, temporary: Path | None = None
) -> Iterator[Database]:
    """Run a database with our tables until the block ends.

    Args:
        config: an empty directory for its passwords and its start file.
        options: options of the server.
        data: directory of the database's files; a volume without one.
        temporary: directory where it sorts while it creates an index; its small `/tmp` without one.
    """
    config.chmod(0o755)
    secrets = [config / name for name in ("shipper", "owner", "reader")]
    for directory in (config / "kept", *secrets):
        directory.mkdir()
    provision_database(config / "kept", config / "none", config, *secrets)
    volumes = [f"--volume={data}:/var/lib/mysql" if data else "--volume=/var/lib/mysql"]
    if temporary:
        temporary.chmod(0o777)
        volumes.append(f"--volume={temporary}:/temporary")
        options = ("--innodb-tmpdir=/temporary", *options)
    port = free_port()
    container = docker(
        "run", "--detach", f"--publish=127.0.0.1:{port}:3306", "--user=999:999", "--read-only",
        "--memory=1g", "--tmpfs=/tmp", "--tmpfs=/run/mysqld:uid=999,gid=999", "--entrypoint=bash",
        f"--volume={ROOT}/scripts/database:/etc/marquee:ro",
        f"--volume={ROOT}/scripts/containers:/opt/marquee:ro",
        f"--volume={config}:/run/marquee:ro", *volumes, IMAGE,
        "/etc/marquee/start.sh", "--bind-address=0.0.0.0", "--skip-name-resolve",
        "--character-set-server=utf8mb4", "--collation-server=utf8mb4_bin", *options,
    ).strip()  # fmt: skip
    database = Database(container, port, config / "kept")
    try:
        database.start()
        done = marquee("migrate", **database.settings("marquee_owner"))
        assert done.returncode == 0, done.stderr
        yield database
    finally:
        docker("rm", "--force", "--volumes", container)
