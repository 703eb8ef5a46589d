"""The functions of TensorRT's bindings with the names of their parameters, as their docstrings state them.

``python -m tests.support.driver.signatures MODULE`` prints them. tensorrt-11.txt is that of `tensorrt_bindings` in the
wheel tensorrt_cu13_bindings 11.4.0.106, loaded over empty libraries: the vendor's own need a GPU. So a test holds our
calls against the full TensorRT without installing it.
"""

from __future__ import annotations

import inspect
import re
import runpy
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RECORDED = HERE / "tensorrt-11.txt"


def stand_in() -> dict[str, Any]:
    """Return the classes of site/tensorrt.py by name."""
    names = runpy.run_path(str(HERE / "site/tensorrt.py"))
    return {n: c for n, c in names.items() if inspect.isclass(c) and c.__module__ == "<run_path>"}


def signatures(classes: Mapping[str, Any]) -> set[str]:
    """Return ``Class``, ``Class.property`` and ``Class.function parameter parameter`` for each overload."""
    found = set(classes)
    for name, one in classes.items():
        for member, value in ((m, getattr(one, m)) for m in vars(one) if not m.startswith("_")):
            if callable(value) or isinstance(value, property | one):
                found |= {f"{name}.{member} {' '.join(p)}".strip() for p in _parameters(value, member)}
    return found


def _parameters(member: Any, name: str) -> list[list[str]]:
    """Return the parameters of each overload; of pybind11's functions from the docstring, since there is no other."""
    if inspect.isfunction(member):
        return [list(inspect.signature(member).parameters)[1:]]
    overloads = re.findall(rf"^(?:\d+\. )?{name}\(self: [\w.]+(.*)\) ->", inspect.getdoc(member) or "", re.MULTILINE)
    return [re.findall(r", (\w+): ", parameters) for parameters in overloads] or [[]]


if __name__ == "__main__":
    module = import_module(sys.argv[1])
    sys.stdout.writelines(
        f"{line}\n" for line in sorted(signatures({n: vars(module)[n] for n in stand_in() if n in vars(module)}))
    )
