"""Radiographs in the spool with their row, as if they had just been received."""

from __future__ import annotations

from pydicom.dataset import Dataset
from sqlalchemy import Engine

from appliance.dicom.part10 import part10_bytes
from appliance.domain.received import Received
from appliance.storage.instances import keep_instance
from appliance.storage.spool import FileSpool


def keep(engine: Engine, spool: FileSpool, ds: Dataset) -> str:
    """Keep a radiograph, of which there may be earlier versions; return its SOP Instance UID."""
    content = part10_bytes(ds)
    received = Received(
        sop_instance_uid=str(ds.SOPInstanceUID),
        sop_class_uid=str(ds.SOPClassUID),
        transfer_syntax_uid=str(ds.file_meta.TransferSyntaxUID),
        digest=spool.put(content),
        size_bytes=len(content),
        calling_ae_title="ROOM1",
    )
    assert keep_instance(engine, received)
    return str(ds.SOPInstanceUID)
