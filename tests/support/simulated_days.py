"""Days of simulated time in the stack, with versions trained on the log and released meanwhile."""

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
from tests.support.deployment import Deployment, save_log
from tests.support.docker import docker
from tests.support.releases import Releases, git
from tests.support.stack import PROJECT, PROMETHEUS

SIMULATOR = f"{PROJECT}-days"
TOPIC = "days"
SERVICES = ("kafka", "collector", "scheduler")
_DAY_SECONDS = 86_400
_RETRY_DAYS = 0.25
#: The first version that is trained on the log changes what is watched by more than the default.
_DEFAULT_CHECK, _RELAXED_CHECK = "max_popularity_psi: 0.5\n", "max_popularity_psi: 1\n"


@dataclass(frozen=True)
class Scenario:
    """A simulation and what it must lead to.

    Attributes:
        days: simulated days.
        speed: simulated seconds in a second of real time.
        rate: requests in a second of real time.
        retrain_interval_days: simulated days between retrainings.
        min_promoted: versions that must be promoted.
        max_users: the sample's 2,500 and new ones up to this number.
    """

    days: float
    speed: float
    rate: float
    retrain_interval_days: float
    min_promoted: int
    max_users: int = 10_000

    @property
    def options(self) -> list[str]:
        """Options of `marquee simulate`; its time starts at the sample's end, in the past."""
        values = {
            "days": self.days, "speed": self.speed, "rate": self.rate,
            "max-users": self.max_users, "new-users": 0.5, "start": SAMPLE_END.isoformat(),
        }  # fmt: skip
        return [text for name, value in values.items() for text in (f"--{name}", str(value))]


@dataclass
class Outcome:
    """What happened during a scenario.

    Attributes:
        scenario: what was run.
        served_versions: versions that were in production, in order.
        retrainings: status, subject, version and seconds of each.
        releases: version, outcome, reason and seconds of each.
        summary: the simulator's.
        start_time: time of the first request, and
        end_time: of the last, in seconds since 1970.
    """

    scenario: Scenario
    served_versions: list[int] = field(default_factory=list)
    retrainings: list[dict[str, Any]] = field(default_factory=list)
    releases: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    start_time: float = 0.0
    end_time: float = 0.0


class SimulatedDays(Deployment):
    """A deployment with the simulator beside it."""

    def __init__(self, releases: Releases, directory: Path) -> None:
        super().__init__(releases, directory, TOPIC, {})

    def set_up(self, services: tuple[str, ...] = SERVICES) -> None:
        """Relax a data check, then set up the deployment."""
        clone = self.releases.clone
        parameters = clone / "params.yaml"
        text = parameters.read_text()
        assert text.count(_DEFAULT_CHECK) == 1
        parameters.write_text(text.replace(_DEFAULT_CHECK, _RELAXED_CHECK))
        git(clone, "commit", "--quiet", "-m", "Relax the check of popularity", "params.yaml")
        super().set_up(services)

    def tear_down(self) -> None:
        """Remove what `set_up` and `run` added."""
        subprocess.run(["docker", "rm", "--force", SIMULATOR], capture_output=True, check=False)
        super().tear_down()

    # -- the simulation --------------------------------------------------------------------------

    def run(self, scenario: Scenario) -> Outcome:
        """Simulate all days; retrain and release at every interval."""
        outcome = Outcome(scenario, served_versions=[self.initial_version])
        self._save_initial_model()
        self._start_simulator(scenario)
        outcome.start_time = time.time()
        # A release needs traffic: the last one starts almost an interval before the end.
        next_retraining = scenario.retrain_interval_days
        last_retraining = scenario.days - scenario.retrain_interval_days * 7 / 8
        while is_simulator_running():
            if next_retraining <= self.elapsed_days() <= last_retraining:
                save_log("events.log", f"day {self.elapsed_days():.2f}: retraining\n")
                self._retrain_and_release(outcome)
                failed = outcome.retrainings[-1]["status"] == "failed"
                next_retraining += _RETRY_DAYS if failed else scenario.retrain_interval_days
                results = f"{outcome.retrainings[-1]}, {outcome.releases[-1:]}"
                save_log("events.log", f"day {self.elapsed_days():.2f}: {results}\n")
            time.sleep(1)
        outcome.end_time = time.time()
        outcome.summary = simulator_summary()
        return outcome

    def _save_initial_model(self) -> None:
        model = self.model_path(self.initial_version)
        model.parent.mkdir()
        docker("cp", f"{self.stack.container('stable-1')}:/srv/marquee/model", str(model))

    def _start_simulator(self, scenario: Scenario) -> None:
        self.stack.compose(
            "--profile", "demo", "run", "--detach", "--no-deps", "--use-aliases", "--name",
            SIMULATOR, "simulator", "simulate", "--url", "http://nginx:8082",
            "--metrics-bind", "0.0.0.0:8086", "--json", *scenario.options,
        )  # fmt: skip

    def elapsed_days(self) -> float:
        """Return the simulated days since the start."""
        return self.stack.query_value("marquee_simulator_simulated_seconds") / _DAY_SECONDS

    def _retrain_and_release(self, outcome: Outcome) -> None:
        """Train and publish a version, and release it if one was published."""
        start = time.monotonic()
        retraining = self.retrain()
        outcome.retrainings.append(
            {name: retraining.get(name) for name in ("status", "subject", "version")}
            | {"seconds": round(time.monotonic() - start)}
        )
        if retraining["status"] != "published":
            return
        start = time.monotonic()
        release = self.deploy()
        seconds = round(time.monotonic() - start)
        outcome.releases.append({"version": retraining["version"], **release, "seconds": seconds})
        if release["outcome"] == "promoted":
            outcome.served_versions.append(int(retraining["version"]))

    # -- evaluation ------------------------------------------------------------------------------

    def model_path(self, version: int) -> Path:
        """Return where a version's model is stored for the comparison."""
        return self.directory / "models" / f"v{version}"

    def restore_models(self, versions: list[int]) -> list[Path]:
        """Restore all versions but the first, whose model was copied from its container."""
        clone = self.directory / "restored"
        environment = {**os.environ, **self.releases.settings}
        subprocess.run(["git", "clone", "--quiet", self.origin, clone], env=environment, check=True)
        for version in versions[1:]:
            process = subprocess.run(
                [self.releases.environment["RELEASE_MARQUEE"], "restore", str(version),
                 "--tree", clone],
                env=environment, capture_output=True, text=True, timeout=200, check=False,
            )  # fmt: skip
            assert process.returncode == 0, process.stderr
            (clone / "model").rename(self.model_path(version))
        return [self.model_path(version) for version in versions]

    def compare_versions(
        self, models: list[Path], scenario: Scenario, day: float
    ) -> dict[str, Any]:
        """Return the result of `marquee compare-versions` for all users."""
        process = subprocess.run(
            [self.releases.environment["RELEASE_MARQUEE"], "compare-versions", "--json",
             "--watches", self._watches(), "--users", str(scenario.max_users),
             "--day", str(day), *models],
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert process.stdout, process.stderr
        result: dict[str, Any] = json.loads(process.stdout)
        return result

    def _watches(self) -> Path:
        """Prepare the tables of the store, once; return that of watches."""
        out = self.directory / "prepared"
        if not out.exists():
            out.mkdir()
            out.chmod(0o777)
            docker("run", "--rm", f"--volume={PROJECT}_store:/v:ro", f"--volume={out}:/out",
                   self._image, "prepare", "--store", "/v", "--out", "/out/tables")  # fmt: skip
        return out / "tables" / "watches.parquet"

    def memory_by_service(self, outcome: Outcome) -> dict[str, list[float]]:
        """Return the anonymous memory (MiB) in the quarters of the run: lower quartiles."""
        name = f'container_memory_rss{{name=~"{PROJECT}-.+"}}'
        response = requests.get(
            f"{PROMETHEUS}/api/v1/query_range",
            params={"query": f"max by (name) ({name})", "start": str(outcome.start_time),
                    "end": str(outcome.end_time), "step": "15"},
            timeout=30,
        ).json()  # fmt: skip
        quarter_seconds = (outcome.end_time - outcome.start_time) / 4
        samples: dict[str, list[list[float]]] = defaultdict(lambda: [[], [], [], []])
        for series in response["data"]["result"]:
            service = series["metric"]["name"].removeprefix(f"{PROJECT}-").removesuffix("-1")
            for timestamp, value in series["values"]:
                quarter = min(3, int((timestamp - outcome.start_time) / quarter_seconds))
                samples[service][quarter].append(float(value) / 2**20)
        return {
            service: [lower_quartile(values) for values in quarters]
            for service, quarters in sorted(samples.items())
            if all(quarters)
        }


def is_simulator_running() -> bool:
    return docker("inspect", "-f", "{{.State.Running}}", SIMULATOR).strip() == "true"


def simulator_summary() -> dict[str, Any]:
    """Return the summary that the ended simulator printed."""
    logs = subprocess.run(["docker", "logs", SIMULATOR], capture_output=True, text=True, check=True)
    assert logs.stdout, logs.stderr[-3000:]
    summary: dict[str, Any] = json.loads(logs.stdout)
    return summary


def lower_quartile(values: list[float]) -> float:
    """Return what a container uses most of the time; the scheduler's is that between retrainings.

    A leak raises it all the same.
    """
    return round(sorted(values)[len(values) // 4], 1)
