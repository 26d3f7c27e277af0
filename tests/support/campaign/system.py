"""The stack in a campaign: what faults are done to, and what runs in the background meanwhile."""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.campaign.docker_engine import ContainerState, list_containers
from tests.support.campaign.schedule import SLOTS
from tests.support.deployment import ORIGIN, Deployment
from tests.support.docker import docker
from tests.support.faulty import FAULTY
from tests.support.releases import FAULTY_BUILD, SLOT_BUILD, Releases
from tests.support.stack import PROJECT, Stack, repeat_during_replacement

#: Of a command in the background, with an image build on a busy machine.
_JOB_TIMEOUT_SECONDS = 1200
#: Exit status of a command in a container that was killed.
_KILLED = 137
_SLOT_MEMORY = re.compile(
    r"(?<=  mem_limit: )5\d\dm(?=\n  cpus: 1.0\n  cpu_shares: 4096 # requests)"
)


@dataclass
class Job:
    """A command that ran beside the load.

    Attributes:
        kind: retrain, deploy, start or rollback.
        started_at: Unix time, and
        ended_at: 0 while it runs.
        status: exit status.
        result: what it printed as JSON.
        errors: end of its standard error.
    """

    kind: str
    started_at: float
    ended_at: float = 0.0
    status: int = 0
    result: dict[str, Any] = field(default_factory=dict)
    errors: str = ""


class System:
    """The stack, its volumes that can be filled, its remotes, and its background jobs.

    Attributes:
        stack: the stack.
        deployment: its origin and DVC remote; None: without releases.
        disks: directory of the host of each volume that is a small file system.
        clocks: directory of `clocks.prepare`; None: without a C compiler.
        save_mails: reads the mails in the container of the mail server before they are lost.
        jobs: the jobs so far.
    """

    def __init__(
        self,
        stack: Stack,
        deployment: Deployment | None = None,
        disks: dict[str, Path] | None = None,
        clocks: Path | None = None,
    ) -> None:
        self.stack = stack
        self.deployment = deployment
        self.disks = disks or {}
        self.clocks = clocks
        self.save_mails: Callable[[str], None] = lambda _container: None
        self.jobs: list[Job] = []
        self._threads: list[threading.Thread] = []
        self._push_lock = threading.Lock()

    # -- containers ------------------------------------------------------------------------------

    def containers(self) -> dict[str, ContainerState]:
        """Return the containers by service; the newer one while a container is replaced."""
        return {container.service: container for container in list_containers(PROJECT)}

    def container(self, service: str) -> str:
        """Return the id of a service's container.

        Raises:
            LookupError: there is none.
        """
        if service not in (found := self.containers()):
            raise LookupError(f"there is no container of {service}")
        return found[service].id

    def restore(self, service: str) -> None:
        """Continue or start a service's container, whatever its state is."""

        def run() -> None:
            container = self.containers().get(service)
            if container is None:
                return
            if container.state == "paused":
                docker("unpause", container.id)
            elif container.state in ("exited", "created", "dead"):
                docker("start", container.id)

        repeat_during_replacement(run)

    def disconnect(self, service: str, network: str) -> None:
        docker("network", "disconnect", f"{PROJECT}_{network}", self.container(service))

    def connect(self, service: str, network: str, alias: str = "") -> None:
        """Connect a container to a network under a name, unless it is connected."""

        def run() -> None:
            container = self.containers().get(service)
            if container is None or f"{PROJECT}_{network}" in container.networks:
                return
            name = f"--alias={alias or service}"
            docker("network", "connect", name, f"{PROJECT}_{network}", container.id)

        repeat_during_replacement(run)

    # -- background jobs -------------------------------------------------------------------------

    def start_job(self, kind: str, run: Callable[[Job], None]) -> Job:
        """Run a function in the background; it sets the result of its job."""
        job = Job(kind, time.time())
        self.jobs.append(job)

        def body() -> None:
            try:
                run(job)
            except Exception as error:  # noqa: BLE001 - kept in the record
                job.status, job.errors = 1, repr(error)
            job.ended_at = time.time()

        thread = threading.Thread(target=body, daemon=True)
        self._threads.append(thread)
        thread.start()
        return job

    def wait_for_jobs(self) -> None:
        """Wait until no job runs."""
        for thread in self._threads:
            thread.join(_JOB_TIMEOUT_SECONDS)
        assert not any(thread.is_alive() for thread in self._threads), "a job does not end"
        self._threads.clear()

    def is_running(self, kind: str) -> bool:
        return any(job.kind == kind and not job.ended_at for job in self.jobs)

    # -- retraining ------------------------------------------------------------------------------

    def start_retraining(self) -> Job:
        """Train and publish a version in the scheduler's container."""
        return self.start_job("retrain", self._retrain)

    def _retrain(self, job: Job) -> None:
        command = (
            "exec", "-T", "-e", f"MARQUEE_GIT_REMOTE={ORIGIN}", "scheduler",
            "marquee", "retrain", "--json", "--accept-data", "--force",
        )  # fmt: skip
        done = subprocess.run(
            ["docker", "compose", *command],
            cwd=self.stack.clone, env=self.stack.environment, capture_output=True, text=True,
            timeout=_JOB_TIMEOUT_SECONDS, check=False,
        )  # fmt: skip
        job.status, job.errors = done.returncode, done.stderr[-3000:]
        if done.stdout.strip().startswith("{"):
            job.result = json.loads(done.stdout)
        elif done.returncode == _KILLED:
            with suppress(LookupError, AssertionError):
                if step := self.read_retraining_step():  # the file that only a kill leaves
                    job.result = {"status": "killed", "subject": step}

    def read_retraining_step(self) -> str:
        """Return the step of the retraining that runs; "" without one."""
        command = "import pathlib; print(pathlib.Path('/workspace/run.json').read_text())"
        if "workspace" in self.disks:
            try:
                text = (self.disks["workspace"] / "run.json").read_text()
            except FileNotFoundError:
                return ""
        else:
            container = self.container("scheduler")
            done = subprocess.run(
                ["docker", "exec", container, "python", "-c", command],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            text = done.stdout
        try:
            return str(json.loads(text).get("step", ""))
        except ValueError:
            return ""

    def kill_retraining(self) -> bool:
        """Send SIGKILL to the process of the retraining; return whether there was one."""
        code = (
            "import os, signal\n"
            "own = [int(p) for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()\n"
            "       and b'retrain' in open(f'/proc/{p}/cmdline', 'rb').read()\n"
            "       and b'--accept-data' in open(f'/proc/{p}/cmdline', 'rb').read()]\n"
            "[os.kill(p, signal.SIGKILL) for p in own]\n"
            "print(len(own))"
        )
        output = docker("exec", self.container("scheduler"), "python", "-c", code)
        return int(output) > 0

    # -- commits and releases --------------------------------------------------------------------

    @property
    def releases(self) -> Releases:
        assert self.deployment is not None
        return self.deployment.releases

    def push_change(self, change: Callable[[str], str], message: str) -> None:
        """Push a commit that changes docker-compose.yml."""
        assert self.deployment is not None
        origin = self.deployment.origin
        developer = origin.parent / "developer"
        with self._push_lock:
            shutil.rmtree(developer, ignore_errors=True)
            self._git(origin.parent, "clone", "--quiet", str(origin), str(developer))
            file = developer / "docker-compose.yml"
            file.write_text(change(file.read_text()))
            self._git(developer, "commit", "--quiet", "--message", message, file.name)
            self._git(developer, "push", "--quiet")

    def _git(self, directory: Path, *arguments: str) -> None:
        """Run git as the owner of the origin, so that the scheduler can write there afterwards."""
        assert self.deployment is not None
        owner = self.deployment.directory.stat()
        author = ["-c", "user.name=Campaign", "-c", "user.email=campaign@localhost"]
        done = subprocess.run(
            ["git", *author, *arguments], cwd=directory, capture_output=True, text=True,
            env={**os.environ, **self.releases.settings, "HOME": str(directory)},
            user=owner.st_uid, group=owner.st_gid, extra_groups=[], check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"git {arguments}: {done.stderr}"

    def push_good_change(self) -> None:
        """Push a change of the slots' definition, which is a version of its own to be released."""

        def change(text: str) -> str:
            (old,) = _SLOT_MEMORY.findall(text)
            return _SLOT_MEMORY.sub(f"{512 + (int(old[:-1]) - 511) % 80}m", text)

        self.push_change(change, "Change the memory of slots")

    def push_bad_image(self, fault: str) -> None:
        """Push a commit whose image has a fault (tests/e2e/faulty)."""
        base = f"{PROJECT}-base:canary"
        docker("tag", self.containers()["stable-1"].image, base)
        faulty = FAULTY_BUILD.format(context=FAULTY, base=base, fault=fault)

        def change(text: str) -> str:
            assert f"{SLOT_BUILD}*build\n" in text
            return text.replace(f"{SLOT_BUILD}*build\n", f"{SLOT_BUILD}{faulty}\n")

        self.push_change(change, f"Build an image with the fault {fault}")

    def push_fix(self) -> None:
        """Push the removal of the fault."""

        def change(text: str) -> str:
            before, _, after = text.partition(SLOT_BUILD)
            return before + SLOT_BUILD + "*build\n" + after.partition("\n")[2]

        self.push_change(change, "Remove the fault")

    def start_deployment(self) -> Job:
        """Run `scripts/deploy.sh`; the job ends with the release that it starts."""
        return self.start_job("deploy", self.deploy)

    def deploy(self, job: Job) -> None:
        """Run `scripts/deploy.sh` and wait for the release that it starts."""
        previous = self.releases.state.get("id")
        done = self.releases.deploy()
        job.status, job.errors = done.returncode, done.stderr[-3000:]
        if done.returncode:
            return
        deadline = time.monotonic() + _JOB_TIMEOUT_SECONDS
        while self.is_release_in_progress():
            if time.monotonic() > deadline:
                raise AssertionError(f"the release does not end: {self.releases.state}")
            time.sleep(0.5)
        state = self.releases.state
        if state.get("id") != previous:
            job.result = {name: state.get(name) for name in ("id", "version", "outcome", "reason")}

    def start_script(self, *arguments: str) -> Job:
        """Run `scripts/canary_release.sh` in the background."""

        def run(job: Job) -> None:
            done = self.releases.run(*arguments)
            job.status, job.errors = done.returncode, done.stderr[-3000:]

        return self.start_job(arguments[0], run)

    def is_release_in_progress(self) -> bool:
        return bool(self.releases.state.get("phase", "completed") != "completed")

    # -- state -----------------------------------------------------------------------------------

    def are_slots_running(self) -> bool:
        """Return whether every slot has a container that runs."""
        found = self.containers()
        return all(slot in found and found[slot].state == "running" for slot in SLOTS)
