"""Messages of libraries about data sets reach no log, in any order of imports."""

import logging
import os
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
logging.getLogger("appliance").error("own message")
"""


@pytest.mark.parametrize(
    "before",
    [
        "hush_libraries()\nset_up_logging()",  # a role
        "set_up_logging()\nhush_libraries()",  # the process that reads instances
        "hush_libraries()",  # the other verbs
    ],
)
def test_libraries_imported_after_the_set_up_are_hushed(before: str) -> None:
    done = subprocess.run([sys.executable, "-c", START + before + SAY], capture_output=True, text=True, check=True)
    assert SECRET not in done.stdout + done.stderr
    assert "own message" in done.stderr


def warn_with_a_name() -> None:
    from pydicom.dataset import Dataset

    Dataset().AffectedSOPInstanceUID = SECRET
    logging.getLogger("appliance").error("own message")


@pytest.mark.proves("SEC-5")
def test_child_process_logs_no_patient_name(capfd: pytest.CaptureFixture[str]) -> None:
    isolated = Isolated(warn_with_a_name)
    isolated()
    isolated.close()
    said = capfd.readouterr().err
    assert "own message" in said
    assert SECRET not in said


def test_libraries_warn_where_they_are_not_hushed() -> None:
    """Without this, the tests above would pass for a library that never warns."""
    done = subprocess.run([sys.executable, "-W", "always", "-c", SAY], capture_output=True, text=True, check=True)
    assert done.stderr.count(SECRET) > 2


@pytest.mark.parametrize("journal", [True, False])
@pytest.mark.proves("SEC-5")
def test_name_that_a_peer_chose_forges_no_line(journal: bool) -> None:
    say = 'import logging; logging.getLogger("appliance").error("peer %s", "A\\n<0>root: all well\\x1b[2J\\r\\u2028")'
    environment = os.environ | ({"JOURNAL_STREAM": "1:2"} if journal else {})
    done = subprocess.run(
        [sys.executable, "-c", START + "import logging\nset_up_logging()\n" + say],
        capture_output=True,
        env=environment,
        check=True,
    )
    (line,) = done.stderr.decode().splitlines()
    assert line.endswith("appliance: peer A\\n<0>root: all well\\x1b[2J\\r\\u2028")
