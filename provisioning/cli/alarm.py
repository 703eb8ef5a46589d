"""`osteon alarm`: the alarms, tried by a person."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import click
from rich.markup import escape

from appliance.service.command import config_option

from .options import configuration, out


@click.group()
def alarm() -> None:
    """Try the alarms that the configuration names."""


@alarm.command()
@config_option
def test(config_path: Path | None) -> None:
    """Send a test message by each channel of [alarms], and say whether it was taken for all recipients.

    The exit status is 1 if one was not.
    """
    from appliance.clock import now
    from appliance.errors import Refused, Transient
    from appliance.status.alarms.channels import channels_of
    from appliance.status.alarms.message import sample_message

    channels = channels_of(configuration(config_path).alarms)
    if not channels:
        raise click.ClickException("[alarms] names no channel: add [alarms.email] or [alarms.webhook]")
    message = sample_message(socket.gethostname(), now())
    failed = False
    for channel in channels:
        try:
            missed = channel.send(message)
        except (Transient, Refused) as error:
            missed = error.reason
        if missed:
            failed = True
            out.print(f"[red]{channel.channel}:[/] {escape(missed)}", soft_wrap=True)
        else:
            out.print(f"[green]{channel.channel}:[/] taken")
    sys.exit(1 if failed else 0)
