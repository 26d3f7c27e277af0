"""Make a version in the clone: from the store as it is now to a commit that is not pushed yet."""

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import polars as pl

from app import logs
from app.atomic_files import write_file
from app.auto_deployment import production_model, version_commits
from app.auto_deployment.errors import DeploymentError
from app.auto_deployment.gate import compare, judge
from app.auto_deployment.git_dvc import ToolError, Tree
from app.auto_deployment.model_report import body_of, figures_in
from app.auto_deployment.production_model import InService
from app.auto_deployment.thresholds import read_gate
from app.auto_deployment.workspace import Workspace
from app.ingest.data_window import Cycle, Refused, read_cycle
from app.ingest.store_copy import copy_store
from app.ingest.store_stats import count_rows_after
from app.model.manifest import ArtifactError
from app.model.verify import verify_model
from app.settings import Settings

PREPARED = Path("data/prepared")
CYCLE = Path("data/window.json")
REHEARSAL = Path("build/rehearsal")
COMPARED = Path("build/compared")
REPORTS = Path("reports")
REFUSED = "refused.json"
#: What a model depends on besides data: a change of it is a reason for a version.
_SHAPE = ("app/ingest", "app/training", "app/model", "params.yaml", "dvc.yaml")
_KEPT_BATCHES = 10
_log = logs.get(__name__)


class NoVersionError(DeploymentError):
    """No version is made this time, and why; nothing has changed."""

    def __init__(
        self,
        status: Literal["unchanged", "refused", "gate"],
        subject: str,
        body: str,
        figures: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(body)
        self.status: Literal["unchanged", "refused", "gate"] = status
        self.subject = subject
        self.figures = figures or {}


@dataclass(frozen=True)
class Made:
    """A version that is trained and stands in the clone, not committed."""

    number: int
    body: str
    figures: dict[str, Any]
    accepted: bool


class Maker:
    """Makes versions in one clone."""

    def __init__(self, settings: Settings, workspace: Workspace, tree: Tree) -> None:
        self._settings = settings
        self._workspace = workspace
        self._tree = tree

    def make(self, *, accept: bool = False, force: bool = False) -> Made:
        """Make the next version, up to the commit.

        Raises:
            NoVersionError: nothing has changed, the data is refused, or the model is.
            DeploymentError: a step failed.
        """
        tree, step = self._tree, self._workspace.step
        step("fetch")
        self._start_clean(fetch=True)
        step("snapshot")
        copy_store(self._settings.store_dir, tree.path / version_commits.COLLECTED)
        tree.dvc("add", "--quiet", str(version_commits.COLLECTED))
        rival, why_not = self._rival()
        self._write_cycle(rival, accept)
        step("check")
        self._check()
        if not (force or accept or self._is_new()):
            self._start_clean()
            raise NoVersionError("unchanged", "Nothing new to learn from", "no version is made")
        step("rehearse")
        tree.dvc("repro", "evaluate")
        step("gate")
        compared = self._pass_gate(rival, why_not)
        step("train")
        number = version_commits.current(tree) + 1
        write_file(tree.path / version_commits.VERSION, f"{number}\n".encode())
        tree.dvc("repro", "train")
        manifest = self._verified(number)
        figures = figures_in(tree.path / REPORTS)
        return Made(number, body_of(figures, compared, manifest), figures, accept)

    def commit(self, made: Made) -> None:
        """Commit what `make` made."""
        present = [name for name in version_commits.TRACKED if (self._tree.path / name).exists()]
        self._tree.git("add", "--", *present)
        message = f"{version_commits.subject(made.number)}\n\n{made.body}"
        self._tree.git("commit", "--quiet", "--no-verify", "-m", message)
        if made.accepted:
            self._workspace.remove(REFUSED)

    def _start_clean(self, fetch: bool = False) -> None:
        """The clone as everyone has it; what DVC has cached stays."""
        branch = self._settings.git_branch
        if fetch:
            self._tree.git("fetch", "--quiet", "origin", branch)
        self._tree.git("reset", "--quiet", "--hard", f"origin/{branch}")
        self._tree.git("clean", "--quiet", "--force", "-d")

    def _rival(self) -> tuple[InService | None, str]:
        """The version in service, to compare with, or why there is none."""
        try:
            number = production_model.ask_number(self._settings.service_urls)
            rival = production_model.fetch(self._tree, number, self._workspace.path / "in-service")
        except DeploymentError as error:
            _log.warning("not compared with what is in service", why=str(error))
            return None, f"not compared with the version in service: {error}"
        return rival, ""

    def _write_cycle(self, rival: InService | None, accept: bool) -> None:
        before = self._committed_report().get("newest")
        since = None
        if rival is not None:
            least = read_gate(self._tree.path / "params.yaml").compared_events
            newer = count_rows_after(self._tree.path / version_commits.COLLECTED, rival.newest)
            since = rival.newest if newer >= least else None
        known = read_cycle(self._tree.path / CYCLE).refused
        added = tuple(map(Refused.model_validate, self._workspace.read(REFUSED).get("refused", [])))
        refused = known + tuple(batch for batch in added if batch not in known)
        cycle = Cycle(
            before=None if before is None else datetime.fromisoformat(before),
            test_since=since,
            until=datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1),
            refused=() if accept else refused,
            accepted=accept,
        )
        write_file(self._tree.path / CYCLE, (cycle.model_dump_json(indent=1) + "\n").encode())

    def _committed_report(self) -> dict[str, Any]:
        """What the data of the version before was found to be; empty: there is no such version."""
        name = f"HEAD:{REPORTS}/data.json"
        if not self._tree.git_tells("cat-file", "-e", name):
            return {}
        found: dict[str, Any] = json.loads(self._tree.git("show", name))
        return found

    def _check(self) -> None:
        """Prepare and check the data; a batch that is refused stays out from now on."""
        report = self._tree.path / REPORTS / "data.json"
        report.unlink(missing_ok=True)
        try:
            self._tree.dvc("repro", "test-data")
        except ToolError:
            if not report.exists():
                raise
            found = json.loads(report.read_bytes())
            if found["passed"]:
                raise
            self._refuse(found)

    def _refuse(self, found: dict[str, Any]) -> None:
        reasons = found["refused"] + found["held"]
        body = "The data was refused, and no version is made:\n" + "\n".join(
            f"- {reason}" for reason in reasons
        )
        batch = found["batch"] or {}
        if found["refused"] and batch.get("until"):
            kept = self._keep_aside(found, batch)
            body += (
                f"\n\nEvents after {batch['after']} until {batch['until']} "
                f"({batch['events']:,}) stay out from now on; they are kept in {kept}. To take "
                "them in after all: marquee retrain --accept-data"
            )
        body += f"\n\n{json.dumps(found, indent=1)}"
        self._start_clean()
        raise NoVersionError("refused", "Collected data was refused", body, found)

    def _keep_aside(self, found: dict[str, Any], batch: dict[str, Any]) -> Path:
        """The refused batch's rows in a directory of their own, and the note that it stays out."""
        until = datetime.fromisoformat(batch["until"])
        after = datetime.fromisoformat(batch["after"])
        place = self._workspace.path / "refused" / until.strftime("%Y%m%dT%H%M%S")
        place.mkdir(parents=True, exist_ok=True)
        for name, time in (("ratings", "time"), ("watches", "first_time")):
            rows = pl.scan_parquet(self._tree.path / PREPARED / f"{name}.parquet")
            rows.filter(pl.col(time) > after).sink_parquet(place / f"{name}.parquet")
        write_file(place / "report.json", json.dumps(found, indent=1).encode())
        for old in sorted(place.parent.iterdir())[:-_KEPT_BATCHES]:
            shutil.rmtree(old)
        note = Refused(after=after, until=until, why="; ".join(found["refused"]))
        known = self._workspace.read(REFUSED).get("refused", [])
        self._workspace.write(REFUSED, {"refused": [*known, note.model_dump(mode="json")]})
        return place

    def _is_new(self) -> bool:
        """Whether data, code or parameters differ from those of the version before."""
        before = self._committed_report().get("sha256")
        now = json.loads((self._tree.path / REPORTS / "data.json").read_bytes())["sha256"]
        last = version_commits.commit_of(self._tree, version_commits.current(self._tree), "HEAD")
        if before != now or last is None:
            return True
        return not self._tree.git_tells("diff", "--quiet", last, "HEAD", "--", *_SHAPE)

    def _pass_gate(self, rival: InService | None, why_not: str) -> str:
        """What was said of the comparison.

        Raises:
            NoVersionError: the model is not good enough.
        """
        gate = read_gate(self._tree.path / "params.yaml")
        figures = figures_in(self._tree.path / REPORTS)
        faults, compared = judge(figures, gate), why_not
        if rival is not None and read_cycle(self._tree.path / CYCLE).test_since is None:
            compared = f"not compared with version {rival.number}: too few events are newer"
        elif rival is not None:
            mine, theirs = self._score_both(rival)
            worse, compared = compare(mine, theirs, rival.number, gate)
            faults += worse
        _log.info("judged", passed=not faults, compared=compared)
        if faults:
            reasons = "\n".join(f"- {fault}" for fault in faults)
            body = f"The model did not pass the gate, and nothing has changed:\n{reasons}\n\n"
            self._start_clean()
            raise NoVersionError(
                "gate",
                "New model did not pass the gate",
                body + body_of(figures, compared),
                figures,
            )
        return compared

    def _score_both(self, rival: InService) -> tuple[dict[str, Any], dict[str, Any]]:
        """The rehearsal's and the rival's figures on what is new to both; {} for nothing."""
        tables = self._tree.path / COMPARED
        if not production_model.unseen_by(rival, self._tree.path / PREPARED / "test", tables):
            return {}, {}
        models = (self._tree.path / REHEARSAL, rival.model)
        both = (("--model", str(model), "--tables", str(tables), "--json") for model in models)
        mine, theirs = (json.loads(self._tree.marquee("evaluate", *each)) for each in both)
        return mine, theirs

    def _verified(self, number: int) -> dict[str, Any]:
        try:
            manifest = verify_model(self._tree.path / version_commits.MODEL)["lists"]
        except ArtifactError as error:
            raise DeploymentError(str(error)) from error
        if manifest.version != number:
            raise DeploymentError(f"the model says version {manifest.version}, not {number}")
        return {"model_hash": manifest.model_hash, "data": manifest.data}
