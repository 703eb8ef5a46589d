"""Checks of a PACS: connection, AE titles, C-ECHO, SOP classes, transfer syntaxes, and the services of its profile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydicom.uid import (
    UID,
    GrayscaleSoftcopyPresentationStateStorage,
    JPEGBaseline8Bit,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
)
from pynetdicom.sop_class import StorageCommitmentPushModel, StudyRootQueryRetrieveInformationModelFind

from appliance.config import DicomDestination
from appliance.dicom.objects.report_class import REPORT_CLASSES
from appliance.dicom.scu.negotiation import UNCOMPRESSED, ObjectForm
from appliance.dicom.scu.pacs import peer_of
from appliance.dicom.scu.verification import Verified, verify
from appliance.errors import Away

from .finding import Finding

LOOK_S = 5.0
"""Longest wait of the doctor for one answer of a peer."""

CLASSES: Final = {
    "sc": SecondaryCaptureImageStorage,
    "summary": SecondaryCaptureImageStorage,
    "pr": GrayscaleSoftcopyPresentationStateStorage,
    "ko": KeyObjectSelectionDocumentStorage,
}
"""SOP classes of `DicomDestination.objects`, without the report, which has the class of `DicomDestination.sr`."""


def check_pacs(config: DicomDestination) -> Iterator[Finding]:
    """Yield the findings about a PACS; nothing is stored there."""
    name = f"destination.{config.name}"
    asked = config.model_copy(update={"timeout_s": min(config.timeout_s, LOOK_S)})
    forms = {str(kind): _forms(config, kind) for kind in config.objects}
    services = sorted(_services(config))
    try:
        answer = verify(peer_of(asked), [form for each in forms.values() for form in each], services)
    except Away as error:
        yield Finding.error(
            f"{name}.association", error.reason, f"nothing reaches {config.name}; it waits, and leaves later", AFTER
        )
        return
    yield _echo(config, answer)
    yield from _objects(config, forms, answer)
    for uid in services:
        yield _service(config, uid, is_accepted=uid in answer.services)


AFTER = "then `osteon doctor` again; `osteon queue list` shows what waits"
"""Remedy of a finding whose sentence names the next step at the peer."""


def _echo(config: DicomDestination, answer: Verified) -> Finding:
    check = f"destination.{config.name}.echo"
    where = f"{config.called_ae_title} at {config.host}:{config.port}"
    if answer.echo_status == 0:
        return Finding.good(check, f"{config.name}: {where} answers C-ECHO")
    status = "accepts no C-ECHO" if answer.echo_status is None else f"answers C-ECHO with 0x{answer.echo_status:04X}"
    effect = "the association stands, so objects may still be taken"
    return Finding.warning(
        check, f"{config.name}: {where} {status}", effect, "allow Verification for our AE title there"
    )


def _objects(config: DicomDestination, forms: dict[str, list[ObjectForm]], answer: Verified) -> Iterator[Finding]:
    check = f"destination.{config.name}.objects"
    for kind, possible in forms.items():
        taken = [form for form in possible if form in answer.forms]
        if not taken:
            yield Finding.error(
                f"{check}.{kind}",
                f"{config.name} accepts no {UID(possible[0].sop_class_uid).name} in any of our encodings",
                "what the summary does not show is parked there"
                if kind in ("sc", "summary")
                else "the answer reaches it by the summary alone",
                f"allow that SOP class for {config.calling_ae_title} there, or remove {kind!r} from its `objects`",
            )
        elif taken[0] == possible[0]:
            yield Finding.good(f"{check}.{kind}", f"{config.name} accepts {kind} as {taken[0]}")
        else:
            yield Finding.good(
                f"{check}.{kind}", f"{config.name} accepts {kind} as {taken[0]}; it accepts no {possible[0]}"
            )


def _forms(config: DicomDestination, kind: str) -> list[ObjectForm]:
    """Return the forms that objects of a kind can have at this destination, best first."""
    is_jpeg = kind in ("sc", "summary") and config.look.compression == "jpeg"
    syntaxes = [
        JPEGBaseline8Bit if encoding == "compressed" else UNCOMPRESSED[encoding]
        for encoding in config.transfer_syntaxes
        if encoding != "compressed" or is_jpeg
    ] or list(UNCOMPRESSED.values())
    classes = [CLASSES[kind]] if kind in CLASSES else [REPORT_CLASSES[config.sr]]
    if kind == "sr" and config.sr == "comprehensive_3d":
        classes.append(REPORT_CLASSES["comprehensive"])
    return [ObjectForm(str(sop_class), str(syntax)) for sop_class in classes for syntax in syntaxes]


def _services(config: DicomDestination) -> set[str]:
    needed = set()
    if config.proof == "commitment":
        needed.add(str(StorageCommitmentPushModel))
    if config.proof == "find" or config.existing == "verify" or config.recheck_identity:
        needed.add(str(StudyRootQueryRetrieveInformationModelFind))
    return needed


def _service(config: DicomDestination, uid: str, *, is_accepted: bool) -> Finding:
    if uid == StorageCommitmentPushModel:
        name, service, keys = "commitment", "storage commitment", 'proof = "find" or "none"'
        effect = "deliveries stay unproven, and wait for a proof that cannot come"
    else:
        name, service, keys = "find", "C-FIND", 'proof, existing = "accept" and recheck_identity = false'
        effect = "nothing can be proven or rechecked by queries, and deliveries wait"
    check = f"destination.{config.name}.{name}"
    if is_accepted:
        return Finding.good(check, f"{config.name} accepts {service} from {config.calling_ae_title}")
    return Finding.error(
        check,
        f"{config.name} accepts no {service} from {config.calling_ae_title}",
        effect,
        f"allow it there, or set {keys} for this destination",
    )
