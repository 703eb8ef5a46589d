"""What libraries say of data sets reaches no log, whatever is imported when."""

import logging
import subprocess
import sys

import pytest

from appliance.service.isolation import Isolated

SECRET = "SECRETNAME^ANNA"
START = "from appliance.service.log import hush_libraries, set_up_logging\n"
SAY = f"""
import logging, warnings
import highdicom, pydicom, pynetdicom
from pydicom.dataset import Dataset
Dataset().AffectedSOPInstanceUID = {SECRET!r}
logging.getLogger("pynetdicom.anything").error({SECRET!r})
logging.getLogger("highdicom").warning({SECRET!r})
warnings.warn({SECRET!r})
logging.getLogger("appliance").error("ours is heard")
"""


@pytest.mark.parametrize(
    "before",
    [
        "hush_libraries()\nset_up_logging()",  # a role
        "set_up_logging()\nhush_libraries()",  # the process that reads instances
        "hush_libraries()",  # the other verbs
    ],
)
def test_libraries_that_are_imported_later_are_hushed(before: str) -> None:
    done = subprocess.run([sys.executable, "-c", START + before + SAY], capture_output=True, text=True, check=True)
    assert SECRET not in done.stdout + done.stderr
    assert "ours is heard" in done.stderr


def say_it() -> None:
    from pydicom.dataset import Dataset

    Dataset().AffectedSOPInstanceUID = SECRET
    logging.getLogger("appliance").error("ours is heard")


def test_the_process_that_reads_instances_says_no_name(capfd: pytest.CaptureFixture[str]) -> None:
    isolated = Isolated(say_it)
    isolated()
    isolated.close()
    said = capfd.readouterr().err
    assert "ours is heard" in said
    assert SECRET not in said


def test_the_warning_that_is_hushed_is_given() -> None:
    """The judge is awake."""
    done = subprocess.run([sys.executable, "-W", "always", "-c", SAY], capture_output=True, text=True, check=True)
    assert done.stderr.count(SECRET) > 2
