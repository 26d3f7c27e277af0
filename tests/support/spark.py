"""A Spark cluster of processes on this machine, and one that runs tasks in the test's process."""

import importlib.util
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from app.spark.cluster import (
    Array,
    Cluster,
    Report,
    ignore_report,
    join_sums,
    sum_group,
    sum_in_order,
)
from tests.conftest import ROOT
from tests.support.service import free_port
from tests.support.waiting import eventually

WORKERS = 2


def find_missing() -> str:
    """Return why no cluster can be started; empty if one can."""
    if importlib.util.find_spec("pyspark") is None:
        return "pyspark is not installed: make spark"
    if shutil.which("java") is None:
        return "there is no Java: scripts/install_system.sh spark"
    return ""


class StandaloneCluster:
    """Spark's own cluster manager with two workers of one core each.

    Attributes:
        url: of the master.
        environment: variables of the processes, and of `marquee` that uses the cluster.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self._workers: list[subprocess.Popen[bytes]] = []
        self._port = free_port()
        self.url = f"spark://127.0.0.1:{self._port}"
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_WORKER_DIR": str(directory / "work"),
            "SPARK_LOCAL_DIRS": str(directory / "local"),
        }

    def start(self) -> None:
        """Start the master and the workers."""
        arguments = ("--host", "127.0.0.1", "--port", str(self._port), "--webui-port", "0")
        self._start("master", "org.apache.spark.deploy.master.Master", *arguments)
        eventually(
            lambda: "I have been elected leader" in self._read("master"), 240, self.read_logs
        )
        for _ in range(WORKERS):
            self.start_worker()

    def start_worker(self) -> None:
        """Start a worker, and wait until the master knows it."""
        name = f"worker-{len(self._processes)}"
        arguments = ("--host", "127.0.0.1", "--cores", "1", "--memory", "1g", "--webui-port", "0")
        main = "org.apache.spark.deploy.worker.Worker"
        self._workers.append(self._start(name, main, *arguments, self.url))
        registered = "Successfully registered with master"
        eventually(lambda: registered in self._read(name), 240, self.read_logs)

    def kill_worker(self) -> None:
        """Kill the first worker with its executors, as a machine that loses its power."""
        os.killpg(self._workers[0].pid, signal.SIGKILL)
        self._workers.pop(0).wait()

    def stop(self) -> None:
        """Stop all processes."""
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def run_marquee(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a command with the engine Spark on this cluster."""
        return subprocess.run(
            self.command(*arguments),
            cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def command(self, *arguments: object) -> list[str]:
        """Return the command line of such a command."""
        options = ("--engine", "spark", "--master", self.url, "--json")
        return [sys.executable, "-m", "app", *map(str, arguments), *options]

    def read_logs(self) -> str:
        """Return what the processes have logged."""
        return "\n".join(path.read_text() for path in sorted(self._directory.glob("*.log")))

    def _start(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        import pyspark  # noqa: PLC0415 - an optional requirement

        program = Path(pyspark.__file__).parent / "bin" / "spark-class"
        with (self._directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(program), *arguments],
                env=self.environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def _read(self, name: str) -> str:
        return (self._directory / f"{name}.log").read_text()


class SequentialCluster(Cluster):
    """Runs tasks as its base class does, in this process, each of them twice.

    What is sent to a task, and what it returns, is pickled.
    """

    def __init__(self) -> None:
        pass

    def run(
        self,
        name: str,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        report: Report = ignore_report,
    ) -> list[Any]:
        sent = [pickle.dumps((function, item)) for item in items]
        for content in sent:
            _call(content)
        report(len(sent), len(sent))
        return [pickle.loads(pickle.dumps(_call(content))) for content in sent]

    def sum(
        self,
        name: str,
        function: Callable[[Any], Sequence[Array]],
        groups: Sequence[Sequence[Any]],
        report: Report = ignore_report,
    ) -> list[Array]:
        parts: dict[tuple[int, int], list[tuple[int, Any]]] = defaultdict(list)
        for number, items in reversed(list(enumerate(groups))):
            for key, part in sum_group(function, (number, items)):
                parts[key].append(part)
        return join_sums({key: sum_in_order(values) for key, values in parts.items()})


def _call(content: bytes) -> Any:
    function, item = pickle.loads(content)
    return function(item)
