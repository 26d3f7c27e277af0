"""`marquee recommend` and `marquee verify`."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

import click

from app.settings import Settings

MODEL = click.option(
    "--model",
    type=click.Path(path_type=Path),
    default=None,
    help="Model directory. [default: setting model_dir]",
)


@click.command(epilog="Example: marquee verify model && echo fit to serve")
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def verify(settings: Settings, model: Path | None, as_json: bool) -> None:
    """Check a model directory whole: manifest, sizes, shapes, SHA-256 of each file, content.

    Exit status: 0 fit to serve, 1 refused (the reason is printed), 2 wrong usage.
    """
    from app.model.manifest import ArtifactError
    from app.model.verify import verify_model

    model = model or settings.model_dir
    try:
        manifests = verify_model(model)
    except ArtifactError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({kind: m.model_dump(mode="json") for kind, m in manifests.items()}))
        return
    for kind, manifest in manifests.items():
        click.echo(
            f"{model / kind}: version {manifest.version}, {manifest.users:,} users, "
            f"{manifest.items:,} movies, hash {manifest.model_hash[:12]}"
        )


@click.command(
    epilog="Examples: marquee recommend --model model 42 43;"
    "  marquee recommend --users-file users.txt > lists.tsv"
)
@MODEL
@click.option("--n", "n", type=click.IntRange(1, 50), default=20, show_default=True)
@click.option("--users-file", type=click.File("r"), help="User ids, one a line; - for stdin.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@click.argument("users", nargs=-1, type=click.IntRange(0, 2**63 - 1))
@click.pass_obj
def recommend(
    settings: Settings,
    model: Path | None,
    n: int,
    users_file: TextIO | None,
    as_json: bool,
    users: tuple[int, ...],
) -> None:
    """Print what users would be recommended: `user_id<TAB>id,id,...` a line, best first."""
    from app.model.manifest import ArtifactError
    from app.model.recommendation_lists import RecommendationLists

    if bool(users) == bool(users_file):
        raise click.UsageError("give user ids, or --users-file, and not both")
    try:
        lists = RecommendationLists.open(model or settings.model_dir, n, settings.hidden)
    except ArtifactError as error:
        raise click.ClickException(str(error)) from error
    for user in users or _read_users(users_file or sys.stdin):
        answer = lists.answer(user)
        if as_json:
            movies = answer.text.split(",") if answer.text else []
            click.echo(json.dumps({"user_id": user, "movie_ids": movies, "source": answer.source}))
        else:
            click.echo(f"{user}\t{answer.text}")


def _read_users(lines: Iterable[str]) -> Iterator[int]:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        if not (text.isascii() and text.isdigit() and int(text) < 2**63):
            raise click.ClickException(f"users file, line {number}: not a user id: {text[:40]!r}")
        yield int(text)
