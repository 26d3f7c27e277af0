"""`marquee notify` and `restore`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from app.settings import Settings

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command(
    epilog='Examples: marquee notify --subject "Version 7 is in service" --body-file report.txt;'
    "  make test 2>&1 | marquee notify --subject Tests --body-file -;  marquee notify --flush"
)
@click.option("--subject", help="One line.")
@click.option("--body-file", type=click.File("r"), help="Text; - for standard input.")
@click.option("--flush", is_flag=True, help="Send what waits from earlier, and nothing new.")
@_JSON
@click.pass_obj
def notify(
    settings: Settings, subject: str | None, body_file: TextIO | None, flush: bool, as_json: bool
) -> None:
    """Tell people by e-mail and Slack, as far as these are configured.

    A channel that is down does not stop the other; what it did not take is kept in `outbox_dir`
    and sent with the next message, or by --flush. Exit status: 0 delivered, kept, or nothing is
    configured (which of these is said), 1 neither delivered nor kept, 2 wrong usage.
    """
    from app.auto_deployment.channels import channels
    from app.auto_deployment.notify import Notifier

    if flush == bool(subject):
        raise click.UsageError("give --subject, or --flush alone")
    with told_plainly():
        configured = channels(settings)
        notifier = Notifier(settings.outbox_dir, configured)
        body = body_file.read() if body_file else ""
        told = notifier.flush() if flush else notifier.send(subject or "", body)
    if as_json:
        found = {"delivered": told.delivered, "kept": told.kept, "configured": list(configured)}
        click.echo(json.dumps(found))
    elif not configured:
        click.echo("neither mail nor Slack is configured: nobody is told")
    else:
        for state, counts in (("delivered", told.delivered), ("kept, sent later", told.kept)):
            for name, count in counts.items():
                click.echo(f"{name}: {count} {state}")


@click.command(
    epilog="Examples: marquee restore;  marquee restore 6 --json;"
    "  MARQUEE_DVC_REMOTE=/srv/versions marquee restore 6"
)
@click.argument("number", metavar="[N]", type=click.IntRange(0), required=False)
@click.option(
    "--tree",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=".",
    help="The clone. [default: this directory]",
)
@_JSON
@click.pass_obj
def restore(settings: Settings, number: int | None, tree: Path, as_json: bool) -> None:
    """Bring data and model of version N (default: that of version.txt) into this clone.

    They come from DVC's cache or remote and are compared with the hashes that the version's commit
    names. For another version than the tree's, the files that describe it (version.txt, dvc.lock)
    change too, in the working tree only. Exit status: 0 done, 1 failed with the reason.
    """
    from app.auto_deployment.restore import restore as run
    from app.auto_deployment.tools import Tree

    with told_plainly():
        place = Tree(tree)
        place.use_remote(settings.dvc_remote)
        done = run(place, number)
    if as_json:
        click.echo(json.dumps(done))
    else:
        places = " and ".join(done["restored"])
        click.echo(f"version {done['version']} in {places}, hash {done['model_hash'][:12]}")


@contextmanager
def told_plainly() -> Iterator[None]:
    """End a command with a sentence for what this room knows to go wrong."""
    from app.auto_deployment.errors import DeploymentError

    try:
        yield
    except DeploymentError as error:
        raise click.ClickException(str(error)) from error
