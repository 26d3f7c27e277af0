"""`marquee make-sample`."""

import json
from pathlib import Path

import click


@click.command("make-sample", epilog="Example: marquee make-sample --out data/sample --seed 8082")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory to write.")
@click.option("--seed", type=int, default=8082, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def make_sample(out: Path, seed: int, as_json: bool) -> None:
    """Make the small sample of ratings and watches that `make run` trains on."""
    from app.simulator.sample import write_sample

    rows = write_sample(out, seed)
    click.echo(json.dumps(rows) if as_json else f"{out}: " + _list(rows))


def _list(rows: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in rows.items())
