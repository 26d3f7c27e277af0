"""`marquee make-sample`."""

from pathlib import Path

import click

from app.json_output import print_json
from app.simulator.commands import options


@click.command("make-sample", epilog="Example: marquee make-sample --out data/sample --seed 8082")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory to write.")
@click.option("--seed", type=int, default=8082, show_default=True)
@options.as_json
def make_sample(out: Path, seed: int, as_json: bool) -> None:
    """Generate the small sample of ratings and watches that `make run` trains on."""
    from app.simulator.sample_data import write_sample

    rows = write_sample(out, seed)
    if as_json:
        print_json(rows)
    else:
        click.echo(f"{out}: " + ", ".join(f"{count:,} {name}" for name, count in rows.items()))
