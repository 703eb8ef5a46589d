"""The channels of alarms: those that the configuration names, and their interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from appliance.config import Alarms, EmailAlarm, WebhookAlarm
from appliance.domain.alarm import Channel, Severity
from appliance.errors import Fault

from .mail import Mail
from .message import Message, not_sent
from .webhook import Webhook


class AlarmChannel(Protocol):
    """A way of messages."""

    channel: Channel
    least: Severity

    def send(self, message: Message) -> str:
        """Send a message; return in words which part of the recipients did not get it, empty if all did.

        Raises
        ------
        Transient
            ``alarm_not_sent``, with the reason: the channel takes no message now.
        Refused
            With the same code: the channel works, and does not take this message.
        ValueError
            The message cannot be written.
        """
        ...

    def look(self) -> str:
        """Connect and sign in without sending; return the state in words. Raises as `send`."""
        ...


def channels_of(config: Alarms) -> list[AlarmChannel]:
    """Return the channels that the configuration names; one that cannot be used fails with its reason."""
    found: list[AlarmChannel] = []
    if config.email:
        found.append(_usable(Mail, config.email, Channel.EMAIL))
    if config.webhook:
        found.append(_usable(Webhook, config.webhook, Channel.WEBHOOK))
    return found


def _usable(make: Callable[[Any], AlarmChannel], config: EmailAlarm | WebhookAlarm, channel: Channel) -> AlarmChannel:
    try:
        return make(config)
    except Fault as fault:  # the page is served nevertheless, and shows the reason
        return Unusable(channel, Severity(config.severity), fault.reason)


class Unusable:
    """A channel whose files cannot be used."""

    def __init__(self, channel: Channel, least: Severity, reason: str) -> None:
        self.channel, self.least, self._reason = channel, least, reason

    def send(self, message: Message) -> str:
        """Fail with the reason."""
        raise not_sent(self._reason)

    def look(self) -> str:
        """Fail with the reason."""
        raise not_sent(self._reason)
