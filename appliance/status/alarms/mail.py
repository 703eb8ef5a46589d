"""Mail by SMTP.

References
----------
RFC 5321 (SMTP), RFC 3207 (STARTTLS), RFC 8314 (submission over TLS), RFC 3834 section 5 (Auto-Submitted).
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

from appliance.config import ClientTls, EmailAlarm
from appliance.domain.alarm import Channel, Severity
from appliance.network import Deadline, client_context, connect, connection_failure

from .message import Message, not_sent, not_taken

EXCHANGES = 4
"""A whole conversation may take so many times the longest wait for one answer."""


class Mail:
    """Mail through the hospital's server."""

    channel = Channel.EMAIL

    def __init__(self, config: EmailAlarm) -> None:
        self.least = Severity(config.severity)
        self._config = config
        self._tls = None if config.security == "none" else client_context(ClientTls(ca=config.ca), "alarms.email")

    def send(self, message: Message) -> str:
        """Send a message to all recipients in one conversation; the server has taken it if it takes one of them."""
        mail = _mail(message, self._config)
        with self._conversation() as server:
            refused = server.send_message(mail)
        return f"{self._config.host} {_of_recipients(refused, self._config)}" if refused else ""

    def look(self) -> str:
        """Sign in without sending mail."""
        with self._conversation() as server:
            server.noop()
        return f"{self._config.host} takes our mail{' after the sign-in' if self._config.credentials else ''}"

    @contextmanager
    def _conversation(self) -> Iterator[smtplib.SMTP]:
        config, deadline = self._config, Deadline()
        try:
            user, password = _credentials(config.credentials) if config.credentials else ("", "")
            with _connected(config, self._tls, deadline) as server:
                if config.security == "starttls":
                    server.starttls(context=self._tls)
                    assert server.sock is not None
                    deadline.watch(server.sock, EXCHANGES * config.timeout_s)  # it is another one
                if user:
                    server.login(user, password)
                yield server
        except smtplib.SMTPDataError as error:
            make = not_taken if error.smtp_code >= 500 else not_sent
            raise make(_failure(error, config, deadline)) from None
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise not_sent(_failure(error, config, deadline)) from None
        finally:
            deadline.lift()


def _connected(config: EmailAlarm, tls: ssl.SSLContext | None, deadline: Deadline) -> smtplib.SMTP:
    """Connect with a deadline for the whole conversation: a server may answer a byte now and then."""

    class Watched(smtplib.SMTP):
        def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
            found = connect(host, port, timeout, tls if config.security == "tls" else None)
            deadline.watch(found, EXCHANGES * timeout)
            return found

    return Watched(config.host, config.tcp_port, timeout=config.timeout_s)


def _credentials(path: Path) -> tuple[str, str]:
    user, _, password = path.read_text(encoding="utf-8").partition("\n")
    if not user.strip() or not password.strip():
        raise ValueError(f"{path} needs the user on its first line and the password on its second")
    return user.strip(), password.strip("\r\n")


def _failure(error: Exception, config: EmailAlarm, deadline: Deadline) -> str:
    place = f"{config.host}:{config.tcp_port}"
    if deadline.has_passed:
        return f"{place} did not end the conversation within {EXCHANGES * config.timeout_s:g} s; see its log"
    match error:
        case smtplib.SMTPResponseException(smtp_code=530):  # RFC 3207 section 4, RFC 4954 section 6
            words = "asks for STARTTLS or a sign-in (530); check alarms.email.security and credentials"
        case smtplib.SMTPAuthenticationError():
            words = f"refuses the user or password of alarms.email.credentials ({error.smtp_code})"
        case smtplib.SMTPNotSupportedError():
            words = f"offers no {'STARTTLS' if 'STARTTLS' in str(error) else 'sign-in'}; check alarms.email.security"
        case smtplib.SMTPRecipientsRefused():
            words = _of_recipients(error.recipients, config)
        case smtplib.SMTPSenderRefused():
            words = f"refuses alarms.email.sender ({error.smtp_code})"
        case smtplib.SMTPResponseException():
            words = f"answers {error.smtp_code}; see its log"
        case smtplib.SMTPException():
            words = f"breaks off ({type(error).__name__}); check host, port and alarms.email.security"
        case OSError() if error.filename:
            return f"{error.filename} cannot be read: {error.strerror}"
        case OSError():
            return f"{place}: {connection_failure(error, config.host)}"
        case _:
            return str(error)
    return f"{place} {words}"


def _of_recipients(refused: Mapping[str, tuple[int, bytes]], config: EmailAlarm) -> str:
    """Return the refusal without the addresses, since the page and the log show it."""
    ones = [f"{n} ({refused[one][0]})" for n, one in enumerate(config.recipients, 1) if one in refused]
    return f"refuses alarms.email.recipients, of {len(config.recipients)}: number {', '.join(ones)}"


def _mail(message: Message, config: EmailAlarm) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = config.sender
    mail["To"] = ", ".join(config.recipients)
    mail["Subject"] = message.subject
    mail["Date"] = format_datetime(message.at.astimezone())
    mail["Message-ID"] = f"<osteon-{message.identifier}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text)
    return mail
