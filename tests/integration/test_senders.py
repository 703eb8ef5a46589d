"""The way to an archive, against a program of somebody else, and what a misbehaving peer makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian, JPEG2000Lossless
from pynetdicom import AE, evt

from appliance.dicom.part10 import dataset_from_bytes, part10_bytes
from appliance.dicom.secondary_capture import secondary_capture
from appliance.dicom.sender import SendStatus, StoreDestination, send_files, status_from_code
from appliance.dicom.structured_report import structured_report
from appliance.errors import OsteonError, Rejected, Transient
from appliance.ports import Artefact, Destination
from tests.support.peers import NodePeer, Peer, running, wait_for_port
from tests.support.results import finding, result, study, unanalysed
from tests.support.sources import source, variants

SOURCE = variants()["utf8"]
RESULT = result(SOURCE, finding(), finding(0.4), finding(0.1), caveats=("a cast was seen",))
STUDY = study(RESULT)
START = Callable[..., NodePeer]


def dicom_artefacts() -> list[Artefact]:
    sc = secondary_capture(SOURCE, RESULT, np.zeros((301, 201, 3), np.uint8))
    sr = structured_report(STUDY, {RESULT.sop_instance_uid: SOURCE})
    return [
        Artefact(kind=kind, identifier=ds.SOPInstanceUID, content=part10_bytes(ds))
        for kind, ds in (("sc", sc), ("sr", sr))
    ]


def pacs(port: int, timeout_s: float = 10) -> StoreDestination:
    return StoreDestination("PACS", "127.0.0.1", port, "PACS", "OSTEON", timeout_s)


def raised(destination: Destination, artefacts: list[Artefact]) -> OsteonError:
    with pytest.raises((Transient, Rejected)) as caught:
        destination.send(artefacts)
    for private in ("Łukasiewicz", "Žofie", "4711", "1970", "ACC-77"):
        assert private not in str(caught.value)
    return caught.value


# DICOM, to DCMTK ----------------------------------------------------------------------------------


@contextmanager
def storescp(path: str, port: int, folder: Path, *options: str) -> Iterator[None]:
    """DCMTK's Storage SCP, which writes the bytes that it gets."""
    with running(path, "+B", *options, "-aet", "PACS", "-od", str(folder), str(port)) as process:
        wait_for_port(port, process)
        yield


def kept(folder: Path) -> dict[str, Path]:
    return {str(pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID): p for p in folder.iterdir()}


def test_storescp_gets_both_answers_unchanged(peer: Peer, free_port: int, tmp_path: Path) -> None:
    artefacts = dicom_artefacts()
    with storescp(peer("storescp"), free_port, tmp_path):
        assert pacs(free_port).send(artefacts) == ["stored (0x0000)"] * 2
    stored = kept(tmp_path)
    assert set(stored) == {a.identifier for a in artefacts}
    for artefact in artefacts:
        assert pydicom.dcmread(stored[artefact.identifier]) == dataset_from_bytes(artefact.content)


def test_a_repeat_is_the_same_object(peer: Peer, free_port: int, tmp_path: Path) -> None:
    with storescp(peer("storescp"), free_port, tmp_path):
        pacs(free_port).send(dicom_artefacts())
        pacs(free_port).send(dicom_artefacts())
    assert len(list(tmp_path.iterdir())) == 2


def test_a_pacs_that_takes_only_implicit_vr_gets_it(peer: Peer, free_port: int, tmp_path: Path) -> None:
    artefacts = dicom_artefacts()
    with storescp(peer("storescp"), free_port, tmp_path, "+xi"):
        pacs(free_port).send(artefacts)
    for artefact in artefacts:
        ds = pydicom.dcmread(kept(tmp_path)[artefact.identifier])
        assert ds.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
        assert str(ds.PatientName) == str(SOURCE.PatientName)


def test_a_pacs_that_refuses_associations_is_transient(peer: Peer, free_port: int, tmp_path: Path) -> None:
    with storescp(peer("storescp"), free_port, tmp_path, "--refuse"):
        # many times: a rejection whose connection is closed at once is easily taken for a peer that is away
        errors = [raised(pacs(free_port), dicom_artefacts()[:1]) for _ in range(20)]
    assert all(isinstance(error, Transient) for error in errors)
    assert {error.code for error in errors} == {"association_rejected"}
    assert "reject" in errors[0].reason


def test_nobody_at_the_port_is_transient(free_port: int) -> None:
    error = raised(pacs(free_port), dicom_artefacts())
    assert isinstance(error, Transient) and error.code == "unreachable"


def test_a_pacs_that_breaks_off_in_the_data_set_is_transient(peer: Peer, free_port: int, tmp_path: Path) -> None:
    with storescp(peer("storescp"), free_port, tmp_path, "--abort-during"):
        error = raised(pacs(free_port, timeout_s=1), dicom_artefacts())
    assert isinstance(error, Transient)


@contextmanager
def scripted_scp(port: int, statuses: list[int], sop_classes: list[str]) -> Iterator[list[str]]:
    """An SCP that answers with `statuses` in turn, which DCMTK's cannot."""
    calls: list[str] = []

    def handle(event: evt.Event) -> int:
        calls.append(event.request.AffectedSOPInstanceUID)
        return statuses[len(calls) - 1]

    ae = AE("PACS")
    for sop_class in sop_classes:
        ae.add_supported_context(sop_class)
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, handle)])
    try:
        yield calls
    finally:
        server.shutdown()


SC, SR = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.88.34"


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ([0x0000, 0xA700], Transient),
        ([0xA701, 0x0000], Transient),
        ([0xC001, 0xA700], Transient),
        ([0xA900, 0x0000], Rejected),
        ([0x0000, 0xC123], Rejected),
        ([0x0124, 0x0000], Transient),
    ],
)
def test_all_objects_are_tried_and_the_gravest_status_counts(
    statuses: list[int], kind: type[OsteonError], free_port: int
) -> None:
    with scripted_scp(free_port, statuses, [SC, SR]) as calls:
        error = raised(pacs(free_port), dicom_artefacts())
    assert type(error) is kind and len(calls) == 2


def test_duplicates_and_warnings_are_delivered(free_port: int) -> None:
    with scripted_scp(free_port, [0x0111, 0xB000], [SC, SR]):
        notes = pacs(free_port).send(dicom_artefacts())
    assert "already there" in notes[0] and "coerced" in notes[1]


def test_a_pacs_without_structured_reports_is_told_so(free_port: int) -> None:
    with scripted_scp(free_port, [0x0000], [SC]) as calls:
        error = raised(pacs(free_port), dicom_artefacts())
    assert isinstance(error, Rejected) and "Comprehensive 3D SR Storage" in str(error) and len(calls) == 1


def test_a_pacs_that_takes_neither_is_a_rejection_and_not_unreachable(free_port: int) -> None:
    with scripted_scp(free_port, [], ["1.2.840.10008.1.1"]):
        error = raised(pacs(free_port), dicom_artefacts())
    assert isinstance(error, Rejected)


@pytest.mark.parametrize(
    ("code", "fate"),
    [
        (0x0000, "stored"), (0x0111, "stored"), (0xB007, "stored"), (0xB123, "stored"), (0xA700, "transient"),
        (0xA7FF, "transient"), (0x0110, "transient"), (0x9999, "transient"), (0xA900, "rejected"),
        (0xA9FF, "rejected"), (0xC000, "rejected"), (0xCFFF, "rejected"), (0x0122, "rejected"),
    ],
)  # fmt: skip
def test_every_status_has_a_fate(code: int, fate: str) -> None:
    assert status_from_code(code).fate == fate


def test_files_go_out_as_they_are_whatever_they_hold(peer: Peer, free_port: int, tmp_path: Path) -> None:
    files, folder = tmp_path / "files", tmp_path / "kept"
    files.mkdir(), folder.mkdir()
    plain = source("plain")
    squeezed = source("squeezed")
    squeezed.file_meta.TransferSyntaxUID = JPEG2000Lossless
    squeezed.PixelData = pydicom.encaps.encapsulate([b"no codestream at all"])
    squeezed["PixelData"].VR = "OB"
    report = structured_report(study(unanalysed(plain)), {str(plain.SOPInstanceUID): plain})
    for name, ds in (("plain", plain), ("squeezed", squeezed), ("report", report)):
        (files / name).write_bytes(part10_bytes(ds))
    (files / "text").write_text("no DICOM")
    paths = [files / n for n in ("plain", "text", "squeezed", "report", "absent")]
    with storescp(peer("storescp"), free_port, folder, "+xa"):
        said: dict[str, SendStatus] = {
            path.name: status
            for path, status in send_files(
                paths, host="127.0.0.1", port=free_port, called_ae_title="PACS", calling_ae_title="OSTEON"
            )
        }
    assert {name: s.fate for name, s in said.items()} == {
        "plain": "stored", "squeezed": "stored", "report": "stored", "text": "rejected", "absent": "rejected",
    }  # fmt: skip
    for ds in (plain, squeezed):
        received = pydicom.dcmread(kept(folder)[ds.SOPInstanceUID])
        assert received.file_meta.TransferSyntaxUID == ds.file_meta.TransferSyntaxUID
        assert received.PixelData == ds.PixelData
