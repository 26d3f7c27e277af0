"""The policy of retraining: every decision about data and models, and the limits it rests on.

- `choose_window`: which events a version learns from, is tested with, and excludes;
- `validate_data`: whether the data is accepted, blocks a version for now, or is rejected for good;
- `needs_version`: whether anything has changed since the previous version;
- `check_thresholds`, `compare_with_production` and `check_groups`: whether a model passes the gate.

The limits are the sections `checks` and `gate` of `params.yaml`, which explains each of them.
`data_validation` and `marquee evaluate` compute the metrics.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.auto_deployment.data_validation import DataMetrics, measure_data
from app.auto_deployment.errors import DeploymentError
from app.ingest.data_window import DataWindow, ExcludedSpan
from app.params_file import read_params_file
from app.text_files import TextError

#: What a model is made from besides data: a change in these is a reason for a new version.
MODEL_SOURCES = ("app/ingest", "app/training", "app/model", "params.yaml", "dvc.yaml")
#: Events later than this from now have a wrong time.
_MAX_CLOCK_SKEW = timedelta(days=1)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataChecks(_Section):
    """Limits of the data; the section `checks`."""

    max_damaged_ratio: float = Field(ge=0, le=1)
    max_without_time_ratio: float = Field(ge=0, le=1)
    max_ratings_psi: float = Field(gt=0)
    max_popularity_psi: float = Field(gt=0)
    min_psi_events: int = Field(ge=1)
    min_volume_ratio: float = Field(ge=0, lt=1)
    max_volume_ratio: float = Field(gt=1)
    volume_periods: int = Field(ge=1)


class ModelGate(_Section):
    """Limits of a model; the section `gate`."""

    max_rmse: float = Field(gt=0)
    min_ndcg: float = Field(ge=0, le=1)
    min_coverage: float = Field(ge=0, le=1)
    max_regression: float = Field(ge=0)
    max_group_regression: float = Field(ge=0, lt=1)
    min_compared_events: int = Field(ge=1)


class Limits(_Section):
    """All limits. None has a default here: `params.yaml` holds every value."""

    checks: DataChecks
    gate: ModelGate


@dataclass(frozen=True)
class DataReport:
    """The verdict on the data and the metrics behind it: the content of `reports/data.json`.

    Attributes:
        passed: whether a version may be made from the data.
        rejected: faults of the batch; it is excluded from this and all later versions.
        blocking: faults that block a version for now, and that later data may cure.
        metrics: what was measured.
    """

    passed: bool
    rejected: list[str]
    blocking: list[str]
    metrics: DataMetrics

    def to_dict(self) -> dict[str, Any]:
        """All of it in one level, for JSON."""
        content = asdict(self)
        return {**content, **content.pop("metrics")}


class Comparison(NamedTuple):
    """A candidate beside the model in production.

    Attributes:
        failed: the checks that failed.
        summary: the result in one line.
    """

    failed: list[str]
    summary: str


def read_limits(params: Path) -> Limits:
    """Read the limits from a parameter file.

    Raises:
        DeploymentError: the file cannot be read or is of another format, or a key is missing,
            unknown or out of range.
    """
    try:
        content: Any = read_params_file(params) or {}
        sections = {name: content.get(name) or {} for name in Limits.model_fields}
        return Limits.model_validate(sections)
    except (OSError, TextError, AttributeError) as error:
        raise DeploymentError(f"{params}: cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise DeploymentError(f"{params}: {key}: {first['msg']}") from error


def choose_window(
    *,
    previous_newest: datetime | None,
    production_newest: datetime | None,
    events_since_production: int,
    excluded: tuple[ExcludedSpan, ...],
    accept_data: bool,
    gate: ModelGate,
) -> DataWindow:
    """Choose the data window of the next version.

    The model is tested with the events that are newer than those of the model in production, so
    that both are compared on events which neither was fitted to. Where these are too few, or no
    model is in production, it is tested with the newest share.

    Args:
        previous_newest: time of the newest event of the previous version, None without one.
        production_newest: time of the newest event of the model in production, None without one.
        events_since_production: number of later events in the store.
        excluded: spans of rejected batches.
        accept_data: include rejected batches and skip the checks.
        gate: the limits of the comparison.
    """
    test_start = None
    if production_newest is not None and events_since_production >= gate.min_compared_events:
        test_start = production_newest + timedelta(microseconds=1)
    return DataWindow(
        previous_newest=previous_newest,
        test_start=test_start,
        max_time=datetime.now(UTC).replace(tzinfo=None) + _MAX_CLOCK_SKEW,
        excluded=() if accept_data else excluded,
        skip_checks=accept_data,
    )


def validate_data(
    tables: Path,
    prepare_summary: dict[str, Any],
    window: DataWindow,
    checks: DataChecks,
    rating_scale: tuple[float, float],
) -> DataReport:
    """Measure the prepared tables and compare the metrics with the limits.

    Args:
        tables: directory that `marquee prepare` wrote.
        prepare_summary: what `marquee prepare --json` printed.
        window: the data window the tables were prepared with.
        checks: the limits.
        rating_scale: lowest and highest rating.

    Raises:
        DeploymentError: a table is missing or lacks a column.
    """
    metrics = measure_data(
        tables,
        prepare_summary,
        rating_scale,
        window.previous_newest,
        min_psi_events=checks.min_psi_events,
        volume_periods=checks.volume_periods,
    )
    blocking, rejected = _find_blocking(metrics, checks), _find_rejected(metrics, checks)
    if window.skip_checks:
        blocking, rejected = [], []
    return DataReport(not (blocking or rejected), rejected, blocking, metrics)


def _find_blocking(metrics: DataMetrics, checks: DataChecks) -> list[str]:
    """Faults of the whole data, and a batch that is too small."""
    found = [*metrics.schema_errors]
    if metrics.without_time_ratio > checks.max_without_time_ratio:
        found.append(
            f"{metrics.without_time_ratio:.1%} of events have no time "
            f"(limit {checks.max_without_time_ratio:.1%})"
        )
    if metrics.damaged_ratio > checks.max_damaged_ratio:
        found.append(
            f"{metrics.damaged_ratio:.1%} of lines have a damaged movie id "
            f"(limit {checks.max_damaged_ratio:.1%})"
        )
    volume = None if metrics.batch is None else metrics.batch.volume_ratio
    if volume is not None and volume < checks.min_volume_ratio:
        found.append(
            f"too few events: {volume:.2f} times as many as before "
            f"(limit {checks.min_volume_ratio:g})"
        )
    return found


def _find_rejected(metrics: DataMetrics, checks: DataChecks) -> list[str]:
    """Faults of the batch: drift, or too many events."""
    batch = metrics.batch
    if batch is None:
        return []
    found = []
    for name, psi, limit in (
        ("ratings", batch.ratings_psi, checks.max_ratings_psi),
        ("popularity", batch.popularity_psi, checks.max_popularity_psi),
    ):
        if psi is not None and psi > limit:
            found.append(f"the distribution of {name} has drifted: PSI {psi:.2f} (limit {limit:g})")
    if batch.volume_ratio is not None and batch.volume_ratio > checks.max_volume_ratio:
        found.append(
            f"too many events: {batch.volume_ratio:.1f} times as many as before "
            f"(limit {checks.max_volume_ratio:g})"
        )
    return found


def needs_version(
    previous_tables_hash: str | None, tables_hash: str, *, sources_changed: bool
) -> bool:
    """Whether the tables, or the code and parameters, differ from the previous version's."""
    return sources_changed or previous_tables_hash != tables_hash


def check_thresholds(metrics: dict[str, Any], gate: ModelGate) -> list[str]:
    """Return the failed checks of a model, by the metrics of `marquee evaluate`."""
    failed = []
    rmse = metrics.get("rmse")
    if rmse is not None and not rmse < gate.max_rmse:
        failed.append(f"RMSE is {rmse:.4f} and must be below {gate.max_rmse:g}")
    for name, minimum in (("ndcg", gate.min_ndcg), ("coverage", gate.min_coverage)):
        value = metrics.get(name)
        if value is None or not value >= minimum:
            text = "unknown" if value is None else f"{value:.4f}"
            failed.append(f"{name} is {text} and must be at least {minimum:g}")
    return failed


def _get_metric(metrics: dict[str, Any], name: str) -> float | None:
    """Return a metric by its name, such as `ndcg`, or `replay ndcg` of a section."""
    value: Any = metrics
    for key in name.split():
        value = value.get(key) if isinstance(value, dict) else None
    return None if value is None else float(value)


def check_groups(comparison: dict[str, Any], version: int) -> list[str]:
    """Return the groups of users that a candidate serves worse than the model in production.

    Args:
        comparison: what `marquee fairness --before` printed.
        version: the version in production.
    """
    return [
        f"nDCG of {row['users']:,} users ({row['attribute']}: {row['group']}) is "
        f"{row['after']:.4f}, worse than version {version}'s {row['before']:.4f} by more than "
        f"{comparison['max_regression']:.0%} beyond chance"
        for row in comparison["groups"]
        if row["worse"]
    ]


def compare_with_production(
    candidate: dict[str, Any], production: dict[str, Any], version: int, gate: ModelGate
) -> Comparison:
    """Compare a candidate with the model in production.

    Args:
        candidate: the candidate's metrics by `marquee evaluate --replay`.
        production: those of the model in production on the same events, which are newer than
            those that either model was fitted to.
        version: the version in production.
        gate: the limits.
    """
    events = candidate.get("events", 0)
    if events < gate.min_compared_events:
        minimum = gate.min_compared_events
        return Comparison(
            [], f"not compared with version {version}: fewer than {minimum} newer events"
        )
    failed, compared = [], []
    for name, direction in (("ndcg", 1), ("rmse", -1), ("replay ndcg", 1)):
        ours, theirs = _get_metric(candidate, name), _get_metric(production, name)
        if ours is None or theirs is None:
            continue
        compared.append(f"{name} {ours:.4f}, version {version}'s {theirs:.4f}")
        if direction * ours < direction * theirs * (1 - direction * gate.max_regression):
            failed.append(f"{name} is {ours:.4f}, worse than version {version}'s {theirs:.4f}")
    return Comparison(failed, f"on {events:,} newer events: " + "; ".join(compared))
