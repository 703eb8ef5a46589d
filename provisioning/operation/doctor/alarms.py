"""Check of the channels of alarms: each can be reached and signs us in."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.errors import Transient
from appliance.status.alarms.channels import AlarmChannel

from .finding import Finding


def check_channel(channel: AlarmChannel) -> Iterator[Finding]:
    """Yield the finding about a channel; no message is sent."""
    name = f"alarms.{channel.channel}"
    try:
        yield Finding.good(name, channel.look())
    except Transient as error:
        yield Finding.warning(name, error.reason, "no alarm arrives there", "correct it, then `osteon alarm test`")
