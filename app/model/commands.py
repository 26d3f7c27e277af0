"""`marquee recommend` and `marquee verify`."""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from app.cli_errors import explain_errors
from app.json_output import print_json
from app.settings import Settings
from app.stream_file import StreamFile
from app.text_files import decode_lossy

_MAX_USER_ID_DIGITS = 19


@click.command(epilog="Example: marquee verify model && echo valid")
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def verify(settings: Settings, model: Path | None, as_json: bool) -> None:
    """Verify a model directory.

    Checks the manifest, sizes, shapes and SHA-256 of each file, and the content of the lists.

    Exit status: 0 valid, 1 not valid (the reason is printed), 2 wrong usage.
    """
    from app.model.verify import verify_model

    model = model or settings.model_dir
    with explain_errors():
        manifests = verify_model(model)
    if as_json:
        print_json({kind: m.model_dump(mode="json") for kind, m in manifests.items()})
        return
    for kind, manifest in manifests.items():
        click.echo(
            f"{model / kind}: version {manifest.version}, {manifest.users:,} users, "
            f"{manifest.movies:,} movies, hash {manifest.model_hash[:12]}"
        )


@click.command(
    epilog="Examples: marquee recommend --model model 42 43;"
    "  marquee recommend --users-file users.txt > lists.tsv"
)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    default=None,
    help="Model directory. [default: setting model_dir]",
)
@click.option(
    "--n",
    "n",
    type=click.IntRange(1, 50),
    default=20,
    show_default=True,
    help="Number of movies for each user.",
)
@click.option("--users-file", type=StreamFile("rb"), help="User ids, one per line; - for stdin.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.argument("users", nargs=-1, type=click.IntRange(0, 2**63 - 1))
@click.pass_obj
def recommend(
    settings: Settings,
    model: Path | None,
    n: int,
    users_file: IO[bytes] | None,
    as_json: bool,
    users: tuple[int, ...],
) -> None:
    """Print recommendations of users.

    Prints one `user_id<TAB>id,id,...` line per user, best movie first.
    """
    from app.model.recommendation_lists import RecommendationLists

    if bool(users) == (users_file is not None):
        raise click.UsageError("give either user ids or --users-file")
    with explain_errors():
        lists = RecommendationLists.open(model or settings.model_dir, n, settings.hidden_movie_ids)
    for user in users if users_file is None else _read_user_ids(users_file):
        found = lists.get(user)
        if as_json:
            movies = found.text.split(",") if found.text else []
            print_json({"user_id": user, "movie_ids": movies, "source": found.source})
        else:
            click.echo(f"{user}\t{found.text}")


def _read_user_ids(file: IO[bytes]) -> Iterator[int]:
    for number, line in enumerate(_read_lines(file), 1):
        text = line.strip()
        if not text:
            continue
        is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_USER_ID_DIGITS
        if not (is_number and int(text) < 2**63):
            raise click.ClickException(f"users file, line {number}: not a user id: {text[:40]!r}")
        yield int(text)


def _read_lines(file: IO[bytes]) -> Iterator[str]:
    """Yield lines as they arrive; those of UTF-16 at the end of the file."""
    first = file.readline()
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        yield from decode_lossy(first + file.read()).splitlines()
        return
    yield decode_lossy(first)
    for line in file:
        yield line.decode(errors="replace")
