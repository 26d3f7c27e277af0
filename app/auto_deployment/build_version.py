"""Build a version in the clone: from a snapshot of the store to a commit that is not pushed yet."""

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from app import logs
from app.atomic_files import write_file
from app.auto_deployment import retraining_policy as policy
from app.auto_deployment.errors import DeploymentError, NoVersionError, ToolError
from app.auto_deployment.git_dvc import WorkingTree
from app.auto_deployment.production_model import (
    ProductionModel,
    fetch_model,
    get_production_version,
    write_unseen_events,
)
from app.auto_deployment.version_commits import (
    COLLECTED,
    MODEL,
    PARAMS_FILE,
    REPORTS,
    VERSION_FILE,
    WINDOW_FILE,
    commit_version,
    fetch,
    find_commit,
    find_newest_version,
    read_version,
)
from app.auto_deployment.workspace import EXCLUDED_FILE, Workspace
from app.fairness.page import summarize
from app.ingest.data_window import ExcludedSpan, read_window
from app.ingest.retention import newest_event_time
from app.ingest.store_copy import copy_store
from app.ingest.store_reader import NEWEST_TIME_COLUMNS, open_store
from app.ingest.store_stats import count_rows_after
from app.model.manifest import ArtifactError, Manifest
from app.model.verify import verify_model
from app.settings import Settings
from app.yaml_files import read_yaml

PREPARED = Path("data/prepared")
VALIDATION_MODEL = Path("build/validation")
COMPARISON_TABLES = Path("build/comparison")
DATA_REPORT = REPORTS / "data.json"
METRICS_REPORT = REPORTS / "metrics.json"
FAIRNESS_REPORT = REPORTS / "fairness.json"
#: The groups of users beside the model in production, for machines and for people.
GROUPS_REPORT, GROUPS_PAGE = REPORTS / "groups.json", REPORTS / "groups.md"
_PAGES = {
    "fairness.md": "whom this version serves how well, and which movies it shows",
    "groups.md": "groups of users beside the model in production",
    "ranking.md": "what the ranking goes by",
}
#: Directories of the workspace.
REJECTED = "rejected"
PRODUCTION = "production"
_KEPT_BATCHES = 10
_REPORTED_METRICS = ("rmse", "mae", "ndcg", "recall", "precision", "map", "coverage", "gini")
_log = logs.get(__name__)


@dataclass(frozen=True)
class BuiltVersion:
    """A version whose files are in the clone, not committed yet.

    Attributes:
        number: its version number.
        body: the text of its commit and of the notification.
        metrics: of `marquee evaluate` on the held-out events.
        includes_excluded: whether the batches that were rejected before are included.
    """

    number: int
    body: str
    metrics: dict[str, Any]
    includes_excluded: bool


class VersionBuilder:
    """Builds versions in one clone."""

    def __init__(self, settings: Settings, workspace: Workspace, tree: WorkingTree) -> None:
        self._settings = settings
        self._workspace = workspace
        self.tree = tree

    def build(self, *, accept_data: bool = False, force: bool = False) -> BuiltVersion:
        """Build the next version, up to the commit.

        Args:
            accept_data: include rejected batches and skip the data checks.
            force: build a version even if nothing has changed.

        Raises:
            NoVersionError: nothing has changed, or the data or the model is rejected.
            DeploymentError: a step failed.
        """
        try:
            return self._build(accept_data, force)
        except NoVersionError:
            self._reset()
            raise

    def commit(self, built: BuiltVersion) -> None:
        """Commit what `build` built."""
        commit_version(self.tree, built.number, built.body)
        if built.includes_excluded:
            self._workspace.remove(EXCLUDED_FILE)

    def _build(self, accept_data: bool, force: bool) -> BuiltVersion:
        tree, start_step = self.tree, self._workspace.start_step
        start_step("fetch")
        fetch(tree, self._settings.git_branch)
        self._reset()
        self._check_version_number()
        start_step("snapshot")
        copy_store(self._settings.store_dir, tree.path / COLLECTED)
        snapshot_time = self._get_snapshot_time()
        tree.dvc("add", "--quiet", str(COLLECTED))
        production, reason = self._find_production_model()
        self._write_window(production, accept_data)
        start_step("check-data")
        self._check_data(snapshot_time)
        if not (force or accept_data or self._has_changes()):
            raise NoVersionError("unchanged", "Nothing has changed", "No version is made.")
        start_step("validate")
        tree.dvc("repro", "evaluate", *self._list_stages("fairness"))
        start_step("gate")
        comparison = self._apply_gate(production, reason)
        start_step("train")
        number = read_version(tree) + 1
        write_file(tree.path / VERSION_FILE, f"{number}\n".encode())
        tree.dvc("repro", "train", *self._list_stages("explain-ranking"))
        manifest = self._verify_model(number)
        metrics = self._read_json(METRICS_REPORT)
        body = "\n\n".join(
            filter(None, (format_report(metrics, comparison, manifest), self._link_pages(number)))
        )
        return BuiltVersion(number, body, metrics, accept_data)

    def _check_version_number(self) -> None:
        """Check that the next number is free: the push of a tag that exists would be rejected.

        Raises:
            DeploymentError: `version.txt` was changed by hand.
        """
        number, newest = read_version(self.tree), find_newest_version(self.tree)
        if newest is not None and newest > number:
            raise DeploymentError(
                f"{VERSION_FILE} contains {number}, but version {newest} is published (tag "
                f"version-{newest}): write {newest} into it and push"
            )

    def _reset(self) -> None:
        """Make the clone that of the remote's branch; the DVC cache stays."""
        self.tree.git("reset", "--quiet", "--hard", f"origin/{self._settings.git_branch}")
        self.tree.git("clean", "--quiet", "--force", "-d")

    def _read_json(self, path: Path) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.tree.path / path).read_bytes())
        return content

    def _get_snapshot_time(self) -> datetime:
        """Return the moment of the snapshot by the clock of the log, which names no zone.

        Where the setting does not name it either, the newest events show a zone ahead of UTC.
        """
        if zone := self._settings.stream_time_zone:
            return datetime.now(ZoneInfo(zone)).replace(tzinfo=None)
        with open_store(self.tree.path / COLLECTED) as snapshot:
            newest = newest_event_time(snapshot) or datetime.min
        return max(newest, datetime.now(UTC).replace(tzinfo=None))

    def _find_production_model(self) -> tuple[ProductionModel | None, str]:
        """Return the model in production, or None and why there is no comparison with it."""
        try:
            version = get_production_version(self._settings.service_urls)
            directory = self._workspace.path / PRODUCTION
            return fetch_model(self.tree, version, directory), ""
        except DeploymentError as error:
            _log.warning("no comparison with the production model", reason=str(error))
            return None, f"not compared with the production model: {error}"

    def _write_window(self, production: ProductionModel | None, accept_data: bool) -> None:
        """Write the data window that the policy chooses."""
        previous_newest = self._read_previous_report().get("newest")
        newer = (
            0
            if production is None
            else count_rows_after(self.tree.path / COLLECTED, production.newest)
        )
        excluded = read_window(self.tree.path / WINDOW_FILE).excluded
        added = map(ExcludedSpan.model_validate, self._read_excluded())
        window = policy.choose_window(
            previous_newest=previous_newest and datetime.fromisoformat(previous_newest),
            production_newest=None if production is None else production.newest,
            events_since_production=newer,
            excluded=excluded + tuple(span for span in added if span not in excluded),
            accept_data=accept_data,
            gate=self._read_limits().gate,
        )
        content = window.model_dump_json(indent=1) + "\n"
        write_file(self.tree.path / WINDOW_FILE, content.encode())

    def _read_limits(self) -> policy.Limits:
        return policy.read_limits(self.tree.path / PARAMS_FILE)

    def _read_previous_report(self) -> dict[str, Any]:
        """Return the previous version's data report, empty where there is none."""
        name = f"HEAD:{DATA_REPORT}"
        if not self.tree.git_succeeds("cat-file", "-e", name):
            return {}
        report: dict[str, Any] = json.loads(self.tree.git("show", name))
        return report

    def _read_excluded(self) -> list[dict[str, Any]]:
        spans: list[dict[str, Any]] = self._workspace.read(EXCLUDED_FILE).get("excluded", [])
        return spans

    def _check_data(self, snapshot_time: datetime) -> None:
        """Prepare and check the data.

        Args:
            snapshot_time: when the store was copied, by the clock of the log.

        Raises:
            NoVersionError: the data is rejected.
        """
        (self.tree.path / DATA_REPORT).unlink(missing_ok=True)
        try:
            self.tree.dvc("repro", "test-data")
        except ToolError:
            if not (self.tree.path / DATA_REPORT).exists():
                raise
            report = self._read_json(DATA_REPORT)
            if report["passed"]:
                raise
            self._reject_data(report, snapshot_time)

    def _reject_data(self, report: dict[str, Any], snapshot_time: datetime) -> None:
        """Exclude the batch where it is at fault, and end the run."""
        lines = ["The data was rejected, and no version is made:"]
        lines += [f"- {reason}" for reason in report["rejected"] + report["blocking"]]
        batch = report["batch"] or {}
        if report["rejected"] and batch.get("until"):
            after = datetime.fromisoformat(batch["after"])
            # An event may be dated up to a day ahead. The good events that arrive until then have
            # times like it, so that only those before the snapshot are excluded.
            until = min(datetime.fromisoformat(batch["until"]), snapshot_time)
            lines += ["", self._exclude_batch(report, after, until)]
        lines += ["", json.dumps(report, indent=1)]
        raise NoVersionError(
            "data_rejected", "Collected data was rejected", "\n".join(lines), report
        )

    def _exclude_batch(self, report: dict[str, Any], after: datetime, until: datetime) -> str:
        """Copy the rejected events to the workspace and exclude their span; describe it."""
        if until <= after:
            return "No event is excluded yet: all of them are dated after the snapshot."
        place = self._workspace.path / REJECTED / until.strftime("%Y%m%dT%H%M%S")
        place.mkdir(parents=True, exist_ok=True)
        excluded = 0
        for name, time in NEWEST_TIME_COLUMNS.items():  # as the span is excluded
            table = pl.scan_parquet(self.tree.path / PREPARED / f"{name}.parquet")
            rows = table.filter((pl.col(time) > after) & (pl.col(time) <= until)).collect()
            rows.write_parquet(place / f"{name}.parquet")
            excluded += rows.height
        write_file(place / "report.json", json.dumps(report, indent=1).encode())
        for old in sorted(place.parent.iterdir())[:-_KEPT_BATCHES]:
            shutil.rmtree(old)
        span = ExcludedSpan(after=after, until=until, reason="; ".join(report["rejected"]))
        spans = [*self._read_excluded(), span.model_dump(mode="json")]
        self._workspace.write(EXCLUDED_FILE, {"excluded": spans})
        return (
            f"The {excluded:,} events after {after.isoformat()} until {until.isoformat()} are "
            f"excluded from now on; a copy is in {place}. To include them after all: "
            "marquee retrain --accept-data"
        )

    def _has_changes(self) -> bool:
        """Whether data, code or parameters differ from those of the previous version."""
        tree = self.tree
        previous = find_commit(tree, read_version(tree))
        sources_changed = previous is None or not tree.git_succeeds(
            "diff", "--quiet", previous, "HEAD", "--", *policy.MODEL_SOURCES
        )
        return policy.needs_version(
            self._read_previous_report().get("tables_hash"),
            self._read_json(DATA_REPORT)["tables_hash"],
            sources_changed=sources_changed,
        )

    def _apply_gate(self, production: ProductionModel | None, reason: str) -> str:
        """Check the validation model and return the line about production.

        Raises:
            NoVersionError: a check failed.
        """
        gate = self._read_limits().gate
        metrics = self._read_json(METRICS_REPORT)
        failed, summary = policy.check_thresholds(metrics, gate), reason
        for name in (GROUPS_REPORT, GROUPS_PAGE):  # those of the previous version
            (self.tree.path / name).unlink(missing_ok=True)
        if production is not None:
            ours, theirs = self._evaluate_both(production)
            worse, summary = policy.compare_with_production(ours, theirs, production.version, gate)
            failed += worse
            if self._list_stages("fairness") and ours.get("events", 0) >= gate.min_compared_events:
                failed += policy.check_groups(self._compare_groups(production), production.version)
        _log.info("gate", passed=not failed, comparison=summary)
        if failed:
            lines = ["The model did not pass the gate, and no version is made:"]
            lines += [*(f"- {check}" for check in failed), "", format_report(metrics, summary)]
            raise NoVersionError(
                "gate_failed", "New model did not pass the gate", "\n".join(lines), metrics
            )
        return summary

    def _evaluate_both(self, production: ProductionModel) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the metrics of the validation model and of the production model.

        Both are evaluated on events that neither was fitted to; empty without such events.
        """
        test, tables = self.tree.path / PREPARED / "test", self.tree.path / COMPARISON_TABLES
        window = read_window(self.tree.path / WINDOW_FILE)
        if window.test_start is None or not write_unseen_events(production, test, tables):
            return {}, {}
        ours, theirs = (
            json.loads(
                self.tree.marquee(
                    "evaluate", "--model", str(model), "--tables", str(tables), "--replay", "--json"
                )
            )
            for model in (self.tree.path / VALIDATION_MODEL, production.path)
        )
        return ours, theirs

    def _compare_groups(self, production: ProductionModel) -> dict[str, Any]:
        """Compare the groups of users on the events that `_evaluate_both` wrote."""
        tree = self.tree.path
        comparison: dict[str, Any] = json.loads(
            self.tree.marquee(
                "fairness", "--model", str(tree / VALIDATION_MODEL),
                "--before", str(production.path), "--tables", str(tree / COMPARISON_TABLES),
                "--metadata", str(tree / PREPARED), "--params", str(tree / PARAMS_FILE),
                "--out", str(tree / GROUPS_REPORT), "--page", str(tree / GROUPS_PAGE), "--json",
            )
        )  # fmt: skip
        return comparison

    def _list_stages(self, *names: str) -> list[str]:
        """Return those of the stages that the clone has: the code of its commit may be older."""
        stages: dict[str, Any] = read_yaml(self.tree.path / "dvc.yaml")["stages"]
        return [name for name in names if name in stages]

    def _link_pages(self, number: int) -> str:
        """Return the result of the fairness report, and the pages that come with a version."""
        lines = []
        if (self.tree.path / FAIRNESS_REPORT).exists():
            lines.append(f"Fairness: {summarize(self._read_json(FAIRNESS_REPORT))}.")
        lines += [
            f"- {REPORTS / name}: {text} (git show version-{number}:{REPORTS / name})"
            for name, text in _PAGES.items()
            if (self.tree.path / REPORTS / name).exists()
        ]
        return "\n".join(lines)

    def _verify_model(self, number: int) -> Manifest:
        try:
            manifest = verify_model(self.tree.path / MODEL)["lists"]
        except ArtifactError as error:
            raise DeploymentError(str(error)) from error
        if manifest.version != number:
            raise DeploymentError(f"the model is of version {manifest.version}, not {number}")
        return manifest


def format_report(
    metrics: dict[str, Any], comparison: str, manifest: Manifest | None = None
) -> str:
    """Format a model's metrics as the body of its commit and of its notification.

    Args:
        metrics: of `marquee evaluate`.
        comparison: the line about the model in production.
        manifest: of the model that was trained on all events, if there is one.
    """
    lines = [f"On {metrics['events']:,} held-out events of {metrics['users']:,} users:"]
    for name in _REPORTED_METRICS:
        value = metrics.get(name)
        lines.append(f"{name:<10}{'-' if value is None else f'{value:.4f}'}")
    lines += ["", comparison]
    if manifest is not None:
        data = manifest.data
        lines += [
            "",
            f"Trained on everything: {data['pairs']:,} pairs of {data['users']:,} users and "
            f"{data['movies']:,} movies ({data['ratings']:,} ratings), newest {data['newest']}",
            f"Model {manifest.model_hash}",
            f"Data  {data['data_hash']}",
        ]
    return "\n".join(lines)
