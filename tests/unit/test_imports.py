"""Imports: every module loads without the optional packages, and no module hides an import from import-linter."""

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import appliance
import engines
import kernels
import provisioning
from appliance.storage.database import open_database

PACKAGES = (appliance, engines, kernels, provisioning)

OPTIONAL = ("pycuda", "pynvml", "tensorrt", "tensorrt_rtx", "systemd", "torch")
"""Packages of the extras gpu, systemd and train."""

NEEDS_TORCH = ("engines.training", "provisioning.training")

RUNS_WHEN_IMPORTED = ("appliance.storage.migrations",)

HEAVY = (
    *OPTIONAL,
    "alembic",
    "contourpy",
    "fhir",
    "flask",
    "highdicom",
    "httpx",
    "imagecodecs",
    "matplotlib",
    "numpy",
    "nvidia",
    "onnx",
    "onnxruntime",
    "PIL",
    "pydicom",
    "pynetdicom",
    "scipy",
)
"""Packages that no command needs that only reads or changes the database."""

IMPORTERS = {"import_module", "__import__"}
"""Functions that import a module by its name in a string, which import-linter cannot see."""

IMPORT_WITHOUT_OPTIONAL = f"""
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OPTIONAL!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
for module in sys.argv[1:]:
    importlib.import_module(module)
"""


def modules() -> list[str]:
    return [m.name for p in PACKAGES for m in pkgutil.walk_packages(p.__path__, f"{p.__name__}.")]


def test_every_module_without_the_optional_packages_can_be_imported() -> None:
    names = [m for m in modules() if not m.startswith((*NEEDS_TORCH, *RUNS_WHEN_IMPORTED))]
    assert len(names) > 50
    command = [sys.executable, "-c", IMPORT_WITHOUT_OPTIONAL, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_module_imports_another_by_a_name_in_a_string() -> None:
    files = [Path(file) for p in PACKAGES for folder in p.__path__ for file in Path(folder).rglob("*.py")]
    assert len(files) > len(PACKAGES)
    hidden = [
        f"{file}:{node.lineno}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Name) and node.id in IMPORTERS)
        or (isinstance(node, ast.Attribute) and node.attr in IMPORTERS)
        or (isinstance(node, ast.alias) and node.name in IMPORTERS)
    ]
    assert hidden == []


@pytest.mark.parametrize("verb", ["status", "queue list", "queue retry --all", "--help"])
def test_command_without_an_engine_loads_no_heavy_module(verb: str, tmp_path: Path) -> None:
    """Each of these modules alone takes longer to load than such a command may take."""
    (tmp_path / "osteon.toml").write_text(f'state_dir = "{tmp_path}"\n')
    open_database(f"sqlite:///{tmp_path / 'osteon.db'}").dispose()
    option = [] if verb == "--help" else ["--config", str(tmp_path / "osteon.toml")]
    code = (
        "import sys; from click.testing import CliRunner; from provisioning.cli.main import main\n"
        "CliRunner().invoke(main, sys.argv[1:]); print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    command = [sys.executable, "-c", code, *verb.split(), *option]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "provisioning" in loaded
    assert {*loaded} & {*HEAVY} == set()
    assert verb != "--help" or "sqlalchemy" not in loaded
