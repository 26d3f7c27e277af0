"""`marquee recommend`: needs the service's packages only, with --recent also those of training."""

import codecs
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from app.cli_errors import explain_errors
from app.json_output import print_json
from app.settings import Settings
from app.stream_file import StreamFile
from app.text_files import decode_lossy

if TYPE_CHECKING:
    from app.model.recommendation_lists import RecommendationLists

_MAX_USER_ID_DIGITS = 19
_DAY_SECONDS = 86_400
Row = dict[str, Any]


@click.command(
    epilog="Examples: marquee recommend --model model 42 43;"
    "  marquee recommend --users-file users.txt > lists.tsv;"
    "  marquee recommend --model model --recent stream.log"
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
@click.option(
    "--recent",
    type=click.Path(path_type=Path),
    help="Log, or table as `import-ratings` takes: events that the service has seen; - for stdin.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.argument("users", nargs=-1, type=click.IntRange(0, 2**63 - 1))
@click.pass_obj
def recommend(
    settings: Settings,
    model: Path | None,
    n: int,
    users_file: IO[bytes] | None,
    recent: Path | None,
    as_json: bool,
    users: tuple[int, ...],
) -> None:
    """Print recommendations of users.

    Prints one `user_id<TAB>id,id,...` line per user, best movie first.

    With --recent, they are those that the service gives at the time of the newest events, if it
    has seen these events; without user ids, of all users of the file. Movies that the service no
    longer keeps are left out too, and a user whose events are all older than `recent_days` gets the
    list at the time of the newest of them.
    """
    from app.model.recommendation_lists import RecommendationLists

    if bool(users) == (users_file is not None) and not (recent and not users):
        raise click.UsageError("give either user ids or --users-file")
    with explain_errors():
        lists = RecommendationLists.open(model or settings.model_dir, n, settings.hidden_movie_ids)
        recommend_one, known_users = _choose_source(settings, lists, recent)
    wanted: Iterable[int] = users or known_users
    if users_file is not None:
        wanted = _read_user_ids(users_file)
    for user in wanted:
        row = recommend_one(user)
        if as_json:
            print_json(row)
        else:
            click.echo(f"{user}\t{','.join(row['movie_ids'])}")


def _choose_source(
    settings: Settings, lists: "RecommendationLists", recent: Path | None
) -> tuple[Callable[[int], Row], list[int]]:
    """Return what recommends to a user, and the users of the recent events."""
    unprofiled = settings.unprofiled_user_ids

    def recommend_stored(user: int) -> Row:
        found = lists.general if user in unprofiled else lists.get(user)
        movies = found.text.split(",") if found.text else []
        return {"user_id": user, "movie_ids": movies, "source": found.source}

    if recent is None:
        return recommend_stored, []
    from app.ingest.time_limits import TimeLimits
    from app.training.errors import TrainingError
    from app.training.recent_events import read_recent_events

    if lists.recent is None:
        raise TrainingError("the model lacks the parts for recent events: train it anew")
    scale = (settings.rating_min, settings.rating_max)
    times = TimeLimits.from_settings(settings)
    retention_seconds = settings.recent_days * _DAY_SECONDS
    events = read_recent_events(
        recent, lists.movie_ids, scale, settings.recent_movies, retention_seconds, times
    )

    def recommend_with_recent(user: int) -> Row:
        if user in unprofiled:
            return recommend_stored(user)
        own = events.get(user)
        found = lists.rank_recent(user, own.kept.events, own.now, own.kept.older)
        if found is None:
            return recommend_stored(user)
        ranked, names = found[1], lists.movie_ids
        return {
            "user_id": user,
            "movie_ids": [names[movie] for movie in ranked.movies],
            "source": "recent",
            "recent": [{"movie_id": names[m], "weight": weight} for m, weight in ranked.used],
        }

    return recommend_with_recent, sorted(events.by_user)


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
