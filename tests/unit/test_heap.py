"""A process keeps the memory that it frees, so that its next radiograph needs no new pages."""

import resource

from appliance.service.isolation import Isolated

SIZE_BYTES = 20_000_000


def new_pages() -> int:
    """Return the number of pages that the last of three equal radiographs needs, in a child process."""
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        arrays = [bytearray(b"x") * SIZE_BYTES for _ in range(3)]
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_radiograph_after_others_needs_no_new_pages() -> None:
    made = Isolated(new_pages)
    try:
        assert made() < SIZE_BYTES / 4096 / 10
    finally:
        made.close()
