"""Our way to write a file gives the bytes that pydicom's gives."""

import io

import pydicom
import pytest

from appliance.dicom.part10 import part10_bytes
from tests.support.objects import objects
from tests.support.sources import variants

VARIANTS = variants()


@pytest.mark.parametrize("name", VARIANTS)
def test_part10_bytes_equal_those_of_pydicom(name: str) -> None:
    for ds in (VARIANTS[name], *objects(VARIANTS[name]).values()):
        file = io.BytesIO()
        pydicom.dcmwrite(file, ds, enforce_file_format=True)
        assert part10_bytes(ds) == file.getvalue()
