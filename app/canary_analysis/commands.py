"""`marquee analyze`."""

import sys
from pathlib import Path
from typing import IO

import click

from app.canary_analysis.errors import AnalysisInputError
from app.cli_errors import explain_errors
from app.json_output import print_json
from app.stream_file import StreamFile
from app.terminal_text import escape_control_characters

_MAX_WINDOW = 100_000


@click.command(
    epilog="Examples: marquee analyze --samples samples.jsonl"
    "  ·  marquee analyze --prometheus http://127.0.0.1:9090 --start 1789000000 --window 720"
    " --version 7 --state data/release/analysis/ID"
)
@click.option(
    "--samples", type=StreamFile("rb"), help="File with lines of samples; - for standard input."
)
@click.option("--prometheus", "url", help="URL of Prometheus, read from --start on.")
@click.option("--replay", metavar="RELEASE", help="Judge a past release again: id or directory.")
@click.option(
    "--queries",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("monitoring/prometheus/release/analysis.yml"),
    show_default=True,
    help="What to ask of Prometheus.",
)
@click.option("--start", type=click.FloatRange(min=0), help="Unix time of minute 0 (Prometheus).")
@click.option(
    "--now",
    "until",
    type=click.FloatRange(min=0),
    help="Unix time up to which to read. [default: now]",
)
@click.option(
    "--mean-seconds",
    type=float,
    help="Mean latency of the window as Prometheus has computed it, a check at the deadline;"
    " nan if it has none.",
)
@click.option(
    "--quality",
    type=StreamFile("rb"),
    help="File with the output of `marquee quality --json`, a check at the deadline.",
)
@click.option(
    "--minute-seconds",
    type=click.IntRange(1, 3600),
    default=60,
    show_default=True,
    help="Seconds per minute: shorter ones for demos and tests (Prometheus).",
)
@click.option(
    "--scrape-interval",
    type=click.FloatRange(0, 3600),
    default=5,
    show_default=True,
    help="Seconds between two scrapes of a slot (Prometheus).",
)
@click.option(
    "--window",
    type=click.IntRange(1, _MAX_WINDOW),
    help="Minutes until the deadline. [default: up to the last sample]",
)
@click.option("--version", help="Version of the canary. [default: that of its last sample]")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory that keeps samples and an abort between calls.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change a limit, such as failure_margin=0.01 (docs/canary-analysis.md). Repeatable.",
)
def analyze(
    samples: IO[bytes] | None,
    url: str | None,
    replay: str | None,
    queries: Path,
    start: float | None,
    until: float | None,
    mean_seconds: float | None,
    quality: IO[bytes] | None,
    minute_seconds: int,
    scrape_interval: float,
    window: int | None,
    version: str | None,
    state: Path | None,
    settings: tuple[str, ...],
) -> None:
    """Decide whether a canary is worse than the stable slots.

    Reads counts per minute from a file or from Prometheus and prints one JSON object with
    `verdict` (PROMOTE, ABORT, INCONCLUSIVE; CONTINUE before the deadline), `minute`, `reason` and
    `checks`. With --quality, a canary of whose recommendations users watch less is aborted, too
    (docs/quality.md).

    Exit status: 0 for any verdict, 1 a file cannot be read or written, 2 wrong input.
    """
    from dataclasses import replace

    from app.canary_analysis.analysis import Request, run_analysis
    from app.canary_analysis.quality_check import read_difference

    if sum(source is not None for source in (samples, url, replay)) != 1:
        raise click.UsageError("give one of --samples, --prometheus and --replay")
    if url is not None and (start is None or version is None):
        raise click.UsageError("--prometheus needs --start and --version")
    request = Request(
        samples=samples.read() if samples is not None else None,
        prometheus_url=url,
        replay=replay,
        start=start,
        until=until,
        window=window,
        version=version,
        state=state,
        settings=settings,
        queries=queries,
        minute_seconds=minute_seconds,
        scrape_interval=scrape_interval,
        mean_seconds=mean_seconds,
    )
    try:
        with explain_errors():
            if quality is not None:
                request = replace(request, quality=read_difference(quality.read(), version))
            result = run_analysis(request)
    except click.ClickException as error:
        if isinstance(error.__cause__, AnalysisInputError):
            click.echo(f"Error: {escape_control_characters(error.message)}", err=True)
            sys.exit(2)
        raise
    print_json(result)
