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
@click.option("--resend", is_flag=True, help="Send the undeliverable messages again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def notify(
    settings: Settings,
    subject: str | None,
    body_file: IO[bytes] | None,
    flush: bool,
    resend: bool,
    as_json: bool,
) -> None:
    """Send a message by e-mail and Slack, as far as these are configured.

    Each recipient gets a message of its own, and one that fails does not stop the others. It stays
    pending in `outbox_dir`, and is sent with a later message, by --flush or by the scheduler. It
    becomes undeliverable when the server refuses it for good (SMTP 5xx, HTTP 4xx), has not
    accepted it in 12 tries within seven hours, or has accepted no message at all for five days, and
    then waits for --resend. Exit status: 0 delivered, pending, undeliverable or no channel
    configured (the output says which), 1 neither delivered nor saved, 2 wrong usage.
    """
    from app.notifications.channels import open_channels
    from app.notifications.notifier import Notifier

    if bool(subject) + flush + resend != 1:
        raise click.UsageError("give --subject, or --flush or --resend alone")
    with explain_errors():
        channels = open_channels(settings)
        notifier = Notifier(settings.outbox_dir, channels)
        body = decode_lossy(body_file.read()) if body_file else ""
        if subject:
            result = notifier.send(subject, body)
        else:
            result = notifier.resend() if resend else notifier.flush()
    if as_json:
        print_json({**asdict(result), "configured": list(channels)})
        return
    if not channels:
        click.echo("not sent: neither mail nor Slack is configured")
    for state, counts in asdict(result).items():
        for name, count in counts.items():
            click.echo(f"{name}: {count} {state}")
