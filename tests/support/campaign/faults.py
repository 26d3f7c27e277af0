"""The faults of a campaign: each kind of a schedule is one class, with a begin and an end.

`end` restores what `begin` did and may be called after a `begin` that failed half-way. A fault that
cannot be done on this machine raises `NotPossibleError` with the reason, which the record names.
"""

import json
import os
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.support.campaign import tcp_proxy
from tests.support.campaign.clocks import step
from tests.support.campaign.schedule import SLOTS, PlannedFault
from tests.support.campaign.system import System
from tests.support.docker import docker, restart_docker
from tests.support.releases import is_release
from tests.support.stack import PROJECT

#: Kills one process of gunicorn, which starts another.
KILL_WORKER = (
    "import os; own = [p for p in os.listdir('/proc') if p.isdigit() and int(p) > 1 and "
    "int(p) != os.getpid() and b'gunicorn' in open(f'/proc/{p}/cmdline', 'rb').read()]; "
    "[os.kill(int(pid), 9) for pid in own[:1]]"
)
#: Delay of each piece that a proxy passes on, in seconds: a far network, and a broken one.
DELAYS = (0.05, 0.5)
#: By how much clocks are stepped, in seconds.
CLOCK_STEPS = (-3600, -30, 30, 3600)
_TORN_TABLE = "import os; os.truncate('/recent/activity.table', 70_000)"
#: Networks of the mail server.
MAILDEV_NETWORKS = ("metrics", "loopback")
#: Of a process in a certain phase or step.
_POLL_SECONDS = 0.1


class NotPossibleError(Exception):
    """A fault that cannot be done here; the message is the reason."""


class Fault(ABC):
    """One fault.

    Args:
        system: what it is done to.
        planned: its target and moment.
    """

    def __init__(self, system: System, planned: PlannedFault) -> None:
        self.system = system
        self.planned = planned
        self.target = planned.target
        #: What was done, where the kind and target do not say it.
        self.note = ""

    @abstractmethod
    def begin(self) -> None:
        """Do it."""

    def end(self) -> None:  # noqa: B027 - nothing to restore
        """Restore what `begin` did."""


# -- containers ----------------------------------------------------------------------------------


class _ContainerFault(Fault):
    """A fault of one container, which `end` continues or starts again."""

    #: Whether what the container has in memory is lost.
    loses_memory = True

    def begin(self) -> None:
        container = self.system.container(self.target)
        if self.target == "maildev" and self.loses_memory:
            # First cut off, so that no mail arrives after the last look at them.
            for network in MAILDEV_NETWORKS:
                self.system.disconnect("maildev", network)
            self.system.save_mails(container)
        self.stop(container)

    @abstractmethod
    def stop(self, container: str) -> None:
        """Stop the container in this fault's way."""

    def end(self) -> None:
        if self.target == "maildev":
            for network in MAILDEV_NETWORKS:
                self.system.connect("maildev", network)
        self.system.restore(self.target)


class Kill(_ContainerFault):
    """SIGKILL; Docker does not start the container again."""

    def stop(self, container: str) -> None:
        docker("kill", container)


class Stop(_ContainerFault):
    """SIGTERM, as before an upgrade; SIGKILL ten seconds later."""

    def stop(self, container: str) -> None:
        docker("stop", "--time=10", container)


class Pause(_ContainerFault):
    """All processes are frozen: connections stay open and nothing responds."""

    loses_memory = False

    def stop(self, container: str) -> None:
        docker("pause", container)


class KillWorker(Fault):
    """One process of a slot is killed; gunicorn starts another."""

    def begin(self) -> None:
        docker("exec", self.system.container(self.target), "python", "-c", KILL_WORKER)


class StopAllSlots(Fault):
    """All slots are killed at once."""

    def begin(self) -> None:
        docker("kill", *(self.system.container(slot) for slot in SLOTS))

    def end(self) -> None:
        for slot in SLOTS:
            self.system.restore(slot)


class RestartDocker(Fault):
    """The Docker daemon is restarted, with `SYSTEM=1` only: other stacks may run in it."""

    def begin(self) -> None:
        if os.environ.get("SYSTEM") != "1":
            raise NotPossibleError("restarts the machine's Docker daemon: SYSTEM=1")
        self.system.save_mails(self.system.container("maildev"))
        restart_docker()


# -- networks ------------------------------------------------------------------------------------


class Cut(Fault):
    """A container, which continues to run, is disconnected from a network (`service@network`)."""

    def begin(self) -> None:
        self.system.disconnect(*self._parse())

    def end(self) -> None:
        self.system.connect(*self._parse())

    def _parse(self) -> tuple[str, str]:
        service, _, network = self.target.partition("@")
        return service, network


class CutSlot(Cut):
    """A slot is disconnected from the network that NGINX reaches it by."""

    def _parse(self) -> tuple[str, str]:
        return self.target, "application"


class Slow(Fault):
    """A proxy that delays what it passes on takes a service's name (`service@network:port`)."""

    def begin(self) -> None:
        service, network, port = self._parse()
        delay = Random(str(self.planned)).choice(DELAYS)
        self.note = f"each piece {delay:g} s later"
        self.system.disconnect(service, network)
        self.system.connect(service, network, alias=f"{service}-behind")
        source = Path(tcp_proxy.__file__).read_text()
        docker(
            "run", "--detach", "--rm", f"--name={self._proxy}", f"--network={PROJECT}_{network}",
            f"--network-alias={service}", "--user=10001:10001", "--entrypoint=python",
            f"{PROJECT}:deployment", "-c", source, port, f"{service}-behind", port, str(delay),
        )  # fmt: skip

    def end(self) -> None:
        service, network, _ = self._parse()
        remove = ["docker", "rm", "--force", self._proxy]
        subprocess.run(remove, capture_output=True, check=False)
        with suppress(AssertionError, LookupError):
            self.system.disconnect(service, network)
        self.system.connect(service, network)

    @property
    def _proxy(self) -> str:
        return f"{PROJECT}-proxy-{self._parse()[0]}"

    def _parse(self) -> tuple[str, str, str]:
        service, _, rest = self.target.partition("@")
        network, _, port = rest.partition(":")
        return service, network, port


class SlowSlot(Slow):
    """The same between NGINX and a slot."""

    def _parse(self) -> tuple[str, str, str]:
        return self.target, "application", "8082"


# -- disks, clocks, files ------------------------------------------------------------------------


class FullDisk(Fault):
    """A volume is filled to its last byte, and again whatever becomes free."""

    def begin(self) -> None:
        if self.target not in self.system.disks:
            raise NotPossibleError(f"the volume {self.target} is no small file system here")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fill, daemon=True)
        self._thread.start()

    def _fill(self) -> None:
        with self._filler.open("ab") as file:
            while not self._stopped.is_set():
                free = os.statvfs(self._filler.parent)
                if missing := free.f_bavail * free.f_frsize:
                    with suppress(OSError):  # another process was faster
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, missing)
                self._stopped.wait(0.2)

    @property
    def _filler(self) -> Path:
        return self.system.disks[self.target] / "filler"

    def end(self) -> None:
        if self.target in self.system.disks:
            self._stopped.set()
            self._thread.join()
            self._filler.unlink()


class Clock(Fault):
    """The wall clock of a container is stepped, and back at the end."""

    def begin(self) -> None:
        if self.system.clocks is None:
            raise NotPossibleError("there is no C compiler on this host")
        seconds = Random(str(self.planned)).choice(CLOCK_STEPS)
        self.note = f"{seconds:+} s"
        step(self.system.clocks, self.target, seconds)

    def end(self) -> None:
        if self.system.clocks is not None:
            step(self.system.clocks, self.target, 0)


class Torn(Fault):
    """A file is left as an interrupted write would leave it."""

    def begin(self) -> None:
        match self.target:
            case "recent-table":
                docker("exec", self.system.container("recent"), "python", "-c", _TORN_TABLE)
            case "store-segment":
                # Written and not committed: no manifest names it.
                self._write("collector", "/store/watches-torn.parquet", "PAR1 half a segme")
            case "git-index":
                self._write("scheduler", "/workspace/clone/.git/index.lock", "")
            case "release-history":
                self._tear_history()

    def _write(self, service: str, path: str, content: str) -> None:
        code = f"import pathlib as p; p.Path({path!r}).write_text({content!r})"
        try:
            docker("exec", self.system.container(service), "python", "-c", code)
        except AssertionError as error:
            if "No such file or directory" in str(error):
                raise NotPossibleError(f"there is no directory of {path} yet") from error
            raise

    def _tear_history(self) -> None:
        if self.system.deployment is None or not self.system.releases.state:
            raise NotPossibleError("no release has started yet")
        releases = self.system.releases
        file = releases.clone / "data" / "release" / "history" / f"{releases.state['id']}.jsonl"
        with file.open("a") as history:
            history.write('{"time":1,"event":"evalua\n')


class RemoteAway(Fault):
    """The Git origin or the DVC remote is not there."""

    def begin(self) -> None:
        if self.system.deployment is None:
            raise NotPossibleError("the stack has no remotes here")
        here, away = self._paths()
        here.rename(away)

    def end(self) -> None:
        if self.system.deployment is None:
            return
        here, away = self._paths()
        if here.exists():  # DVC has created it again: its files belong to the same remote
            subprocess.run(["cp", "-a", f"{here}/.", f"{away}/"], check=True)
            subprocess.run(["rm", "-rf", str(here)], check=True)
        away.rename(here)

    def _paths(self) -> tuple[Path, Path]:
        assert self.system.deployment is not None
        name = {"git": "origin.git", "dvc": "versions"}[self.target]
        here = self.system.deployment.directory / name
        return here, here.with_name(f"{name}.away")


# -- what the system does meanwhile --------------------------------------------------------------


class _Watching(Fault):
    """Waits in the background for a moment in which to kill a process."""

    def begin(self) -> None:
        if self.system.deployment is None:
            raise NotPossibleError("the stack has no remotes here")
        self._ended = threading.Event()
        self.note = "the moment did not come"
        self.prepare()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @abstractmethod
    def prepare(self) -> None:
        """Start what will be killed."""

    @abstractmethod
    def try_to_kill(self) -> bool:
        """Kill the process if the moment has come; return whether it was killed."""

    def _watch(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            with suppress(AssertionError, LookupError, OSError, json.JSONDecodeError):
                if self.try_to_kill():
                    self.note = f"killed at {time.time():.1f}"
                    return

    def end(self) -> None:
        if self.system.deployment is not None:
            self._ended.set()
            self._thread.join()


class Retrain(Fault):
    """A version is trained and published."""

    def begin(self) -> None:
        if self.system.deployment is None:
            raise NotPossibleError("the stack has no remotes here")
        self.system.start_retraining()


class KillRetraining(_Watching):
    """A retraining is killed in one of its steps; commands that it started continue."""

    def prepare(self) -> None:
        self.system.start_retraining()

    def try_to_kill(self) -> bool:
        step = self.system.read_retraining_step()
        return step == self.target and self.system.kill_retraining()


class Deploy(Fault):
    """A commit is deployed, while whatever else happens."""

    def begin(self) -> None:
        if self.system.deployment is None:
            raise NotPossibleError("the stack has no remotes here")
        self.system.push_good_change()
        self.system.start_deployment()


class KillRelease(_Watching):
    """The release script is killed in one of its phases; `supervise` resumes it."""

    def prepare(self) -> None:
        if not self.system.is_release_in_progress():
            self.system.push_good_change()
            self.system.start_deployment()

    def try_to_kill(self) -> bool:
        releases = self.system.releases
        if releases.state.get("phase") != self.target:
            return False
        process_id = releases.get_lock_holder()
        if not is_release(process_id, releases.clone):
            return False
        os.kill(process_id, signal.SIGKILL)
        return True


class TwoReleases(Fault):
    """Two deployments and a release by hand start at the same moment."""

    def begin(self) -> None:
        if self.system.deployment is None:
            raise NotPossibleError("the stack has no remotes here")
        self.system.push_good_change()
        self.system.start_deployment()
        self.system.start_deployment()
        self.system.start_script("start")


class BadImage(Fault):
    """An image with a fault is deployed; a fix is pushed when its release has ended."""

    def begin(self) -> None:
        if self.system.deployment is None:
            raise NotPossibleError("the stack has no remotes here")
        system = self.system
        system.push_bad_image(self.target)

        def run(job: object) -> None:
            try:
                system.deploy(job)  # type: ignore[arg-type]
            finally:
                system.push_fix()

        system.start_job("deploy", run)


class Rollback(Fault):
    """An operator rolls back to the previous image."""

    def begin(self) -> None:
        if self.system.deployment is None:
            raise NotPossibleError("the stack has no remotes here")
        self.system.start_script("rollback")


FAULTS: dict[str, Callable[[System, PlannedFault], Fault]] = {
    "kill": Kill, "stop": Stop, "pause": Pause,
    "kill-slot": Kill, "stop-slot": Stop, "pause-slot": Pause, "kill-worker": KillWorker,
    "cut-slot": CutSlot, "slow-slot": SlowSlot,
    "kill-nginx": Kill, "pause-nginx": Pause, "stop-all-slots": StopAllSlots,
    "restart-docker": RestartDocker,
    "cut": Cut, "slow": Slow,
    "full-disk": FullDisk, "clock": Clock, "torn": Torn, "remote-away": RemoteAway,
    "retrain": Retrain, "kill-retraining": KillRetraining,
    "deploy": Deploy, "kill-release": KillRelease, "two-releases": TwoReleases,
    "bad-image": BadImage, "rollback": Rollback,
}  # fmt: skip
