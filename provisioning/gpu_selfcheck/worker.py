"""The process of one step: ``python -m provisioning.gpu_selfcheck.worker STEP FOLDER FATBIN OUT``."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

from .step import Place, is_stand_in
from .steps import function_of


def main() -> None:
    """Run the step and write its figures, or its fault, into the file OUT."""
    name, folder, fatbin, out = sys.argv[1:]
    place = Place(folder=Path(folder), fatbin=Path(fatbin), stand_in=is_stand_in())
    try:
        said: dict[str, object] = {"figures": function_of(name)(place)}
    except Exception as error:  # noqa: BLE001  # any fault of driver, card or library is a finding
        traceback.print_exc()
        said = {"fault": f"{type(error).__name__}: {error}"}
    Path(out).write_text(json.dumps(said))


if __name__ == "__main__":
    main()
