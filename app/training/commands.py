"""`marquee train`, `marquee tune` and `marquee evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli_errors import explain_errors
from app.engine_options import engine_options, find_master
from app.json_output import print_json
from app.recent_events import KEPT_MOVIES, OLDER_MOVIES
from app.settings import Settings

if TYPE_CHECKING:
    from app.training.params import Params
    from app.training.pipeline import TrainingJob

_FILE = click.Path(path_type=Path)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_TABLES = click.option(
    "--tables", type=_FILE, help="Directory that `prepare` wrote: use every table in it."
)
_PARAMS = Path("params.yaml")
_TUNING_PAGE, _REPLAY_PAGE = Path("docs/tuning.md"), Path("docs/tuning-replay.md")


@click.command(
    epilog="Examples: marquee train --ratings ratings.parquet --out model;"
    "  marquee train --watches watches.parquet --users users.csv --out model --seed 7 --json"
)
@click.option("--ratings", type=_FILE, help="Ratings: Parquet from `prepare`, or a text table.")
@click.option("--watches", type=_FILE, help="Watches: Parquet from `prepare`.")
@click.option("--users", type=_FILE, help="User attributes: user_id, age, gender.")
@click.option("--movies", type=_FILE, help="Movie lengths in minutes: movie_id, length.")
@_TABLES
@click.option("--evaluation", type=_FILE, help="Output of `evaluate --json`, for the manifest.")
@click.option("--out", type=_FILE, required=True, help="Model directory to write or replace.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Instead of the parameters' seed.")
@click.option(
    "--params", type=_FILE, default=_PARAMS, show_default=True, help="Parameters of the model."
)
@click.option("--version-number", type=click.IntRange(0), help="Instead of version.txt's number.")
@engine_options
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
    params: Path,
    version_number: int | None,
    engine: str | None,
    master: str | None,
    as_json: bool,
) -> None:
    """Train a model: rating predictor, ranking, and every user's list.

    At least one of --ratings, --watches and --tables is needed. The model directory is written
    atomically. Same input, parameters and seed on the same machine give the same model hash.

    On Spark, tables are Parquet as `prepare` writes them, and MLlib fits the ALS: a little
    different factors, the same artifact.
    """
    url = find_master(settings, engine, master)
    ratings, watches, users, movies = find_tables(tables, ratings, watches, users, movies)
    from app.ingest.time_limits import TimeLimits
    from app.training.code_version import read_evaluation, read_version
    from app.training.params import read_params
    from app.training.pipeline import TrainingJob, run_training

    with explain_errors():
        parameters = read_params(params)
        if seed is not None:
            parameters = parameters.model_copy(update={"seed": seed})
        version = read_version(Path("version.txt")) if version_number is None else version_number
        scale = (settings.rating_min, settings.rating_max)
        metrics = None if evaluation is None else read_evaluation(evaluation)
        times = TimeLimits.from_settings(settings)
        job = TrainingJob(
            ratings, watches, users, movies, out, version, scale, metrics, times,
            settings.train_block_pairs,
        )  # fmt: skip
        if url is None:
            summary = run_training(job, parameters)
        else:
            summary = _train_on_spark(url, settings, job, parameters)
    if as_json:
        print_json(summary)
        return
    data = summary["data"]
    click.echo(
        f"{out}: version {summary['version']}, {data['users']:,} users, {data['movies']:,} movies, "
        f"{data['pairs']:,} pairs, hash {summary['model_hash'][:12]}, "
        f"{sum(summary['seconds'].values()):.1f} s"
    )


def _train_on_spark(
    master: str, settings: Settings, job: "TrainingJob", params: "Params"
) -> dict[str, Any]:
    from app.spark.cluster import connect
    from app.spark.files import scratch_directory
    from app.training.model_writer import check_target
    from app.training.pipeline import run_training
    from app.training.spark.fit import SparkFit

    check_target(job.out)
    scratch = settings.spark_scratch
    with (
        connect(master, "train") as cluster,
        scratch_directory(job.out, Path(scratch) if scratch else None) as directory,
    ):
        return run_training(job, params, SparkFit(cluster, directory))


@click.command(
    epilog="Examples: marquee tune --ratings ratings.parquet --budget 600s;"
    "  marquee tune --ratings ratings.csv --out found.yaml --budget 150 --seed 1 --json;"
    "  marquee tune --ratings ratings.csv --study build/tuning.journal"
)
@click.option("--ratings", type=_FILE, help="Ratings, as for `train`.")
@click.option("--watches", type=_FILE, help="Watches, as for `train`.")
@click.option("--movies", type=_FILE, help="Movie lengths, as for `train`.")
@click.option(
    "--params", type=_FILE, default=_PARAMS, show_default=True, help="Parameters to begin with."
)
@click.option("--out", type=_FILE, help="Parameter file to write. [default: that of --params]")
@click.option(
    "--report",
    type=_FILE,
    help="Page to write. [default: docs/tuning.md, or docs/tuning-replay.md, if params.yaml is "
    "written]",
)
@click.option(
    "--replay", is_flag=True, help="Search how recent events count (`recent`), by a replay."
)
@click.option("--study", type=_FILE, help="Journal of the trials, to resume an interrupted search.")
@click.option("--fix", multiple=True, help="Do not search this parameter, such as als.factors.")
@click.option("--budget", default="200", show_default=True, help="Trials, or seconds such as 600s.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Seed of splits and search.")
@_JSON
@click.pass_obj
def tune(
    settings: Settings,
    ratings: Path | None,
    watches: Path | None,
    movies: Path | None,
    params: Path,
    out: Path | None,
    report: Path | None,
    replay: bool,
    study: Path | None,
    fix: tuple[str, ...],
    budget: str,
    seed: int | None,
    as_json: bool,
) -> None:
    """Search the ranking's parameters on events held out of the training data.

    Each trial is evaluated on random and temporal splits, and for unknown and cold-start users. A
    budget of trials gives the same result each time, also when the search was interrupted and
    resumed with --study; a budget of seconds need not. The parameter file keeps its comments.

    With --replay, only how recent events count is searched: the newest quarter of the events is
    replayed in the order of time with a model of the others, as by `evaluate --replay`.
    """
    if ratings is None and watches is None:
        raise click.UsageError("give --ratings, --watches or both")
    from app.ingest.time_limits import TimeLimits
    from app.training.tuning.search import Budget
    from app.training.tuning.tune import TuningJob, run_tuning

    try:
        size = Budget.parse(budget)
    except ValueError as error:
        raise click.UsageError(f"--budget: {error}") from error
    target = out or params
    page = report or ((_REPLAY_PAGE if replay else _TUNING_PAGE) if target == _PARAMS else None)
    scale = (settings.rating_min, settings.rating_max)
    command = f"marquee tune{' --replay' if replay else ''} --budget {budget}"
    times = TimeLimits.from_settings(settings)
    job = TuningJob(
        ratings, watches, movies, scale, params, target, page, study, fix, command, times, replay
    )
    with explain_errors():
        summary = run_tuning(job, size, seed)
    if as_json:
        print_json(summary)
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
@click.option(
    "--k", type=click.IntRange(1, 1000), default=10, show_default=True, help="Movies per user."
)
@click.option(
    "--replay",
    is_flag=True,
    help="Also replay the events in the order of time, with recent events.",
)
@click.option(
    "--kept-movies",
    type=click.IntRange(1, 1000),
    default=KEPT_MOVIES,
    show_default=True,
    help="Replay: number of recent movies that are kept of each user.",
)
@click.option(
    "--older-movies",
    type=click.IntRange(0, 1000),
    default=OLDER_MOVIES,
    show_default=True,
    help="Replay: number of movies before them that are not recommended again.",
)
@click.option(
    "--max-events",
    type=click.IntRange(1),
    default=20_000,
    show_default=True,
    help="Replay: recommend before at most so many events, drawn at random.",
)
@_JSON
@click.pass_obj
def evaluate(
    settings: Settings,
    model: Path | None,
    ratings: Path | None,
    watches: Path | None,
    tables: Path | None,
    k: int,
    replay: bool,
    kept_movies: int,
    older_movies: int,
    max_events: int,
    as_json: bool,
) -> None:
    """Evaluate a model's recommendations, as they are served, on held-out events.

    Unknown users are evaluated with the popular movies that are served to them. RMSE and MAE are
    those of the rating predictor. --replay recommends before each event, as the service does that
    knows the user's earlier held-out events once they are older than a lag, and prints how often
    the next movie is among 20. docs/model.md defines every metric.
    """
    ratings, watches, _, _ = find_tables(tables, ratings, watches)
    from app.ingest.time_limits import TimeLimits
    from app.training.evaluate import evaluate as evaluate_model
    from app.training.load import load_interactions
    from app.training.replay import replay_model

    with explain_errors():
        scale = (settings.rating_min, settings.rating_max)
        times = TimeLimits.from_settings(settings)
        held_out = load_interactions(ratings, watches, scale, times=times)
        result = evaluate_model(model or settings.model_dir, held_out, k)
        if replay:
            result["replay"] = replay_model(
                model or settings.model_dir, held_out, kept_movies, older_movies, max_events
            )
    if as_json:
        print_json(result)
        return
    quarters, replayed = result.pop("by_activity"), result.pop("replay", None)
    if replay and replayed is None:
        click.echo("replay: no event has a time")
    for name, value in result.items():
        click.echo(f"{name:16}{_format(value)}")
    for quarter in quarters:
        low, high = quarter["events"] or ("-", "-")
        click.echo(
            f"ndcg {low}..{high} events: {_format(quarter['ndcg'])} ({quarter['users']} users)"
        )
    if replayed is not None:
        _print_replay(replayed)


def _print_replay(result: dict[str, Any]) -> None:
    """Print hit rate and nDCG by lag and group of events, one row each."""
    click.echo(f"\nreplay: the next movie among {result['length']}, {result['events']:,} events")
    click.echo(f"{'lag':>10} {'events':24}{'number':>10}{'hit rate':>10}{'ndcg':>10}")
    for lag in [*result["lags"], {"lag_seconds": None, **result["without_recent_events"]}]:
        seconds = lag["lag_seconds"]
        name = "without" if seconds is None else f"{seconds:,.0f} s"
        groups = {"all": lag, "known users": lag["known"], "unknown users": lag["unknown"]}
        for group in lag["by_movies"]:
            low, high = group["movies"]
            label = (
                f"{low} or more" if high is None else f"{low}" if low == high else f"{low}-{high}"
            )
            groups[f"movies known: {label}"] = group
        for label, row in groups.items():
            rates = f"{_format(row['hit_rate']):>10}{_format(row['ndcg']):>10}"
            click.echo(f"{name:>10} {label:24}{row['events']:>10,}{rates}")


def find_tables(
    tables: Path | None,
    ratings: Path | None,
    watches: Path | None,
    users: Path | None = None,
    movies: Path | None = None,
) -> tuple[Path | None, ...]:
    """Return the tables that are given by name, or else are in the directory."""
    given = {"ratings": ratings, "watches": watches, "users": users, "movies": movies}
    if tables is not None:
        for name, path in given.items():
            inside = tables / f"{name}.parquet"
            if path is None and inside.exists():
                given[name] = inside
    if given["ratings"] is None and given["watches"] is None:
        raise click.UsageError("give --ratings, --watches or both, or --tables with one of them")
    return tuple(given.values())


def _format(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
