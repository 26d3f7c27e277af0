"""`marquee test-data`, `retrain`, `schedule` and `restore`."""

import json
from pathlib import Path
from typing import Any

import click

from app.cli_errors import explain_errors
from app.json_output import print_json
from app.settings import Settings

_PATH = click.Path(path_type=Path)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command(
    epilog="Example (in dvc.yaml): marquee test-data --tables data/prepared --out reports/data.json"
)
@click.option("--tables", type=_PATH, required=True, help="Directory that `prepare` wrote.")
@click.option("--prepare-summary", type=_PATH, help="What `prepare --json` printed.")
@click.option(
    "--window",
    "window_file",
    type=_PATH,
    help="data/window.json: which events are the batch. [default: none]",
)
@click.option("--params", type=_PATH, default="params.yaml", show_default=True, help="The limits.")
@click.option("--out", type=_PATH, help="Also write the report as JSON to this file.")
@_JSON
@click.pass_obj
def test_data(
    settings: Settings,
    tables: Path,
    prepare_summary: Path | None,
    window_file: Path | None,
    params: Path,
    out: Path | None,
    as_json: bool,
) -> None:
    """Check the tables before a model is trained on them.

    Checks schema, ranges, missing values, duplicates and the share of damaged movie ids; of the
    newest batch its volume and the drift of ratings and popularity. Exit status: 0 passed,
    1 rejected (the reasons are printed), 2 wrong usage.
    """
    from app.atomic_files import write_file
    from app.auto_deployment.retraining_policy import read_limits, validate_data
    from app.ingest.data_window import DataWindow, read_window

    with explain_errors():
        summary = _read_json(prepare_summary) if prepare_summary else {}
        window = read_window(window_file) if window_file else DataWindow()
        rating_scale = (settings.rating_min, settings.rating_max)
        report = validate_data(tables, summary, window, read_limits(params).checks, rating_scale)
        content = report.to_dict()
        if out:
            out.parent.mkdir(parents=True, exist_ok=True)
            write_file(out, (json.dumps(content, indent=1) + "\n").encode())
    if as_json:
        print_json(content)
    elif report.passed:
        click.echo(f"passed: {content['ratings']:,} ratings, {content['watches']:,} watches")
    if not report.passed:
        raise click.ClickException("rejected: " + "; ".join(report.blocking + report.rejected))


def _read_json(path: Path) -> dict[str, Any]:
    from app.auto_deployment.errors import DeploymentError
    from app.text_files import TextError, parse_json

    try:
        content = parse_json(path.read_bytes())
    except TextError as error:
        raise DeploymentError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise DeploymentError(f"{path}: not a JSON object")
    return content


@click.command(
    epilog="Examples: MARQUEE_GIT_REMOTE=git@git.example:us/marquee.git marquee retrain;"
    "  docker compose exec scheduler marquee retrain --json"
)
@click.option(
    "--accept-data", is_flag=True, help="Include rejected batches and skip the data checks."
)
@click.option("--force", is_flag=True, help="Make a version even if nothing has changed.")
@_JSON
@click.pass_obj
def retrain(settings: Settings, accept_data: bool, force: bool, as_json: bool) -> None:
    """Make a version from the collected data: check, train, evaluate, commit, push, notify.

    Works in a clone of its own (`workspace_dir`). A run resumes one that failed or was killed
    after its commit. Unchanged data, code and parameters make no version. Exit status: 0 published,
    unchanged, no data yet or disabled (no `git_remote`); 1 data rejected, gate failed, failed, or
    another run is in progress.
    """
    import sys
    from dataclasses import asdict

    from app.auto_deployment.auto_deploy import UNSUCCESSFUL
    from app.auto_deployment.auto_deploy import retrain as run
    from app.notifications.channels import open_channels
    from app.notifications.notifier import Notifier
    from app.shutdown import exit_on_sigterm

    exit_on_sigterm()  # ends the child processes, too
    with explain_errors():
        notifier = Notifier(settings.outbox_dir, open_channels(settings))
        result = run(settings, notifier, accept_data=accept_data, force=force)
    if as_json:
        print_json(asdict(result))
    else:
        click.echo("\n".join(line for line in (result.subject, result.body) if line))
    sys.exit(1 if result.status in UNSUCCESSFUL else 0)


@click.command(epilog="Example (in the compose file): marquee schedule")
@click.pass_obj
def schedule(settings: Settings) -> None:
    """Retrain every `retrain_interval_hours`, until SIGTERM or Ctrl-C.

    The next run is due that long after the last one ended, also across restarts; a missed run is
    made up for once, a failed one is retried after `retrain_retry_minutes`, and two never overlap.
    Answers `/metrics` and `/health` at `scheduler_bind`. Without `git_remote` it starts no run.
    """
    from app.auto_deployment.scheduler import run_scheduler

    run_scheduler(settings)


@click.command(
    epilog="Examples: marquee restore;  marquee restore 6 --json;"
    "  MARQUEE_DVC_REMOTE=/srv/versions marquee restore 6"
)
@click.argument("version", metavar="[N]", type=click.IntRange(0), required=False)
@click.option(
    "--tree",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=".",
    help="The clone. [default: this directory]",
)
@_JSON
@click.pass_obj
def restore(settings: Settings, version: int | None, tree: Path, as_json: bool) -> None:
    """Restore data and model of version N (default: that of version.txt) in this clone.

    They come from DVC's cache or remote and are compared with the hashes that the version's commit
    names. Another version than the clone's is found by its tag `version-N`, and also changes the
    files that describe it (version.txt, dvc.lock), in the working tree only. Exit status: 0 done,
    1 failed (the reason is printed).
    """
    from app.auto_deployment.git_dvc import CommandTimeouts, WorkingTree
    from app.auto_deployment.restore import restore_version

    with explain_errors():
        working_tree = WorkingTree(tree, timeouts=CommandTimeouts.of(settings))
        working_tree.set_dvc_remote(settings.dvc_remote)
        restored = restore_version(working_tree, version)
    if as_json:
        print_json(restored)
    else:
        paths = " and ".join(restored["restored"])
        click.echo(f"version {restored['version']} in {paths}, hash {restored['model_hash'][:12]}")


@click.command(
    epilog="Examples: marquee report;  marquee report --tables data/prepared --hours 48 --json"
)
@click.option(
    "--tree",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=".",
    help="A clone with the versions' tags. [default: this directory]",
)
@click.option(
    "--tables", type=_PATH, help="Directory of `prepare`: also count what answers caused."
)
@click.option(
    "--hours",
    type=click.FloatRange(0, min_open=True),
    default=24.0,
    show_default=True,
    help="An event counts as caused so long after an answer that showed the movie.",
)
@_JSON
@click.pass_obj
def report(
    settings: Settings, tree: Path, tables: Path | None, hours: float, as_json: bool
) -> None:
    """Report how the lists of versions change, and how many events followed our own answers.

    By version, from the reports in its commit: nDCG, coverage, Gini coefficient of exposure,
    similarity between users' lists, share of the most popular movies. With --tables: the share of
    the events in these tables whose movie an answer had shown to the user before, by the records
    of provenance. docs/fairness.md explains both.
    """
    from datetime import timedelta

    from app.auto_deployment.feedback_report import count_caused, format_report
    from app.auto_deployment.git_dvc import WorkingTree
    from app.auto_deployment.version_reports import read_version_reports

    with explain_errors():
        content = {
            "versions": read_version_reports(WorkingTree(tree)),
            "window_hours": hours,
            "shown_events": None
            if tables is None
            else count_caused(settings, tables, timedelta(hours=hours)),
        }
    if as_json:
        print_json(content)
    else:
        click.echo(format_report(content))
