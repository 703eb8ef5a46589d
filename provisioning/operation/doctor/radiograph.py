"""Check of the way of a radiograph: a drawn one comes in by C-STORE and is answered, as a trial that nothing leaves."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address

from pydicom.uid import UID
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import now
from appliance.config import Configuration, Receive
from appliance.config.receive import Tls
from appliance.dicom.part10 import part10_bytes
from appliance.dicom.scu.negotiation import ObjectForm
from appliance.dicom.scu.peer import DicomPeer
from appliance.dicom.scu.sender import store_association, store_bytes
from appliance.domain.result import Result
from appliance.domain.trial import new_trial_uid
from appliance.errors import Away, OsteonError
from appliance.network import plain_address
from appliance.storage.database import existing_database
from appliance.storage.trials import Trial, TrialStore
from provisioning.phantoms import instance_from_phantom, phantom

from .finding import Finding, Level
from .pacs import LOOK_S

SITE, SEED = "wrist", 0
"""The drawn radiograph: one that the pack of real radiographs recognises, too."""

CALLING_AE_TITLE = "OSTEON-DOCTOR"
"""AE title of the doctor, unless the site's list has one for this box."""

FOLLOW_S = 60.0
"""Longest wait for the answer; a radiograph on a slow CPU takes a few seconds."""

POLL_S = 0.2
"""Interval of the looks at the trial."""

EFFECT = "the way of a radiograph through this box is not proven"


def check_radiograph(config: Configuration, follow_s: float = FOLLOW_S) -> Iterator[Finding]:
    """Yield whether a drawn radiograph is received, and whether it is answered; it is removed afterwards."""
    uid = new_trial_uid()
    received = _send(config.receive, uid)
    yield received
    if received.level is not Level.GOOD:
        return
    engine = existing_database(config.database)
    if engine is None:
        yield _unknown()
        return
    store = TrialStore(engine, config.trials_dir)
    try:
        yield _answer(store, uid, follow_s)
    finally:
        with suppress(OSError, OsteonError, SQLAlchemyError):
            store.remove(uid)
        engine.dispose()


def _send(config: Receive, uid: str) -> Finding:
    """Send the drawn radiograph to the role receive; return the finding."""
    check = "radiograph.received"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)  # noqa: S104  compared, not listened on
    title = _calling_ae_title(config, host)
    if title is None:
        seen = f"receive.peers lists no sender at {host}, so that the drawn radiograph cannot come in"
        remedy = f'add [[receive.peers]] with address = "{host}" and ae_title = "{CALLING_AE_TITLE}", restart receive'
        return Finding.warning(check, seen, EFFECT, remedy)
    ds = instance_from_phantom(phantom(SITE, SEED, fracture=True))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(uid)
    began_at = time.monotonic()
    try:
        peer = DicomPeer(
            host=host,
            port=config.port if config.plain or not config.tls else config.tls.port,
            called_ae_title=config.ae_title,
            calling_ae_title=title,
            timeout_s=LOOK_S,
            tls=_to_ourselves(config.tls) if config.tls and not config.plain else None,
        )
        form = ObjectForm(str(ds.SOPClassUID), str(ds.file_meta.TransferSyntaxUID))
        with store_association(peer, [form]) as association:
            status = store_bytes(association, part10_bytes(ds))
    except Away as error:
        return Finding.error(check, error.reason, "no radiograph is received", "`systemctl status osteon-receive`")
    except (OSError, ssl.SSLError) as error:
        seen = f"the certificate of receive.tls cannot be used: {error.strerror or type(error).__name__}"
        return Finding.warning(check, seen, EFFECT, "see the finding about the certificate")
    if not status.is_there:
        remedy = "`journalctl -u osteon-receive -n 30`"
        return Finding.error(
            check, f"a drawn {SITE} was refused: {status.words}", "senders may be refused, too", remedy
        )
    return Finding.good(check, f"a drawn {SITE} came in by C-STORE in {time.monotonic() - began_at:.1f} s")


def _calling_ae_title(config: Receive, host: str) -> str | None:
    """Return the AE title by which this box may send to itself at `host`; None if it may not."""
    try:
        address = ip_address(host)
    except ValueError:
        with suppress(OSError):
            host = str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
        try:
            address = ip_address(host)
        except ValueError:
            return None
    titles = [peer.ae_title for peer in config.peers if plain_address(str(address)) in peer.address]
    if not titles:
        return None
    return CALLING_AE_TITLE if None in titles else titles[0]


def _to_ourselves(tls: Tls) -> ssl.SSLContext:
    """Return a context that trusts exactly our own certificate, and shows it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # we may be reached by another name than senders use
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(tls.certificate)
    context.load_cert_chain(tls.certificate, tls.key)
    return context


def _answer(store: TrialStore, uid: str, follow_s: float) -> Finding:
    """Follow the trial to its end; return the finding."""
    check = "radiograph.answered"
    until = time.monotonic() + follow_s
    while (trial := store.find(uid)) and not trial.is_over and time.monotonic() < until:
        time.sleep(POLL_S)
    if trial is None:
        return _unknown()
    if not trial.is_over:
        before = store.radiographs_before()
        seen = f"the drawn radiograph was not answered within {follow_s:g} s; {before} radiographs have precedence"
        remedy = "`systemctl status osteon-analyse`, `journalctl -u osteon-analyse -n 30`"
        make = Finding.warning if before else Finding.error
        return make(check, seen, "radiographs wait" if not before else EFFECT, remedy)
    if not trial.result_digest:
        remedy = trial.code.remedy or "`journalctl -u osteon-analyse -n 30`"
        seen = f"the drawn radiograph has no answer: {trial.reason} ({trial.code})"
        return Finding.error(check, seen, "radiographs may have none either", remedy)
    took_s = ((trial.finished_at or now()) - trial.created_at).total_seconds()
    return Finding.good(
        check, f"it was answered after {took_s:.1f} s: {_words(store, trial)}; nothing has left, and no phase applies"
    )


def _words(store: TrialStore, trial: Trial) -> str:
    result = Result.from_json(store.files.get(trial.result_digest).decode())
    return str(result.not_analysed.reason) if result.not_analysed else str(result.answer.label)


def _unknown() -> Finding:
    seen = "the drawn radiograph came in, and is not in this database"
    remedy = "compare state_dir and database_url with those of the running role: `systemctl restart osteon-receive`"
    return Finding.error("radiograph.answered", seen, "the role receive works with another configuration", remedy)
