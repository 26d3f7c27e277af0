"""`marquee quality`."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from app.cli_errors import explain_errors
from app.durations import Duration
from app.json_output import print_json
from app.settings import Settings

_DAY_SECONDS = 86_400.0
_UTC = click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"])


class _ModelOption(click.ParamType[tuple[int, Path]]):
    """Type of an option `VERSION=DIRECTORY`."""

    name = "version=directory"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, Path]:
        """Convert `8=model` to the number and the path."""
        number, equals, path = str(value).partition("=")
        if not (equals and path and number.isascii() and number.isdecimal()):
            self.fail(f"{value!r} is not VERSION=DIRECTORY", param, ctx)
        return int(number), Path(path)


@click.command(
    epilog="Examples: marquee quality --days 7  ·  marquee quality --candidate 8 --production 7"
    " --start 2026-11-26T12:00 --model 8=model --model 7=/tmp/model-7 --save --json"
)
@click.option("--candidate", type=click.IntRange(0), help="Version that is compared.")
@click.option(
    "--production",
    type=click.IntRange(0),
    help="Version that it is compared with. [default: the one with the most answers]",
)
@click.option(
    "--days",
    type=click.FloatRange(0.01, 3650),
    default=7.0,
    show_default=True,
    help="Days of answers, up to now or --end; not used with --start.",
)
@click.option("--start", type=_UTC, help="First answer, UTC.")
@click.option("--end", type=_UTC, help="Before which the answers were given, UTC. [default: now]")
@click.option(
    "--past",
    type=Duration(),
    default="14d",
    show_default=True,
    help="How long before the start a user's answers predict the later ones.",
)
@click.option(
    "--model",
    "models",
    type=_ModelOption(),
    multiple=True,
    help="Model of a version, to make the lists that it would have answered. Twice for both.",
)
@click.option(
    "--fetch",
    "cache",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIRECTORY",
    help="Fetch both models from the repository of versions into this directory, which keeps 4.",
)
@click.option("--save", is_flag=True, help="Insert the result into the database.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def quality(
    settings: Settings,
    candidate: int | None,
    production: int | None,
    days: float,
    start: datetime | None,
    end: datetime | None,
    past: float,
    models: tuple[tuple[int, Path], ...],
    cache: Path | None,
    save: bool,
    as_json: bool,
) -> None:
    """Compare what users watch of the recommendations of two versions.

    A watch is credited to the last answer before it that held the movie, within 1 h and within
    24 h. The difference is paired within users; docs/quality.md describes the method. By default
    the newer of the two versions with the most answers is compared with the other.

    Reads the database and the event store. With --save, the shipper exports the result to
    Prometheus.

    Exit status: 0 for any result, 1 it cannot be computed (no answers of two versions, no watches,
    the database is unreachable), 2 wrong usage.
    """
    from datetime import UTC, timedelta

    from app.canary_analysis.limits import Limits
    from app.canary_analysis.quality_check import describe_quality, parse_difference
    from app.provenance.database import connect, translate_errors
    from app.quality.measure import Period, Versions, measure_quality
    from app.quality.model_cache import ModelCache
    from app.quality.results import format_quality, save_quality

    if models and cache:
        raise click.UsageError("give --model or --fetch")
    if candidate is None and production is not None:
        raise click.UsageError("--production needs --candidate")
    if candidate is not None and candidate == production:
        raise click.UsageError("--candidate and --production are the same version")
    end = end or datetime.now(UTC).replace(tzinfo=None)
    start = start or end - timedelta(seconds=days * _DAY_SECONDS)
    if start >= end:
        raise click.UsageError("--start must be before the end")
    versions = Versions(candidate, production)
    period = Period(start, end, timedelta(seconds=past))
    with explain_errors(), translate_errors():
        engine = connect(settings)
        find_models = ModelCache(cache, settings).fetch if cache else lambda _: dict(models)
        result = measure_quality(settings, engine, period, versions, find_models)
        result["judgement"] = describe_quality(parse_difference(result), Limits())
        if save:
            save_quality(engine, result)
    if as_json:
        print_json(result)
    else:
        click.echo("\n".join(format_quality(result)))
