"""`marquee fairness` and `marquee explain-ranking`."""

import json
from pathlib import Path

import click

from app.cli_errors import explain_errors
from app.json_output import print_json, replace_non_finite
from app.settings import Settings

_PATH = click.Path(path_type=Path)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_PARAMS = Path("params.yaml")


@click.command(
    epilog="Examples: marquee fairness --model model --ratings held_out.parquet;"
    "  marquee fairness --model build/validation --tables data/prepared/test"
    " --metadata data/prepared --out reports/fairness.json --page reports/fairness.md"
)
@click.option("--model", type=_PATH, help="Model directory. [default: setting model_dir]")
@click.option("--ratings", type=_PATH, help="Held-out ratings, as for `train`.")
@click.option("--watches", type=_PATH, help="Held-out watches, as for `train`.")
@click.option("--tables", type=_PATH, help="Directory with both.")
@click.option(
    "--metadata", type=_PATH, help="Directory with users.parquet, movies.parquet of `enrich`."
)
@click.option(
    "--k", type=click.IntRange(1, 1000), default=10, show_default=True, help="Movies per user."
)
@click.option(
    "--before", type=_PATH, help="Compare the groups with this model instead of describing them."
)
@click.option("--params", type=_PATH, default=_PARAMS, show_default=True, help="Parameters.")
@click.option("--out", type=_PATH, help="Also write the report as JSON to this file.")
@click.option("--page", type=_PATH, help="Also write it as Markdown to this file.")
@_JSON
@click.pass_obj
def fairness(
    settings: Settings,
    model: Path | None,
    ratings: Path | None,
    watches: Path | None,
    tables: Path | None,
    metadata: Path | None,
    k: int,
    before: Path | None,
    params: Path,
    out: Path | None,
    page: Path | None,
    as_json: bool,
) -> None:
    """Report whom a model serves how well, and which movies it shows.

    By gender, age, occupation, activity and whether the model knows the user: ranking quality,
    coverage and popularity of the recommended movies, with intervals and corrected tests; by
    decade, genre and popularity: exposure of movies. With --before, the nDCG of each group beside
    that of another model, on events that neither was trained on. docs/fairness.md explains both.
    """
    from app.fairness.page import write_comparison, write_page
    from app.fairness.params import read_fairness_params, read_max_regression
    from app.fairness.report import ReportInput, compare_with_model, make_report
    from app.ingest.time_limits import TimeLimits
    from app.training.commands import find_tables
    from app.training.load import load_interactions

    ratings, watches, *_ = find_tables(tables, ratings, watches)
    with explain_errors():
        section, age_bands, seed = read_fairness_params(params)
        scale = (settings.rating_min, settings.rating_max)
        held_out = load_interactions(
            ratings, watches, scale, times=TimeLimits.from_settings(settings)
        )
        source = ReportInput(
            model or settings.model_dir, held_out, metadata, k, section, age_bands, seed
        )
        if before is None:
            report = make_report(source)
            text = write_page(report)
        else:
            report = compare_with_model(source, before, read_max_regression(params))
            text = write_comparison(report)
        report = replace_non_finite(report)
        _write(out, json.dumps(report, indent=1, allow_nan=False) + "\n")
        _write(page, text)
    if as_json:
        print_json(report)
    else:
        click.echo(text, nl=False)


@click.command(epilog="Example: marquee explain-ranking --model model --out reports/ranking.md")
@click.option("--model", type=_PATH, help="Model directory. [default: setting model_dir]")
@click.option("--out", type=_PATH, help="Write the page to this file instead.")
@click.pass_obj
def explain_ranking(settings: Settings, model: Path | None, out: Path | None) -> None:
    """Print in plain words what the ranking of a model goes by, and with which weights."""
    from app.fairness.ranking_page import write_ranking_page
    from app.model.manifest import read_manifest
    from app.model.recommendation_lists import LISTS

    with explain_errors():
        text = write_ranking_page(read_manifest((model or settings.model_dir) / LISTS, "lists"))
        _write(out, text)
    if out is None:
        click.echo(text, nl=False)


def _write(path: Path | None, text: str) -> None:
    from app.atomic_files import write_file

    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text.encode())
