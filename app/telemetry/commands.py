"""`marquee export` and `marquee query`."""

from pathlib import Path
from typing import Any

import click

from app.cli_errors import explain_errors
from app.json_output import print_json
from app.settings import Settings

_DIRECTORY = click.Path(path_type=Path, file_okay=False)


@click.command(epilog="Example (hourly): docker compose run --rm export")
@click.option("--out", type=_DIRECTORY, help="[default: setting export_dir]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def export(settings: Settings, out: Path | None, as_json: bool) -> None:
    """Export the answers of all days that are over to Parquet files, one a day.

    A day is exported one hour after its end (UTC). Continues where the last run has ended, and
    removes days that are older than `provenance_retention_days`. docs/telemetry.md describes the
    files.

    Exit status: 0 done (also if there was nothing to do), 1 the database is unreachable, another
    export is running, or the directory cannot be written, 2 wrong usage.
    """
    from datetime import UTC, datetime

    from app.provenance.database import connect, translate_errors
    from app.telemetry.export import AnswerExporter
    from app.telemetry.exports import ExportDirectory

    directory = ExportDirectory(out or settings.export_dir)
    with explain_errors(), translate_errors():
        exporter = AnswerExporter(connect(settings), directory)
        result = exporter.run(datetime.now(UTC), settings.provenance_retention_days)
    if as_json:
        print_json(result)
    else:
        click.echo(
            f"exported {result['rows']:,} answers of {result['days']} days in "
            f"{result['seconds']} s; next: {result['next_day']}"
        )


@click.command(
    epilog='Examples: marquee query "SELECT version, count(*) FROM answers GROUP BY ALL"'
    '  ·  marquee query "DESCRIBE answers"'
    '  ·  marquee query --json "FROM watches LIMIT 5"'
)
@click.argument("sql")
@click.option("--exports", type=_DIRECTORY, help="[default: setting export_dir]")
@click.option("--store", type=_DIRECTORY, help="[default: setting store_dir]")
@click.option(
    "--limit", type=click.IntRange(1), default=1000, show_default=True, help="Rows to print."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 86_400),
    default=60.0,
    show_default=True,
    help="Seconds after which the query is stopped.",
)
@click.option(
    "--memory-mb",
    type=click.IntRange(64, 1_000_000),
    default=512,
    show_default=True,
    help="Memory of the query in MiB; more is written to a temporary directory.",
)
@click.option(
    "--temp-mb",
    type=click.IntRange(1, 1_000_000),
    default=1024,
    show_default=True,
    help="Size of the temporary directory in MiB.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per row.")
@click.pass_obj
def query(
    settings: Settings,
    sql: str,
    exports: Path | None,
    store: Path | None,
    limit: int,
    timeout: float,
    memory_mb: int,
    temp_mb: int,
    as_json: bool,
) -> None:
    """Answer the query SQL (of DuckDB) over exported answers and the event store.

    Tables: answers, versions, builds and quality of the exports; watches and ratings of the event
    store; movies and users where metadata was fetched. Only reads. docs/telemetry.md has examples.

    Exit status: 0 answered, 1 an error in the query, a limit was exceeded or a file cannot be read,
    2 wrong usage.
    """
    import tempfile
    from itertools import islice

    from app.telemetry.query import QueryLimits, run_query

    with explain_errors(), tempfile.TemporaryDirectory() as temp:
        limits = QueryLimits(memory_mb, timeout, Path(temp), temp_mb)
        paths = exports or settings.export_dir, store or settings.store_dir
        with run_query(sql, *paths, limits) as result:
            rows = list(islice(result.rows, limit))
            is_cut = next(result.rows, None) is not None
    if as_json:
        for row in rows:
            print_json(_to_json(dict(zip(result.columns, row, strict=True))))
    else:
        click.echo("\n".join(_format_table(result.columns, rows)))
    if is_cut:
        click.echo(f"only the first {limit:,} rows are printed (--limit)", err=True)


def _to_json(value: Any) -> Any:
    """A value as JSON has it; times and others as text."""
    if isinstance(value, dict):
        return {name: _to_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(one) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _format_table(columns: list[str], rows: list[tuple[Any, ...]]) -> list[str]:
    from app.terminal_text import escape_control_characters

    texts = [columns, *([_format_value(value) for value in row] for row in rows)]
    texts = [[escape_control_characters(text) for text in row] for row in texts]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    numeric = [
        all(isinstance(row[i], int | float) for row in rows if row[i] is not None)
        for i in range(len(columns))
    ]
    return [
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in texts
    ]


def _format_value(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
