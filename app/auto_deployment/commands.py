"""`marquee test-data`, `retrain`, `schedule` and `restore`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from app.settings import Settings

_PATH = click.Path(path_type=Path)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command(
    epilog="Example (dvc.yaml's): marquee test-data --tables data/prepared --out reports/data.json"
)
@click.option("--tables", type=_PATH, required=True, help="Directory that `prepare` wrote.")
@click.option("--prepared", type=_PATH, help="What `prepare --json` said of it.")
@click.option("--cycle", type=_PATH, help="Which events are new. [default: none are known to be]")
@click.option("--params", type=_PATH, default="params.yaml", show_default=True, help="Thresholds.")
@click.option("--out", type=_PATH, help="Also write what was found, as JSON.")
@_JSON
@click.pass_obj
def test_data(
    settings: Settings,
    tables: Path,
    prepared: Path | None,
    cycle: Path | None,
    params: Path,
    out: Path | None,
    as_json: bool,
) -> None:
    """Check the tables that a model is to be made from.

    Schema, ranges, missing values, duplicates, share of damaged movie ids; and of the newest batch
    its volume and the drift of ratings and popularity. Exit status: 0 fit, 1 refused (the reasons
    are printed), 2 wrong usage.
    """
    from app.atomic_files import write_file
    from app.auto_deployment.data_validation import check_data
    from app.auto_deployment.thresholds import read_checks
    from app.ingest.data_window import Cycle, read_cycle

    with told_plainly():
        said = json.loads(prepared.read_bytes()) if prepared else {}
        chosen = read_cycle(cycle) if cycle else Cycle()
        scale = (settings.rating_min, settings.rating_max)
        found = check_data(tables, said, chosen, read_checks(params), scale)
        if out:
            out.parent.mkdir(parents=True, exist_ok=True)
            write_file(out, (json.dumps(found, indent=1) + "\n").encode())
    if as_json:
        click.echo(json.dumps(found))
    elif found["passed"]:
        click.echo(f"fit: {found['ratings']:,} ratings, {found['watches']:,} watches")
    if not found["passed"]:
        raise click.ClickException("refused: " + "; ".join(found["held"] + found["refused"]))


@click.command(
    epilog="Examples: MARQUEE_GIT_REMOTE=git@git.example:us/marquee.git marquee retrain;"
    "  docker compose exec scheduler marquee retrain --json"
)
@click.option("--accept-data", is_flag=True, help="Take in refused batches; do not judge the data.")
@click.option("--force", is_flag=True, help="Make a version even if nothing has changed.")
@_JSON
@click.pass_obj
def retrain(settings: Settings, accept_data: bool, force: bool, as_json: bool) -> None:
    """Make a version of what was collected: check, train, judge, commit, push, tell people.

    Works in a clone of its own (`workspace_dir`). A run that failed or was killed is gone on with
    by the next; data, code and parameters that have not changed make no version. Exit status:
    0 published, unchanged or idle (no `git_remote`), 1 refused, not passed, failed, or another
    run is under way.
    """
    import signal
    import sys
    from dataclasses import asdict

    from app.auto_deployment.auto_deploy import QUIET
    from app.auto_deployment.auto_deploy import retrain as run
    from app.notifications.channels import open_channels
    from app.notifications.notifier import Notifier

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an orderly end, children included
    with told_plainly():
        notifier = Notifier(settings.outbox_dir, open_channels(settings))
        outcome = run(settings, notifier, accept=accept_data, force=force)
    if as_json:
        click.echo(json.dumps(asdict(outcome)))
    else:
        click.echo("\n".join(line for line in (outcome.subject, outcome.body) if line))
    sys.exit(0 if outcome.status in QUIET else 1)


@click.command(epilog="Example (the compose file's): marquee schedule")
@click.pass_obj
def schedule(settings: Settings) -> None:
    """Retrain every `retrain_interval_hours`, until SIGTERM or Ctrl-C.

    Goes by how the last run ended, across restarts; a missed one is made up for once, one that
    failed for a fault outside is tried again sooner, two never overlap. Answers `/metrics` and
    `/health` at `scheduler_bind`. Without `git_remote` it idles.
    """
    from app.auto_deployment.scheduler import work

    work(settings)


@click.command(
    epilog="Examples: marquee restore;  marquee restore 6 --json;"
    "  MARQUEE_DVC_REMOTE=/srv/versions marquee restore 6"
)
@click.argument("number", metavar="[N]", type=click.IntRange(0), required=False)
@click.option(
    "--tree",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=".",
    help="The clone. [default: this directory]",
)
@_JSON
@click.pass_obj
def restore(settings: Settings, number: int | None, tree: Path, as_json: bool) -> None:
    """Bring data and model of version N (default: that of version.txt) into this clone.

    They come from DVC's cache or remote and are compared with the hashes that the version's commit
    names. For another version than the tree's, the files that describe it (version.txt, dvc.lock)
    change too, in the working tree only. Exit status: 0 done, 1 failed with the reason.
    """
    from app.auto_deployment.git_dvc import Tree
    from app.auto_deployment.restore import restore as run

    with told_plainly():
        place = Tree(tree)
        place.use_remote(settings.dvc_remote)
        done = run(place, number)
    if as_json:
        click.echo(json.dumps(done))
    else:
        places = " and ".join(done["restored"])
        click.echo(f"version {done['version']} in {places}, hash {done['model_hash'][:12]}")


@contextmanager
def told_plainly() -> Iterator[None]:
    """End a command with a sentence for what this room knows to go wrong."""
    from app.auto_deployment.errors import DeploymentError
    from app.ingest.errors import IngestError
    from app.notifications.errors import NotificationError

    try:
        yield
    except (DeploymentError, IngestError, NotificationError) as error:
        raise click.ClickException(str(error)) from error
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{type(error).__name__}: {error}") from error
