"""Two character sets that pydicom 3.0 lacks or reads wrongly; importing this module corrects its tables.

Latin alphabet No. 9 was added by CP 1944 (DICOM PS3.3 C.12.1.1.2). For ISO 2022 IR 58, pydicom uses a codec of Python
that leaves the escape sequences in the text.
"""

from __future__ import annotations

from pydicom.charset import CODES_TO_ENCODINGS, python_encoding

python_encoding.update({"ISO_IR 203": "iso8859_15", "ISO 2022 IR 203": "iso8859_15", "ISO 2022 IR 58": "gb2312"})
CODES_TO_ENCODINGS.update({b"\x1b-b": "iso8859_15", b"\x1b$)A": "gb2312"})
