"""`marquee migrate`, `ship`, `requeue`, `trace`, `audit`, `backup` and `restore-backup`."""

import json
from pathlib import Path
from typing import IO, Any

import click

from app.cli_errors import explain_errors
from app.json_output import print_json
from app.settings import Settings
from app.stream_file import StreamFile, open_output

_STORE = click.Path(path_type=Path, file_okay=False)


@click.command(epilog="Example: MARQUEE_DATABASE=sqlite:///data/provenance.db marquee migrate")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(0, 3600),
    default=0,
    show_default=True,
    help="How many seconds to wait for a server that does not accept the connection yet.",
)
@click.pass_obj
def migrate(settings: Settings, wait_seconds: float) -> None:
    """Create or upgrade the database's tables; changes nothing where they are up to date.

    Tables of a later version stay as they are; this version can use them. Also sets for how many
    days the database keeps records (`provenance_retention_days`).
    """
    from app import logs
    from app.provenance.database import (
        connect,
        get_revision,
        set_retention,
        translate_errors,
        upgrade,
        wait_until_connected,
    )

    with explain_errors(), translate_errors():
        engine = connect(settings)
        wait_until_connected(engine, wait_seconds)
        upgrade(engine)
        set_retention(engine, settings.provenance_retention_days)
        logs.get(__name__).info("tables can be used", revision=get_revision(engine))


@click.command(epilog="Example (the compose file's): marquee ship")
@click.option(
    "--exit-with-parent",
    is_flag=True,
    help="Exit when standard input is closed, as `serve --ship` runs it.",
)
@click.pass_obj
def ship(settings: Settings, exit_with_parent: bool) -> None:
    """Ship records from the spool to the database until SIGTERM or Ctrl-C.

    One shipper per spool: a second one waits for the first to end. Serves `/trace/<request_id>`,
    `/metrics` and `/health` at `shipper_bind`. With SQLite it creates the tables itself.
    """
    from app.provenance.shipper import run_shipper

    with explain_errors():
        run_shipper(settings, exit_with_parent)


@click.command(epilog="Example: docker compose exec shipper marquee requeue")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def requeue(settings: Settings, as_json: bool) -> None:
    """Read again what the shipper could not read: the files in the quarantine of the spool.

    Those that this version of the program can read are moved back into the spool, from where the
    shipper sends their records; records that are in the database already stay as they are. The
    shipper does this at its start. Exit status: 0 no file is left, 1 some are (with the reasons).
    """
    from app.provenance.quarantine import Quarantine
    from app.provenance.spool_reader import check_readable

    with explain_errors():
        quarantine = Quarantine(settings.spool_dir)
        quarantine.adopt_old_files()
        moved, kept = quarantine.requeue(check_readable)
    unreadable = {path.name: reason for path, reason in kept.items()}
    if as_json:
        print_json({"requeued": [path.name for path in moved], "unreadable": unreadable})
    else:
        click.echo(f"{len(moved)} files are in the spool again")
        for name, reason in unreadable.items():
            click.echo(f"{name}: {reason}", err=True)
    if kept:
        raise click.exceptions.Exit(1)


@click.command(
    epilog="Examples: marquee trace --user 42 --last 3;"
    "  marquee trace --request 1700000000.123-0123456789abcdef0123456789abcdef --json"
)
@click.option("--user", type=click.IntRange(0), help="The last recommendations of this user.")
@click.option("--last", type=click.IntRange(1, 1000), default=1, show_default=True)
@click.option("--request", "request_id", help="One recommendation, by its header X-Request-Id.")
@click.option("--version", "number", type=click.IntRange(0), help="A version and its builds.")
@click.option(
    "--model",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of the model that made them: make each list again, and compare.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.pass_obj
def trace(
    settings: Settings,
    user: int | None,
    last: int,
    request_id: str | None,
    number: int | None,
    model: Path | None,
    as_json: bool,
) -> None:
    """Show which model, data, code and container made a recommendation, its movies and reasons.

    The reasons are the recent events that the list depends on. `restore_command` restores the model
    for --model.

    Exit status: 0 found (with --model: and each list made again is equal), 1 nothing found or the
    database is unreachable, 2 wrong usage, 3 a list made again is different, or cannot be made.
    """
    from app.provenance.database import connect, translate_errors
    from app.provenance.lineage import Lineage, explain_events, format_lines
    from app.provenance.list_remaker import ListRemaker

    if sum(option is not None for option in (user, request_id, number)) != 1:
        raise click.UsageError("give one of --user, --request and --version")
    if model and number is not None:
        raise click.UsageError("--model cannot be used with --version")
    found: list[dict[str, Any]]
    with explain_errors(), translate_errors():
        lineage = Lineage(connect(settings), ListRemaker(model) if model else None)
        if user is not None:
            found = lineage.find_user(user, last)
        elif request_id is not None:
            found = lineage.find_request(request_id)
        else:
            version = lineage.find_version(number or 0)
            found = [version] if version else []
    if not found:
        raise click.ClickException("no such record (or it is not shipped yet)")
    for record in found:
        if as_json:
            print_json(record)
        else:
            click.echo("\n".join(format_lines(explain_events(record))) + "\n")
    if model and any(record["remade"]["result"] != "equal" for record in found):
        raise click.exceptions.Exit(3)


@click.command(epilog="Example: docker compose exec shipper marquee audit --last 5")
@click.option("--last", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.pass_obj
def audit(settings: Settings, last: int, as_json: bool) -> None:
    """Show the orders that operators gave in the console and what became of them, newest first.

    Each is a row of the table `audit`: `given` with who gave it, why and from where, then
    `accepted`, `refused`, `done` or `failed`. The shipper copies them from the directory of orders
    within seconds.

    Exit status: 0 also without any, 1 the database is unreachable or has no such table.
    """
    from app.provenance.audit import format_line, read_audit
    from app.provenance.database import connect, translate_errors

    with explain_errors(), translate_errors():
        rows = read_audit(connect(settings), last)
    for row in rows:
        if as_json:
            print_json(row)
        else:
            click.echo(format_line(row))


@click.command(
    epilog="Examples: marquee backup all.tar.gz;"
    "  docker compose run --rm -T archive backup - > all.tar.gz"
)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--store", type=_STORE, default=None, help="[default: setting store_dir]")
@click.pass_obj
def backup(settings: Settings, file: str, store: Path | None) -> None:
    """Back up the database and the event store to FILE (- for stdout).

    Each is a consistent snapshot; recording and collecting continue meanwhile. A FILE that exists
    is replaced when the backup is complete. Prints the number of rows and files as JSON on stderr.
    """
    from app.provenance.backup import write_backup
    from app.provenance.database import connect, translate_errors

    with explain_errors(), translate_errors(), open_output(file) as out:
        counts = write_backup(connect(settings), store or settings.store_dir, out)
    click.echo(json.dumps(counts), err=True)


@click.command(
    epilog="Examples: marquee restore-backup all.tar.gz;"
    "  docker compose run --rm -T archive restore-backup - < all.tar.gz"
)
@click.argument("file", type=StreamFile("rb"))
@click.option("--store", type=_STORE, default=None, help="[default: setting store_dir]")
@click.pass_obj
def restore_backup(settings: Settings, file: IO[bytes], store: Path | None) -> None:
    """Restore a backup's rows to the database, and its event store unless that has events.

    A backup that was cut or damaged is refused before anything is written. One from a pipe needs
    its size in the directory of the store meanwhile.

    Existing rows and events are left as they are, so that an interrupted restore can be repeated.
    Stop the collector first: no other process may write to the store. Prints the number of rows
    and files as JSON on stderr.
    """
    from app.provenance.backup import restore_backup as restore
    from app.provenance.database import connect, translate_errors

    with explain_errors(), translate_errors():
        counts = restore(connect(settings), store or settings.store_dir, file)
    click.echo(json.dumps(counts), err=True)
