"""`marquee train` and `marquee evaluate`."""

import json
from pathlib import Path

import click

from app.settings import Settings

_FILE = click.Path(path_type=Path)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_TABLES = click.option(
    "--tables", type=_FILE, help="Directory that `prepare` wrote: every table that is in it."
)
_PARAMS = Path("params.yaml")
_TUNING = Path("docs/tuning.md")


@click.command(
    epilog="Examples: marquee train --ratings ratings.parquet --out model;"
    "  marquee train --watches watches.parquet --users users.csv --out model --seed 7 --json"
)
@click.option("--ratings", type=_FILE, help="Ratings: Parquet from `prepare`, or CSV.")
@click.option("--watches", type=_FILE, help="Watches: Parquet from `prepare`.")
@click.option("--users", type=_FILE, help="User attributes: user_id, age, gender.")
@click.option("--movies", type=_FILE, help="Movies' lengths in minutes: movie_id, length.")
@_TABLES
@click.option(
    "--evaluation", type=_FILE, help="What `evaluate --json` said of it: goes into the manifest."
)
@click.option("--out", type=_FILE, required=True, help="Model directory to make or replace.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="In place of the parameters' seed.")
@click.option(
    "--params",
    "params_file",
    type=_FILE,
    help="Parameters. [default: params.yaml, or the built-in ones where there is none]",
)
@click.option("--version-number", type=click.IntRange(0), help="In place of version.txt's number.")
@_JSON
@click.pass_obj
def train(
    settings: Settings,
    ratings: Path | None,
    watches: Path | None,
    users: Path | None,
    movies: Path | None,
    tables: Path | None,
    evaluation: Path | None,
    out: Path,
    seed: int | None,
    params_file: Path | None,
    version_number: int | None,
    as_json: bool,
) -> None:
    """Train a model: rating predictor, ranking, and every user's list.

    At least one of --ratings, --watches and --tables is needed. The model directory appears whole
    or not at all. Same input, parameters and seed on the same machine give the same model hash.
    """
    ratings, watches, users, movies = _named(tables, ratings, watches, users, movies)
    from app.ingest.errors import IngestError
    from app.training.code_version import read_evaluation, read_version
    from app.training.errors import TrainingError
    from app.training.params import Params, read_params
    from app.training.pipeline import Job
    from app.training.pipeline import train as run

    try:
        params = (
            read_params(params_file or _PARAMS) if params_file or _PARAMS.exists() else Params()
        )
        if seed is not None:
            params = params.model_copy(update={"seed": seed})
        version = read_version(Path("version.txt")) if version_number is None else version_number
        scale = (settings.rating_min, settings.rating_max)
        figures = None if evaluation is None else read_evaluation(evaluation)
        job = Job(ratings, watches, users, movies, out, version, scale, figures)
        summary = run(job, params)
    except (IngestError, TrainingError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(summary))
        return
    data = summary["data"]
    click.echo(
        f"{out}: version {summary['version']}, {data['users']:,} users, {data['movies']:,} movies, "
        f"{data['pairs']:,} pairs, hash {summary['model_hash'][:12]}, "
        f"{sum(summary['seconds'].values()):.1f} s"
    )


@click.command(
    epilog="Examples: marquee tune --ratings ratings.parquet --budget 600s;"
    "  marquee tune --ratings ratings.csv --out found.yaml --budget 150 --seed 1 --json"
)
@click.option("--ratings", type=_FILE, help="Ratings, as for `train`.")
@click.option("--watches", type=_FILE, help="Watches, as for `train`.")
@click.option("--movies", type=_FILE, help="Movies' lengths, as for `train`.")
@click.option("--params", "params_file", type=_FILE, help="Where to begin. [default: params.yaml]")
@click.option("--out", type=_FILE, help="Parameter file to write. [default: that of --params]")
@click.option(
    "--report", type=_FILE, help="Page to write. [default: docs/tuning.md beside params.yaml]"
)
@click.option("--fix", multiple=True, help="Leave this parameter as it is, as in als.factors.")
@click.option("--budget", default="200", show_default=True, help="Trials, or seconds such as 600s.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Of splits and search.")
@_JSON
@click.pass_obj
def tune(
    settings: Settings,
    ratings: Path | None,
    watches: Path | None,
    movies: Path | None,
    params_file: Path | None,
    out: Path | None,
    report: Path | None,
    fix: tuple[str, ...],
    budget: str,
    seed: int | None,
    as_json: bool,
) -> None:
    """Search the ranking's parameters on events held out of the training data.

    Every setting is scored at random and in time, for strangers and newcomers. A number of trials
    gives the same result each time; a number of seconds need not. The parameter file keeps its
    comments.
    """
    if ratings is None and watches is None:
        raise click.UsageError("give --ratings, --watches or both")
    from app.ingest.errors import IngestError
    from app.training.errors import TrainingError
    from app.training.tuning.job import TuneJob, run
    from app.training.tuning.search import Budget

    try:
        spend = Budget.parse(budget)
    except ValueError as error:
        raise click.UsageError(f"--budget: {error}") from error
    start = params_file or (_PARAMS if _PARAMS.exists() else None)
    command = f"marquee tune --budget {budget}"
    target = out or start or _PARAMS
    page = report or (_TUNING if target == _PARAMS else None)
    scale = (settings.rating_min, settings.rating_max)
    job = TuneJob(ratings, watches, movies, scale, start, target, page, fix, command)
    try:
        summary = run(job, spend, seed)
    except (IngestError, TrainingError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(summary))
        return
    for name, (old, new) in summary["changed"].items():
        click.echo(f"{name:28}{old:g} -> {new:g}")
    click.echo(
        f"{target}: mean ndcg {summary['score']['before']:.4f} -> {summary['score']['after']:.4f}, "
        f"{summary['trials']} trials, {summary['seconds']:.0f} s"
    )


@click.command(
    epilog="Example: marquee evaluate --model model --ratings held_out.parquet --k 10 --json"
)
@click.option("--model", type=_FILE, help="Model directory. [default: setting model_dir]")
@click.option("--ratings", type=_FILE, help="Held-out ratings, as for `train`.")
@click.option("--watches", type=_FILE, help="Held-out watches, as for `train`.")
@_TABLES
@click.option("--k", type=click.IntRange(1, 1000), default=10, show_default=True, help="Depth.")
@_JSON
@click.pass_obj
def evaluate(
    settings: Settings,
    model: Path | None,
    ratings: Path | None,
    watches: Path | None,
    tables: Path | None,
    k: int,
    as_json: bool,
) -> None:
    """Score held-out events against a model's lists as they are served.

    Users nobody knows are scored with the popular movies they are shown. RMSE and MAE are of the
    rating predictor. docs/model.md defines every figure.
    """
    ratings, watches, _, _ = _named(tables, ratings, watches)
    from app.ingest.errors import IngestError
    from app.model.manifest import ArtifactError
    from app.training.errors import TrainingError
    from app.training.evaluate import evaluate as run
    from app.training.load import read_events

    try:
        held_out = read_events(ratings, watches, (settings.rating_min, settings.rating_max))
        result = run(model or settings.model_dir, held_out, k)
    except (ArtifactError, IngestError, TrainingError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(result))
        return
    quarters = result.pop("by_activity")
    for name, value in result.items():
        click.echo(f"{name:16}{_figure(value)}")
    for quarter in quarters:
        low, high = quarter["events"] or ("-", "-")
        click.echo(
            f"ndcg {low}..{high} events: {_figure(quarter['ndcg'])} ({quarter['users']} users)"
        )


def _named(
    tables: Path | None,
    ratings: Path | None,
    watches: Path | None,
    users: Path | None = None,
    movies: Path | None = None,
) -> tuple[Path | None, ...]:
    """The tables named one by one, and those of a directory that are there."""
    given = {"ratings": ratings, "watches": watches, "users": users, "movies": movies}
    if tables is not None:
        for name, path in given.items():
            inside = tables / f"{name}.parquet"
            if path is None and inside.exists():
                given[name] = inside
    if given["ratings"] is None and given["watches"] is None:
        raise click.UsageError("give --ratings, --watches or both, or --tables with one of them")
    return tuple(given.values())


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
