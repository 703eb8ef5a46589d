"""Alarms over a real database to a real mail server and a real web server."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, update

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.alarm import AlarmEvent, Channel, EventKind, Severity
from appliance.domain.reason import ReasonCode
from appliance.domain.roles import ROLES
from appliance.errors import Refused, Transient
from appliance.service.roles.status import StatusRole
from appliance.status.alarms.channels import channels_of
from appliance.status.alarms.message import sample_message
from appliance.status.alarms.watch import REFUSALS, AlarmWatch, Messenger
from appliance.status.facts import observe
from appliance.status.health import conditions, problems
from appliance.storage.alarms import channel_state, events_after, record_alarms
from appliance.storage.gate import Gate
from appliance.storage.heartbeats import record_heartbeat
from appliance.storage.tables import roles
from provisioning.cli.main import main
from provisioning.operation.check import shown_values
from provisioning.operation.doctor.alarms import check_channel
from provisioning.operation.doctor.finding import Level
from tests.support.alarms import PASSWORD, USER, HookServer, MailServer, hook_server, mail_server
from tests.support.certificates import Authority
from tests.support.hostile import drip, hostile_server
from tests.support.people import anna
from tests.support.waiting import wait_until


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def hook() -> Iterator[HookServer]:
    with hook_server() as server:
        yield server


def by_mail(port: int, **more: Any) -> dict[str, Any]:
    plain = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "osteon@hospital.example"}
    return {"email": plain | {"recipients": ["it@hospital.example"], "timeout_s": 5} | more}


def by_hook(server: HookServer, **more: Any) -> dict[str, Any]:
    return {"webhook": {"url": f"http://127.0.0.1:{server.port}/secret", "timeout_s": 5} | more}


@pytest.fixture
def site(tmp_path: Path, engine: Engine) -> Callable[..., Configuration]:
    """Return the configuration of a healthy appliance with these alarms."""

    def made(**alarms: Any) -> Configuration:
        for role in ROLES:
            record_heartbeat(engine, role, now(), "works")
        return Configuration.model_validate({"state_dir": tmp_path, "alarms": {"quiet_s": 0} | alarms})

    return made


def looked(engine: Engine, config: Configuration) -> AlarmWatch:
    """Start the alarms anew, as a role does, look at the conditions once and send."""
    watch = AlarmWatch(engine, config, channels_of(config.alarms))
    look(watch)
    return watch


def look(watch: AlarmWatch) -> None:
    watch.step()
    for messenger in watch.messengers:
        messenger.step()


def event(name: str) -> AlarmEvent:
    return AlarmEvent(
        at=now(), kind=EventKind.BROKEN, condition=name, severity=Severity.ERROR, since=now(), sentence="in words"
    )


def test_broken_condition_is_mailed_once_over_restarts_and_then_its_recovery(
    site: Callable[..., Configuration], engine: Engine, mail: MailServer
) -> None:
    config = site(**by_mail(mail.port))
    looked(engine, config)
    assert mail.mails == []
    Gate(engine).shut("*", anna("the archive moves"))
    for _ in range(3):
        look(looked(engine, config))
    (sent,) = mail.mails
    assert sent["Subject"].endswith("warning: gate.*")
    assert (sent["To"], sent["Auto-Submitted"]) == ("it@hospital.example", "auto-generated")
    assert "Nothing leaves for any destination" in sent.get_content()
    assert "the archive moves" not in sent.get_content(), "a person typed it"
    Gate(engine).open("*", anna())
    for _ in range(3):
        look(looked(engine, config))
    assert [m["Subject"].partition(": ")[2] for m in mail.mails] == ["warning: gate.*", "recovered: gate.*"]


def test_event_of_a_process_that_died_before_it_was_sent_is_sent_by_the_next(
    site: Callable[..., Configuration], engine: Engine, mail: MailServer
) -> None:
    config = site(**by_mail(mail.port))
    looked(engine, config)
    Gate(engine).shut("*", anna("moved"))
    AlarmWatch(engine, config, channels_of(config.alarms)).step()  # it dies here
    assert mail.mails == []
    looked(engine, config)
    assert len(mail.mails) == 1


def test_message_whose_record_was_lost_is_repeated_with_its_identifier(
    site: Callable[..., Configuration], engine: Engine, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = site(**by_mail(mail.port))
    looked(engine, config)
    Gate(engine).shut("*", anna("moved"))

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Messenger, "_note", die)
        looked(engine, config)
    record_alarms(engine, {}, [event("disk")])  # it comes before the repeat, and is in the next message
    for _ in range(3):
        looked(engine, config)
    first, second, third = mail.mails
    assert first["Message-ID"] == second["Message-ID"] != third["Message-ID"]
    assert first.get_content().count("since") == second.get_content().count("since")
    assert "disk" in third["Subject"]


def test_mail_that_is_taken_for_one_recipient_is_sent_and_the_refusal_is_a_condition(
    site: Callable[..., Configuration], engine: Engine, mail: MailServer
) -> None:
    config = site(**by_mail(mail.port))
    email = config.alarms.email
    assert email
    both = email.model_copy(update={"recipients": (*email.recipients, "typo@hospital.example")})
    config = config.model_copy(update={"alarms": config.alarms.model_copy(update={"email": both})})
    mail.refused_recipients = frozenset({"typo@hospital.example"})
    watch = looked(engine, config)
    record_alarms(engine, {}, [event("disk")])
    for _ in range(3):
        watch.messengers[0].step()
    assert len(mail.mails) == 1
    (found,) = problems(conditions(observe(engine, config, now())))
    assert found.name == "alarms.email" and "of 2: number 2 (550)" in found.sentence and "typo@" not in found.sentence
    mail.refused_recipients = frozenset()
    record_alarms(engine, {}, [event("disk")])
    watch.messengers[0].step()
    assert problems(conditions(observe(engine, config, now()))) == ()


def test_event_that_is_refused_for_itself_holds_up_no_other(
    site: Callable[..., Configuration], engine: Engine, mail: MailServer
) -> None:
    config = site(**by_mail(mail.port))
    messenger = looked(engine, config).messengers[0]
    mail.refused_word = "c30"
    record_alarms(engine, {}, [event(f"c{n}") for n in range(61)])
    for _ in range(30):
        messenger._next_try = 0
        messenger.step()
    told = "\n".join(m.get_content() for m in mail.mails)
    assert [n for n in range(61) if f"c{n}," not in told] == [30]
    record_alarms(engine, {}, [event("line\nbreak"), event("after")])
    for _ in range(12):
        messenger._next_try = 0
        messenger.step()
    assert "error: after" in mail.mails[-1].get_content()


def test_server_that_is_away_has_no_event_given_up(
    site: Callable[..., Configuration], engine: Engine, mail: MailServer
) -> None:
    messenger = looked(engine, site(**by_mail(mail.port))).messengers[0]
    record_alarms(engine, {}, [event(f"c{n}") for n in range(61)])
    mail.refusal = "451 busy"
    for _ in range(REFUSALS + 2):
        messenger._next_try = 0
        messenger.step()
    mail.refusal = ""
    for _ in range(2):
        messenger._next_try = 0
        messenger.step()
    assert [m.get_content().count("error: c") for m in mail.mails] == [50, 11]


def test_several_events_are_one_message_and_a_channel_for_errors_takes_errors(
    site: Callable[..., Configuration], engine: Engine, mail: MailServer, hook: HookServer
) -> None:
    config = site(**by_mail(mail.port, severity="error"), **by_hook(hook))
    watch = looked(engine, config)
    Gate(engine).shut("*", anna("moved"))
    with engine.begin() as c:
        c.execute(update(roles).where(roles.c.role == "receive").values(uptime_s=roles.c.uptime_s - 60))
    look(watch)
    ((_, posted),) = hook.posts
    assert {(e["condition"], e["severity"]) for e in posted["events"]} == {
        ("gate.*", "warning"),
        ("role.receive", "error"),
    }
    assert "systemctl status osteon-receive" in posted["text"]
    (sent,) = mail.mails
    assert "role.receive" in sent.get_content() and "gate" not in sent.get_content()
    Gate(engine).open("*", anna())
    look(watch)
    assert len(hook.posts) == 2 and len(mail.mails) == 1


def test_event_of_before_a_rename_of_the_machine_is_sent_after_it(
    site: Callable[..., Configuration], engine: Engine, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = site(**by_mail(mail.port))
    with monkeypatch.context() as patched:
        patched.setattr("socket.gethostname", lambda: "former")
        site()
        looked(engine, config)
        Gate(engine).shut("*", anna("moved"))
        AlarmWatch(engine, config, channels_of(config.alarms)).step()  # it is renamed before the message
    for _ in range(2):
        looked(engine, config)
    (sent,) = mail.mails
    assert sent["Subject"].endswith("warning: gate.*") and "former" not in sent["Subject"]


def test_new_channel_tells_no_old_news(
    site: Callable[..., Configuration], engine: Engine, mail: MailServer, hook: HookServer
) -> None:
    watch = looked(engine, site(**by_mail(mail.port)))
    Gate(engine).shut("*", anna("moved"))
    look(watch)
    both = looked(engine, site(**by_mail(mail.port), **by_hook(hook)))
    assert hook.posts == []
    Gate(engine).open("*", anna())
    look(both)
    assert len(hook.posts) == 1 and len(mail.mails) == 2


def test_channel_that_fails_is_tried_again_and_shown_as_a_condition(
    site: Callable[..., Configuration], engine: Engine, mail: MailServer
) -> None:
    config = site(**by_mail(mail.port))
    watch = looked(engine, config)
    mail.refusal = "451 busy"
    Gate(engine).shut("*", anna("moved"))
    watch.step()
    (messenger,) = watch.messengers
    for _ in range(3):
        messenger._next_try = 0
        messenger.step()
    messenger.step()  # it pauses
    state = channel_state(engine, Channel.EMAIL)
    assert (state.failures, state.sent_up_to) == (3, 0) and "answers 451" in state.reason
    found = problems(conditions(observe(engine, config, now())))
    assert [c.name for c in found] == ["gate.*", "alarms.email"]
    mail.refusal = ""
    messenger._next_try = 0
    messenger.step()
    assert len(mail.mails) == 1
    assert [c.name for c in problems(conditions(observe(engine, config, now())))] == ["gate.*"]


def test_database_that_is_damaged_is_told_from_memory(
    site: Callable[..., Configuration], engine: Engine, mail: MailServer, tmp_path: Path
) -> None:
    config = site(**by_mail(mail.port))
    watch = looked(engine, config)
    engine.dispose()
    for file in tmp_path.glob("osteon.db*"):
        file.write_bytes(b"no database at all" * 100)
    for _ in range(3):
        watch.step()
        for messenger in watch.messengers:
            with pytest.raises(Exception, match="not a database"):
                messenger.step()
    (sent,) = mail.mails
    assert sent["Subject"].endswith("error: database")
    assert "it is damaged" in sent.get_content()


def test_server_that_hangs_holds_up_neither_the_page_nor_the_other_channel(
    site: Callable[..., Configuration], engine: Engine, hook: HookServer
) -> None:
    def speak(connection: Any, stop: Any) -> None:
        drip(connection, stop, b"220 w")

    with hostile_server(speak) as port:
        config = site(**by_mail(port, timeout_s=0.2), **by_hook(hook))
        config = config.model_copy(update={"status": config.status.model_copy(update={"port": 0})})
        for channel in (Channel.EMAIL, Channel.WEBHOOK):
            channel_state(engine, channel)
        Gate(engine).shut("*", anna("moved"))
        role = StatusRole(config, engine)
        try:
            wait_until(lambda: hook.posts, "the post")
            with urllib.request.urlopen(f"http://127.0.0.1:{role._server.port}/health/live", timeout=60) as answer:
                assert answer.status == 200
            wait_until(lambda: channel_state(engine, Channel.EMAIL).failures, "the failure of the mail")
        finally:
            role.close()
    assert "did not end the conversation within 0.8 s" in channel_state(engine, Channel.EMAIL).reason


def test_mail_goes_over_starttls_after_a_sign_in(site: Callable[..., Configuration], tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    secret = tmp_path / "mail.txt"
    with mail_server(authority.issue("mail")) as server:

        def taken(**more: Any) -> str:
            secure = {"security": "starttls", "ca": str(authority.certificate), "credentials": str(secret)}
            (channel,) = channels_of(site(**by_mail(server.port, **secure | more)).alarms)
            try:
                channel.send(sample_message("box1", now()))
            except Transient as error:
                assert error.code is ReasonCode.ALARM_NOT_SENT
                return error.reason
            return channel.look()

        secret.write_text(f"{USER}\n{PASSWORD}\n")
        assert taken() == "127.0.0.1 takes our mail after the sign-in"
        assert len(server.mails) == 1
        assert "certificate is refused" in taken(ca=str(Authority(tmp_path, "other").certificate))
        assert "asks for STARTTLS or a sign-in (530)" in taken(security="none", credentials=None)
        secret.write_text(f"{USER}\nwrong\n")
        assert "refuses the user or password" in taken()
        secret.write_text(USER)
        assert "needs the user on its first line" in taken()
        secret.write_text(f"{USER}\n{PASSWORD}\n")
        assert "cannot be read: No such file" in taken(credentials=str(tmp_path / "absent"))
        assert "tls.ca of alarms.email cannot be used" in taken(ca=str(tmp_path / "absent"))
        assert "TLS: " in taken(security="tls")
    assert "nothing listens there" in taken()
    with mail_server() as plain:
        (channel,) = channels_of(site(**by_mail(plain.port, security="starttls")).alarms)
        with pytest.raises(Transient, match="offers no STARTTLS"):
            channel.look()


def test_webhook_sends_its_token_and_shows_no_secret_address(
    site: Callable[..., Configuration], hook: HookServer, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    config = site(**by_hook(hook, bearer=str(token)))
    (channel,) = channels_of(config.alarms)
    channel.send(sample_message("box1", now()))
    ((sent, content),) = hook.posts
    assert sent == "Bearer s3cret"
    assert (content["source"], content["events"][0]["kind"]) == ("osteon", "test")
    assert "can be reached" in channel.look()
    reasons = []
    for status in (302, 401, 500):
        hook.status = status
        with pytest.raises((Transient, Refused)) as caught:
            channel.send(sample_message("box1", now()))
        reasons.append(caught.value.reason)
    token.write_text("two words")
    with pytest.raises(Transient) as caught:
        channel.send(sample_message("box1", now()))
    reasons.append(caught.value.reason)
    assert [word in reason for word, reason in zip(("302", "401", "500", "alone"), reasons, strict=True)] == [True] * 4
    assert len(hook.posts) == 1, "a redirect is not followed"
    assert "/secret" not in f"{reasons}{shown_values(config)}{config!r}"
    assert shown_values(config)["alarms"]["webhook"]["url"] == f"http://127.0.0.1:{hook.port}/********"


def test_command_sends_a_test_by_each_channel_and_the_doctor_sends_none(
    tmp_path: Path, mail: MailServer, hook: HookServer
) -> None:
    file = tmp_path / "osteon.toml"
    file.write_text(f"""
        [alarms.email]
        host = "127.0.0.1"
        port = {mail.port}
        security = "none"
        sender = "osteon@hospital.example"
        recipients = ["it@hospital.example"]
        [alarms.webhook]
        url = "http://127.0.0.1:{hook.port}/"
    """)
    done = CliRunner().invoke(main, ["alarm", "test", "--config", str(file)])
    assert done.exit_code == 0, done.output
    assert len(mail.mails) == len(hook.posts) == 1
    hook.status = 403
    done = CliRunner().invoke(main, ["alarm", "test", "--config", str(file)])
    assert done.exit_code == 1 and "answers 403" in done.output
    file.write_text("")
    done = CliRunner().invoke(main, ["alarm", "test", "--config", str(file)])
    assert done.exit_code == 1 and "names no channel" in done.output
    levels = [
        finding.level
        for channel in channels_of(Configuration.model_validate({"alarms": by_mail(mail.port) | by_hook(hook)}).alarms)
        for finding in check_channel(channel)
    ]
    assert levels == [Level.GOOD, Level.WARNING]
    assert len(mail.mails) == 2 and len(hook.posts) == 1


def test_events_of_a_month_ago_are_removed_and_those_of_another_box_are_not_ours(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = AlarmEvent(
        at=now(), kind=EventKind.BROKEN, condition="disk", severity=Severity.ERROR, since=now(), sentence="full"
    )
    record_alarms(engine, {}, [replace(event, at=now() - timedelta(days=31))])
    record_alarms(engine, {}, [event])
    assert [one.event.at for one in events_after(engine, 0, 9)] == [event.at]
    monkeypatch.setattr("socket.gethostname", lambda: f"not {os.uname().nodename}")
    assert events_after(engine, 0, 9) == []
