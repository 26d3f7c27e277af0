"""Days of the simulated world that pass in seconds; versions made meanwhile, what came of them."""

import json
import os
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from app.simulator.environment import SAMPLE_END
from tests.conftest import ROOT
from tests.support.releases import Releases, git
from tests.support.stack import PROJECT, PROMETHEUS, URL, Stack, docker

SIMULATOR = f"{PROJECT}-days"
TOPIC = "days"
SERVICES = ("kafka", "collector", "scheduler")
_DAY = 86_400
#: After a fault the scheduler, too, tries again sooner.
_AGAIN_DAYS = 0.25
_ASKS, _EXPECTS = "max_popularity_psi: 0.5\n", "max_popularity_psi: 1\n"
#: What one retraining and one release may take, on a machine that has much else to do.
_RETRAIN_SECONDS, _RELEASE_SECONDS = 400, 400


@dataclass(frozen=True)
class Edition:
    """How long a life is looked at.

    Attributes:
        days: of the world.
        speed: of its clock.
        rate: requests a second, by the real clock.
        every: days from one retraining to the next.
        versions: so many must be promoted.
        people: all there are; the sample's 2,500 and newcomers until there are as many.
    """

    days: float
    speed: float
    rate: float
    every: float
    versions: int
    people: int = 10_000

    @property
    def options(self) -> list[str]:
        """Of `marquee simulate`, whose time begins where the sample's ends, and is past."""
        told = {
            "days": self.days, "speed": self.speed, "rate": self.rate, "users": self.people,
            "newcomers": 0.5, "start": SAMPLE_END.isoformat(),
        }  # fmt: skip
        return [text for name, value in told.items() for text in (f"--{name}", str(value))]


@dataclass
class Life:
    """What was seen of it.

    Attributes:
        served: versions that have been in service, in order.
        retrainings: how each ended (status, version, seconds).
        releases: how each ended (version, outcome, reason, seconds).
        summary: what the simulator says at the end.
        began: real time of the first request, and
        ended: of the last, in seconds since 1970.
    """

    edition: Edition
    served: list[int] = field(default_factory=list)
    retrainings: list[dict[str, Any]] = field(default_factory=list)
    releases: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    began: float = 0.0
    ended: float = 0.0


class Days:
    """The stack, with an origin and a DVC remote of its own, and the world around it.

    `close` leaves the stack as it was, but for the versions in its slots.
    """

    def __init__(self, releases: Releases, place: Path) -> None:
        self.releases = releases
        self.stack: Stack = releases.stack
        self.place = place
        self.origin = place / "origin.git"
        self.first = 0  # the version that was in service at the beginning
        self._image = f"{self.stack.environment['MARQUEE_IMAGE']}:deployment"
        self._env = releases.clone / ".env"
        self._env_before = self._env.read_text() if self._env.exists() else ""
        # Versions are pushed by the scheduler's user, and fetched by this one.
        trusting = place / "gitconfig"
        trusting.write_text("[safe]\n\tdirectory = *\n")
        releases.settings = {
            "GIT_CONFIG_GLOBAL": str(trusting),
            "MARQUEE_DVC_REMOTE": str(place / "versions"),
            "RELEASE_MIN_REQUESTS": "50",
        }

    # -- before and after ------------------------------------------------------------------------

    def begin(self) -> None:
        """Origin and remote, an empty store, collector and scheduler."""
        for path in [self.place, *self.place.parents[:1]]:
            path.chmod(0o755)
        clone = self.releases.clone
        # As an operator would who expects it: the first version moves what is watched.
        parameters = clone / "params.yaml"
        told = parameters.read_text()
        assert told.count(_ASKS) == 1
        parameters.write_text(told.replace(_ASKS, _EXPECTS))
        git(clone, "commit", "--quiet", "-m", "Expect what is watched to move", "params.yaml")
        git(self.place, "clone", "--quiet", "--bare", str(clone), str(self.origin))
        branch = git(self.origin, "symbolic-ref", "--short", "HEAD").strip()
        git(clone, "remote", "set-url", "origin", str(self.origin))
        git(clone, "fetch", "--quiet")
        git(clone, "branch", "--quiet", f"--set-upstream-to=origin/{branch}")
        self._owned_by("10001:10001")
        self.first = in_service()
        make = ["make", ".venv/.deployment"]
        subprocess.run(make, cwd=clone, check=True, capture_output=True, timeout=600)
        settings = {
            "MARQUEE_KAFKA_SERVERS": "kafka:9092",
            "MARQUEE_KAFKA_TOPIC": TOPIC,
            "MARQUEE_REMOTES": str(self.place),
            "MARQUEE_GIT_BRANCH": branch,
        }
        ours = "".join(f"{name}={value}\n" for name, value in settings.items())
        self._env.write_text(self._env_before + ours)
        self.stack.compose("rm", "--stop", "--force", "collector", "scheduler")
        for volume in ("store", "workspace"):
            docker("run", "--rm", "--user=0", f"--volume={PROJECT}_{volume}:/v",
                   "--entrypoint=find", self._image, "/v", "-mindepth", "1", "-delete")  # fmt: skip
        self.stack.compose("--profile", "demo", "up", "-d", "--wait", *SERVICES)

    def close(self) -> None:
        """Take away what `begin` and `live` added."""
        subprocess.run(["docker", "rm", "--force", SIMULATOR], capture_output=True, check=False)
        self.stack.compose("--profile", "demo", "rm", "--stop", "--force", "kafka")
        self._owned_by("0:0")
        now = [line for line in self._env.read_text().splitlines() if _of_release(line)]
        kept = [line for line in self._env_before.splitlines() if not _of_release(line)]
        self._env.write_text("".join(f"{line}\n" for line in (*kept, *now)))
        self.stack.compose("up", "-d", "--wait", "collector", "scheduler")

    def _owned_by(self, owner: str) -> None:
        where = f"--volume={self.place}:/remotes"
        docker("run", "--rm", "--user=0", where, "--entrypoint=chown", self._image, "-R", owner,
               "/remotes")  # fmt: skip

    # -- the days --------------------------------------------------------------------------------

    def live(self, edition: Edition) -> Life:
        """Let all days pass, with a retraining and a release whenever they are due."""
        life = Life(edition, served=[self.first])
        model = self.model_of(life.served[0])
        model.parent.mkdir()
        docker("cp", f"{self.stack.container('stable-1')}:/srv/marquee/model", str(model))
        self.stack.compose(
            "--profile", "demo", "run", "--detach", "--no-deps", "--use-aliases", "--name",
            SIMULATOR, "simulator", "simulate", "--url", "http://nginx:8082",
            "--metrics", "0.0.0.0:8086", "--json", *edition.options,
        )  # fmt: skip
        life.began = time.time()
        # A release needs people who ask: the last one begins a whole span before the end, about.
        due, latest = edition.every, edition.days - edition.every * 7 / 8
        while running():
            if due <= self.day() <= latest:
                self._log("life.log", f"day {self.day():.2f}: a retraining\n")
                self._renew(life)
                failed = life.retrainings[-1]["status"] == "failed"
                due += _AGAIN_DAYS if failed else edition.every
                ended = f"{life.retrainings[-1]}, {life.releases[-1:]}"
                self._log("life.log", f"day {self.day():.2f}: {ended}\n")
            time.sleep(1)
        life.ended = time.time()
        told = subprocess.run(
            ["docker", "logs", SIMULATOR], capture_output=True, text=True, check=True
        )
        assert told.stdout, told.stderr[-3000:]
        life.summary = json.loads(told.stdout)
        return life

    def day(self) -> float:
        """Where the world's time is."""
        found = self.stack.query("marquee_simulator_time_seconds")
        return float(found[0]["value"][1]) / _DAY if found else 0.0

    def _renew(self, life: Life) -> None:
        """Make a version, and release it where there is one."""
        start = time.monotonic()
        outcome = self.retrain()
        took = round(time.monotonic() - start)
        kept = {name: outcome.get(name) for name in ("status", "subject", "version")}
        life.retrainings.append({**kept, "seconds": took})
        if outcome["status"] != "published":
            return
        start = time.monotonic()
        ended = self.deploy()
        took = round(time.monotonic() - start)
        life.releases.append({"version": outcome["version"], **ended, "seconds": took})
        if ended["outcome"] == "promoted":
            life.served.append(int(outcome["version"]))

    def retrain(self) -> dict[str, Any]:
        """`marquee retrain` where the scheduler runs it; its outcome, whatever it is."""
        done = subprocess.run(
            ["docker", "compose", "exec", "-T", "-e", "MARQUEE_GIT_REMOTE=/remotes/origin.git",
             "scheduler", "marquee", "retrain", "--json"],
            cwd=self.stack.clone, env=self.stack.environment, capture_output=True, text=True,
            timeout=_RETRAIN_SECONDS, check=False,
        )  # fmt: skip
        self._log("retrain.log", done.stderr + done.stdout)
        assert done.stdout, done.stderr[-3000:]
        outcome: dict[str, Any] = json.loads(done.stdout)
        return outcome

    def deploy(self) -> dict[str, Any]:
        """What the pipeline does on the server, to the release's end."""
        before = self.releases.state.get("id")
        done = subprocess.run(
            ["scripts/deploy.sh"], cwd=self.stack.clone, env=self.releases.environment,
            capture_output=True, text=True, timeout=_RELEASE_SECONDS, check=False,
        )  # fmt: skip
        self._log("deploy.log", done.stderr + done.stdout)
        if done.returncode:
            return {"outcome": "not begun", "reason": done.stderr.strip().splitlines()[-1]}
        deadline = time.monotonic() + _RELEASE_SECONDS
        while (state := self.releases.state)["id"] == before or state["phase"] != "ended":
            assert time.monotonic() < deadline, f"the release does not end: {state}"
            time.sleep(0.5)
        log = self.stack.clone / "data" / "release" / "release.log"
        self._log("deploy.log", log.read_text())
        return {"outcome": state["outcome"], "reason": state.get("reason")}

    def _log(self, name: str, text: str) -> None:
        with (ROOT / "build" / f"days-{name}").open("a") as log:
            log.write(text)

    # -- what came of it -------------------------------------------------------------------------

    def model_of(self, number: int) -> Path:
        """Where a version's model is brought to."""
        return self.place / "models" / f"v{number}"

    def restore(self, versions: list[int]) -> list[Path]:
        """The models of versions: the first as its image had it, the others from the remote."""
        clone = self.place / "again"
        environment = {**os.environ, **self.releases.settings}
        subprocess.run(["git", "clone", "--quiet", self.origin, clone], env=environment, check=True)
        for number in versions[1:]:
            done = subprocess.run(
                [self.releases.environment["RELEASE_MARQUEE"], "restore", str(number),
                 "--tree", clone],
                env=environment, capture_output=True, text=True, timeout=200, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            (clone / "model").rename(self.model_of(number))
        return [self.model_of(number) for number in versions]

    def compare(self, models: list[Path], edition: Edition, day: float) -> dict[str, Any]:
        """What `marquee compare-versions` says, of everyone there is."""
        out = self.place / "last"
        if not out.exists():
            out.mkdir()
            out.chmod(0o777)
            docker("run", "--rm", f"--volume={PROJECT}_store:/v:ro", f"--volume={out}:/out",
                   self._image, "prepare", "--store", "/v", "--out", "/out/tables")  # fmt: skip
        done = subprocess.run(
            [self.releases.environment["RELEASE_MARQUEE"], "compare-versions", "--json",
             "--watches", out / "tables" / "watches.parquet", "--users", str(edition.people),
             "--day", str(day), *models],
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.stdout, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def memory(self, life: Life) -> dict[str, list[float]]:
        """Anonymous memory by service in the run's quarters, in MiB; see `level`."""
        name = f'container_memory_rss{{name=~"{PROJECT}-.+"}}'
        answer = requests.get(
            f"{PROMETHEUS}/api/v1/query_range",
            params={"query": f"max by (name) ({name})", "start": str(life.began),
                    "end": str(life.ended), "step": "15"},
            timeout=30,
        ).json()  # fmt: skip
        quarter = (life.ended - life.began) / 4
        found: dict[str, list[list[float]]] = defaultdict(lambda: [[], [], [], []])
        for series in answer["data"]["result"]:
            service = series["metric"]["name"].removeprefix(f"{PROJECT}-").removesuffix("-1")
            for at, value in series["values"]:
                number = min(3, int((at - life.began) / quarter))
                found[service][number].append(float(value) / 2**20)
        return {
            service: [level(values) for values in quarters]
            for service, quarters in sorted(found.items())
            if all(quarters)
        }


def in_service() -> int:
    """The version that answers."""
    answer = requests.get(f"{URL}/recommend/42", timeout=5)
    return int(answer.headers["X-Model-Version"])


def running() -> bool:
    """Whether the simulator's days are not over yet."""
    return docker("inspect", "-f", "{{.State.Running}}", SIMULATOR).strip() == "true"


def level(values: list[float]) -> float:
    """The lower quartile: what a container has when it does nothing out of the ordinary.

    The scheduler's is that between retrainings; what leaks raises it all the same.
    """
    return round(sorted(values)[len(values) // 4], 1)


def _of_release(line: str) -> bool:
    """Lines of .env that a release writes."""
    return line.startswith(("MARQUEE_BUILD_", "MARQUEE_DIGEST_", "MARQUEE_CANARY_REPLICAS="))
