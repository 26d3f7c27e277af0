"""`marquee migrate`, `ship`, `trace`, `backup` and `restore-backup`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from app.settings import Settings

_STORE = click.Path(path_type=Path, file_okay=False)


@click.command(epilog="Example: MARQUEE_DATABASE=sqlite:///data/provenance.db marquee migrate")
@click.pass_obj
def migrate(settings: Settings) -> None:
    """Bring the database's tables up to date; changes nothing where they are."""
    from app import logs
    from app.provenance.database import connect, revision, upgrade

    with _told_plainly():
        engine = connect(settings)
        upgrade(engine)
        logs.get(__name__).info("the tables are up to date", revision=revision(engine))


@click.command(epilog="Example (the compose file's): marquee ship")
@click.option(
    "--with-parent", is_flag=True, help="End when standard input does, as `serve --ship` runs it."
)
@click.pass_obj
def ship(settings: Settings, with_parent: bool) -> None:
    """Take recorded answers from the queue to the database until SIGTERM or Ctrl-C.

    One shipper a queue: a second one waits. Answers `/trace/<request_id>`, `/metrics` and
    `/health` at `shipper_bind`. With SQLite it makes the tables itself.
    """
    from app.provenance.shipping import run

    run(settings, with_parent)


@click.command(
    epilog="Examples: marquee trace --user 42 --last 3;"
    "  marquee trace --request 1700000000.123-0123456789abcdef0123456789abcdef --json"
)
@click.option("--user", type=click.IntRange(0), help="The last answers that a user got.")
@click.option("--last", type=click.IntRange(1, 1000), default=1, show_default=True)
@click.option("--request", "request_id", help="One answer, by its header X-Request-Id.")
@click.option("--version", "number", type=click.IntRange(0), help="What a version was made from.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def trace(
    settings: Settings,
    user: int | None,
    last: int,
    request_id: str | None,
    number: int | None,
    as_json: bool,
) -> None:
    """Tell which model, data, code and container made an answer, and what was in it.

    Exit status: 0 found, 1 nothing found or the database does not answer, 2 wrong usage.
    """
    from app.provenance.database import connect
    from app.provenance.lineage import Tracer
    from app.provenance.printing import lines

    if sum(asked is not None for asked in (user, request_id, number)) != 1:
        raise click.UsageError("give one of --user, --request and --version")
    found: Any
    with _told_plainly():
        tracer = Tracer(connect(settings))
        if user is not None:
            found = tracer.user(user, last)
        elif request_id is not None:
            found = tracer.request(request_id)
        else:
            version = tracer.version(number or 0)
            found = [version] if version else []
    if not found:
        raise click.ClickException("nothing of the kind was recorded (or it is not shipped yet)")
    for record in found:
        click.echo(json.dumps(record) if as_json else "\n".join(lines(record)) + "\n")


@click.command(
    epilog="Examples: marquee backup all.tar.gz;"
    "  docker compose run --rm -T archive backup - > all.tar.gz"
)
@click.argument("file", type=click.File("wb"))
@click.option("--store", type=_STORE, default=None, help="[default: setting store_dir]")
@click.pass_obj
def backup(settings: Settings, file: IO[bytes], store: Path | None) -> None:
    """Write what cannot be made again to FILE (- for stdout): the database and the event store.

    Both as they were at one moment each; recording and collecting go on meanwhile.
    """
    from app.provenance.backup import back_up
    from app.provenance.database import connect

    with _told_plainly():
        held = back_up(connect(settings), store or settings.store_dir, file)
    click.echo(json.dumps(held), err=True)


@click.command(
    epilog="Examples: marquee restore-backup all.tar.gz;"
    "  docker compose run --rm -T archive restore-backup - < all.tar.gz"
)
@click.argument("file", type=click.File("rb"))
@click.option("--store", type=_STORE, default=None, help="[default: setting store_dir]")
@click.pass_obj
def restore_backup(settings: Settings, file: IO[bytes], store: Path | None) -> None:
    """Put a backup's rows into the database, and its event store where none holds events.

    What is there already stays as it is, so that a restore that was interrupted can be run again.
    Nobody may write the store meanwhile: a collector that follows a broker is stopped first.
    """
    from app.provenance.backup import restore
    from app.provenance.database import connect

    with _told_plainly():
        held = restore(connect(settings), store or settings.store_dir, file)
    click.echo(json.dumps(held), err=True)


@contextmanager
def _told_plainly() -> Iterator[None]:
    from sqlalchemy.exc import SQLAlchemyError

    from app.ingest.errors import IngestError
    from app.provenance.database import plainly
    from app.provenance.errors import BackupError

    try:
        yield
    except SQLAlchemyError as error:
        raise click.ClickException(f"database: {plainly(error)}") from error
    except (BackupError, IngestError) as error:
        raise click.ClickException(str(error)) from error
