"""`marquee notify`."""

from dataclasses import asdict
from typing import IO

import click

from app.cli_errors import explain_errors
from app.json_output import print_json
from app.settings import Settings
from app.stream_file import StreamFile
from app.text_files import decode_lossy


@click.command(
    epilog='Examples: marquee notify --subject "Version 7 deployed" --body-file report.txt;'
    "  make test 2>&1 | marquee notify --subject Tests --body-file -;  marquee notify --flush"
)
@click.option("--subject", help="One line.")
@click.option("--body-file", type=StreamFile("rb"), help="Text; - for stdin.")
@click.option("--flush", is_flag=True, help="Send the pending messages only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def notify(
    settings: Settings, subject: str | None, body_file: IO[bytes] | None, flush: bool, as_json: bool
) -> None:
    """Send a message by e-mail and Slack, as far as these are configured.

    A channel that fails does not stop the other: its message stays pending in `outbox_dir`, and is
    sent before the next message or by --flush. Exit status: 0 delivered, pending or no channel
    configured (the output says which), 1 neither delivered nor saved, 2 wrong usage.
    """
    from app.notifications.channels import open_channels
    from app.notifications.notifier import Notifier

    if flush == bool(subject):
        raise click.UsageError("give --subject, or --flush alone")
    with explain_errors():
        channels = open_channels(settings)
        notifier = Notifier(settings.outbox_dir, channels)
        body = decode_lossy(body_file.read()) if body_file else ""
        result = notifier.flush() if flush else notifier.send(subject or "", body)
    if as_json:
        print_json({**asdict(result), "configured": list(channels)})
    elif not channels:
        click.echo("not sent: neither mail nor Slack is configured")
    else:
        for state, counts in asdict(result).items():
            for name, count in counts.items():
                click.echo(f"{name}: {count} {state}")
