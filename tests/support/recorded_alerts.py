"""Alerts whose cause takes hours or days: series of a running stack, continued for promtool.

Names, labels and first values are those that Prometheus has of the stack; how they go on is stated
here for each alert. What an alert joins by its labels so is shown with the real ones.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.alert_rules import find_selectors, read_rules

#: In the notation of promtool, from the labels of a series; a value each minute.
Values = Callable[[Mapping[str, str]], str]
#: A sample as Prometheus' instant query returns it.
Sample = dict[str, Any]
DAY_MINUTES = 24 * 60


@dataclass(frozen=True)
class Course:
    """How the series of an alert go on, in minutes from 0, which is the time of the recording.

    Attributes:
        values: of the series that change, by name; others keep their value.
        fires_at: the alert fires then, and neither `quiet_at` nor `resolved_at`.
        resolved_at: the end.
        step_minutes: between two evaluations of the rules.
    """

    values: Mapping[str, Values] = field(default_factory=dict)
    quiet_at: int = 0
    fires_at: int = 0
    resolved_at: int = 0
    step_minutes: float = 0.25


def _steady(text: str) -> Values:
    return lambda _labels: text


def _skewed(labels: Mapping[str, str]) -> str:
    """Return requests of a slot: two a second for a stable, none for the canary, then as due."""
    return "0x30 0+60x30" if labels["slot"] == "canary" else "0+120x60"


def _rejected(labels: Mapping[str, str]) -> str:
    """Return lines a minute: 40 rejected ones for 40 minutes, then none; 95 of each other kind."""
    return "0+40x40 1600x60" if labels["kind"] == "rejected" else "0+95x100"


def _aged_days(days: int) -> Values:
    """Return the time of an event at 1 s (0 is none), and after `days` of one just then."""
    minutes = days * DAY_MINUTES
    return _steady(f"1x{minutes - 1} {minutes * 60}x300")


REQUESTS = "flask_http_request_duration_seconds_count"
COURSES = {
    "TrafficSplitSkewed": Course({REQUESTS: _skewed}, 10, 25, 55),
    "ModelStale": Course(
        {"marquee_model_age_seconds": _steady(f"0+60x{5 * DAY_MINUTES - 1} 0+60x300")},
        3 * DAY_MINUTES, 4 * DAY_MINUTES + 60, 5 * DAY_MINUTES + 60, 10,
    ),
    "VersionConflict": Course(
        {"marquee_provenance_version_conflicts_total": _steady("0x9 1x120")}, 9, 12, 90
    ),
    "RetrainOverdue": Course(
        {
            "marquee_retrain_last_success_timestamp_seconds": _aged_days(4),
            "marquee_retrain_configured": _steady("1x7000"),
        },
        2 * DAY_MINUTES, 3 * DAY_MINUTES + 30, 4 * DAY_MINUTES + 30, 10,
    ),
    "NotificationBacklog": Course(
        {"marquee_notification_outbox_messages": _steady("0x9 1x70 0x120")}, 50, 75, 180, 1
    ),
    "KafkaConsumerLagHigh": Course(
        {"marquee_kafka_consumer_lag": _steady("0x9 400000x30 0x30")}, 15, 25, 50
    ),
    "KafkaMessagesLost": Course(  # part `alerts` has its cause, but does not wait for its end
        {
            "marquee_kafka_messages_lost_total": _steady("0x9 5x90"),
            "marquee_kafka_last_loss_timestamp_seconds": _steady("_x9 600x90"),
        },
        5, 15, 80,
    ),
    "RecentActivityUnused": Course(
        {
            "marquee_recent_unused_total": _steady("0x9 0+10x40 400x60"),
            "marquee_recommendations_total": _steady("0+100x120"),
        },
        15, 30, 90,
    ),
    "ParseErrorsHigh": Course({"marquee_ingest_lines_total": _rejected}, 10, 35, 90),
    "MetadataStale": Course(
        {"marquee_metadata_last_success_timestamp_seconds": _aged_days(3)},
        DAY_MINUTES, 2 * DAY_MINUTES + 30, 3 * DAY_MINUTES + 30, 10,
    ),
    "MetadataThreadStuck": Course(
        {"marquee_metadata_heartbeat_timestamp_seconds": _steady("1x59 3600x20")}, 25, 40, 65
    ),
    "BackupTooOld": Course(
        {"marquee_backup_last_success_timestamp_seconds": _aged_days(3)},
        2 * DAY_MINUTES + 30, 2 * DAY_MINUTES + 90, 3 * DAY_MINUTES + 30, 10,
    ),
    "ReleaseInconclusive": Course(
        {"marquee_release_window_extended": _steady("0x9 1x20 0x20")}, 5, 15, 40
    ),
    "ReleaseFailed": Course(
        {"marquee_release_completed_timestamp_seconds": _steady("_x59 3600x2000")},
        30, 90, DAY_MINUTES + 90, 10,
    ),
    "ReleaseStuck": Course(
        {
            "marquee_release_in_progress": _steady("1x59 0x20"),
            "marquee_release_heartbeat_timestamp_seconds": _steady("0x80"),
        },
        25, 40, 65,
    ),
}  # fmt: skip


def find_inputs(alert: str) -> set[str]:
    """Return the selectors of the exported series that an alert depends on.

    Those of the recording rules that it names are included.
    """
    expressions = {rule.get("alert") or rule["record"]: rule["expr"] for rule in read_rules()}
    found, waiting = set(), {alert}
    while waiting:
        for selector in find_selectors(expressions[waiting.pop()]):
            name = selector.partition("{")[0]
            if name in expressions:
                waiting.add(name)
            else:
                found.add(selector)
    return found


def create_test(alert: str, course: Course, samples: Mapping[str, list[Sample]], now: float) -> str:
    """Return a test file for promtool, as JSON (which is YAML).

    Args:
        alert: its name.
        course: how its series go on.
        samples: of each of `find_inputs`.
        now: time of the samples, in seconds since 1970. Times in values become relative to it.
    """
    series: dict[str, str] = {}
    for sample in (sample for found in samples.values() for sample in found):
        labels = dict(sample["metric"])
        name = labels.pop("__name__")
        texts = ", ".join(f"{key}={json.dumps(value)}" for key, value in labels.items())
        value = float(sample["value"][1]) - (now if "_timestamp_" in name else 0)
        keep = f"{value:f}x{course.resolved_at}"
        series[f"{name}{{{texts}}}"] = course.values.get(name, _steady(keep))(labels)
    firing = f'group by (alertname) (ALERTS{{alertname="{alert}", alertstate="firing"}})'
    expected: list[dict[str, object]] = [{"labels": f'{{alertname="{alert}"}}', "value": 1}]
    rules = [f"/etc/prometheus/rules/{name}.yml" for name in ("recording", "alerts")]
    return json.dumps(
        {
            "rule_files": rules,
            "evaluation_interval": f"{round(course.step_minutes * 60)}s",
            "tests": [
                {
                    "name": alert,
                    "interval": "1m",
                    "input_series": [
                        {"series": name, "values": values} for name, values in series.items()
                    ],
                    "promql_expr_test": [
                        {"expr": firing, "eval_time": f"{minute}m", "exp_samples": samples}
                        for minute, samples in (
                            (course.quiet_at, []),
                            (course.fires_at, expected),
                            (course.resolved_at, []),
                        )
                    ],
                }
            ],
        }
    )
