"""`marquee verify`."""

from pathlib import Path

import click

from app.cli_errors import explain_errors
from app.json_output import print_json
from app.settings import Settings


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
