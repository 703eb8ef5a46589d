"""The configured channels of alarms, and the interface of a channel."""

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
    """A channel for messages: e-mail or webhook."""

    channel: Channel
    least: Severity

    def send(self, message: Message) -> str:
        """Send a message; return a sentence about recipients who were refused, empty if all were accepted.

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
    """Return the configured channels; a channel with unusable files is `Unusable`, and fails with the reason."""
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
