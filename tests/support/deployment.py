"""The stack with a Git origin and a DVC remote of its own, to train and release versions in it."""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import requests

from tests.conftest import ROOT
from tests.support.docker import docker
from tests.support.releases import Releases, git
from tests.support.stack import PROJECT, URL, Stack

#: Long enough for a machine that also runs other things.
_RETRAIN_TIMEOUT_SECONDS, _RELEASE_TIMEOUT_SECONDS = 400, 400
#: Git remote of the scheduler: `origin` in the directory that it mounts.
ORIGIN = "/remotes/origin.git"


class Deployment:
    """The stack, its origin, and its DVC remote.

    `tear_down` restores the stack, except for the versions in its slots.

    Attributes:
        directory: directory of the host with the origin and the DVC remote.
        initial_version: the version in production at the start.
    """

    def __init__(
        self, releases: Releases, directory: Path, topic: str, settings: dict[str, str]
    ) -> None:
        """Describe the deployment.

        Args:
            topic: topic that the collector reads.
            settings: further lines of .env.
        """
        self.releases = releases
        self.stack: Stack = releases.stack
        self.directory = directory
        self.origin = directory / "origin.git"
        self.initial_version = 0
        self._settings = {
            "MARQUEE_KAFKA_SERVERS": "kafka:9092",
            "MARQUEE_KAFKA_TOPIC": topic,
            "MARQUEE_REMOTES": str(directory),
            **settings,
        }
        self._image = f"{self.stack.environment['MARQUEE_IMAGE']}:deployment"
        self._env_file = releases.clone / ".env"
        self._original_env = self._env_file.read_text() if self._env_file.exists() else ""
        # The scheduler's user pushes versions, and the user who runs the tests fetches them.
        git_config = directory / "gitconfig"
        git_config.write_text("[safe]\n\tdirectory = *\n")
        releases.settings = {
            "GIT_CONFIG_GLOBAL": str(git_config),
            "MARQUEE_DVC_REMOTE": str(directory / "versions"),
            "RELEASE_MIN_REQUESTS": "50",
        }

    # -- set-up and tear-down --------------------------------------------------------------------

    def set_up(self, services: tuple[str, ...]) -> None:
        """Create origin and remote, empty the store, and start services of the profile `demo`."""
        for path in [self.directory, *self.directory.parents[:1]]:
            path.chmod(0o755)
        branch = self._create_origin()
        self._chown_remotes("10001:10001")
        self.initial_version = production_version()
        # A Makefile of 0.2.0 would install into the environment that runs the tests.
        environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
        subprocess.run(
            ["make", ".venv/.deployment"], cwd=self.releases.clone, env=environment, check=True,
            capture_output=True, timeout=600,
        )  # fmt: skip
        settings = {**self._settings, "MARQUEE_GIT_BRANCH": branch}
        added = "".join(f"{name}={value}\n" for name, value in settings.items())
        self._env_file.write_text(self._original_env + added)
        self.stack.compose("rm", "--stop", "--force", "collector", "scheduler")
        for volume in ("store", "workspace"):
            docker("run", "--rm", "--user=0", f"--volume={PROJECT}_{volume}:/v",
                   "--entrypoint=find", self._image, "/v", "-mindepth", "1", "-delete")  # fmt: skip
        self.stack.compose("--profile", "demo", "up", "-d", "--wait", *services)

    def _create_origin(self) -> str:
        """Push the clone to a bare repository; return the branch."""
        clone = self.releases.clone
        git(self.directory, "clone", "--quiet", "--bare", str(clone), str(self.origin))
        branch = git(self.origin, "symbolic-ref", "--short", "HEAD").strip()
        git(clone, "remote", "set-url", "origin", str(self.origin))
        git(clone, "fetch", "--quiet")
        git(clone, "branch", "--quiet", f"--set-upstream-to=origin/{branch}")
        return branch

    def merge(self, repository: Path) -> str:
        """Merge the commit of a repository into the branch of the origin; return the new commit."""
        self._chown_remotes("0:0")
        with tempfile.TemporaryDirectory() as directory:
            developer = Path(directory) / "developer"
            git(self.directory, "clone", "--quiet", str(self.origin), str(developer))
            git(developer, "fetch", "--quiet", str(repository), "HEAD")
            git(developer, "merge", "--quiet", "--no-edit", "FETCH_HEAD")
            git(developer, "push", "--quiet")
            commit = git(developer, "rev-parse", "HEAD").strip()
        self._chown_remotes("10001:10001")
        return commit

    def tear_down(self) -> None:
        """Remove what `set_up` and `run` added."""
        self.stack.compose("--profile", "demo", "rm", "--stop", "--force", "kafka", "maildev")
        self._chown_remotes("0:0")
        self._env_file.write_text(self._original_env)
        self.stack.compose("up", "-d", "--wait", "collector", "scheduler")

    def _chown_remotes(self, owner: str) -> None:
        volume = f"--volume={self.directory}:/remotes"
        docker("run", "--rm", "--user=0", volume, "--entrypoint=chown", self._image, "-R", owner,
               "/remotes")  # fmt: skip

    # -- versions --------------------------------------------------------------------------------

    def retrain(self) -> dict[str, Any]:
        """Run `marquee retrain` in the scheduler's container; return its result."""
        process = subprocess.run(
            ["docker", "compose", "exec", "-T", "-e", f"MARQUEE_GIT_REMOTE={ORIGIN}",
             "scheduler", "marquee", "retrain", "--json"],
            cwd=self.stack.clone, env=self.stack.environment, capture_output=True, text=True,
            timeout=_RETRAIN_TIMEOUT_SECONDS, check=False,
        )  # fmt: skip
        save_log("retrain.log", process.stderr + process.stdout)
        assert process.stdout, process.stderr[-3000:]
        result: dict[str, Any] = json.loads(process.stdout)
        return result

    def deploy(self) -> dict[str, Any]:
        """Run what the pipeline runs on the server; return outcome and reason of the release."""
        previous_id = self.releases.state.get("id")
        process = self.releases.deploy()
        save_log("deploy.log", process.stderr + process.stdout)
        if process.returncode:
            reason = process.stderr.strip().splitlines()[-1]
            return {"outcome": "not started", "reason": reason}
        deadline = time.monotonic() + _RELEASE_TIMEOUT_SECONDS
        while (state := self.releases.state)["id"] == previous_id or state["phase"] != "completed":
            assert time.monotonic() < deadline, f"the release does not end: {state}"
            time.sleep(0.5)
        log = self.stack.clone / "data" / "release" / "release.log"
        save_log("deploy.log", log.read_text())
        return {"outcome": state["outcome"], "reason": state.get("reason")}


def production_version() -> int:
    """Return the version of the model that responds."""
    response = requests.get(f"{URL}/recommend/42", timeout=5)
    return int(response.headers["X-Model-Version"])


def save_log(name: str, text: str) -> None:
    """Append to a log that explains failures: build/deployment-NAME."""
    path = ROOT / "build" / f"deployment-{name}"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as log:
        log.write(text)
