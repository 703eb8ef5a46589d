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

HELP = {"appliance", "click", "provisioning", "rich"}
"""Packages that a help text needs."""

READING = {
    *HELP,
    "annotated_types",
    "kernels",
    "pydantic",
    "pydantic_core",
    "sqlalchemy",
    "typing_extensions",
    "typing_inspection",
}
"""Packages that a command needs that only reads or changes the database; `kernels` has no module that loads CUDA."""

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


@pytest.mark.parametrize(
    ("verb", "allowed"),
    [
        ("--help", HELP),
        ("check --help", HELP),
        ("queue retry --help", HELP),
        ("status", READING),
        ("queue list", READING),
        ("queue retry --all", READING),
    ],
)
def test_light_command_loads_the_packages_that_it_needs(verb: str, allowed: set[str], tmp_path: Path) -> None:
    """Each other package takes about as long to load as such a command may take."""
    (tmp_path / "osteon.toml").write_text(f'state_dir = "{tmp_path}"\n')
    open_database(f"sqlite:///{tmp_path / 'osteon.db'}").dispose()
    option = [] if "--help" in verb else ["--config", str(tmp_path / "osteon.toml")]
    code = (
        "import sys; before = {*sys.modules}; from click.testing import CliRunner; "
        "from provisioning.cli.main import main\n"
        "done = CliRunner().invoke(main, sys.argv[1:]); assert done.output, done\n"
        "print(*sorted({name.partition('.')[0] for name in {*sys.modules} - before} - sys.stdlib_module_names))"
    )
    command = [sys.executable, "-c", code, *verb.split(), *option]
    loaded = {*subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()}
    assert "provisioning" in loaded
    assert {name for name in loaded - allowed if not name.startswith(("_", "cython_"))} == set()  # parts of others


def test_process_that_renders_loads_no_part_of_the_analysis_and_no_database() -> None:
    code = "import sys; import appliance.service.render_pool; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "appliance.service.artefacts" in loaded
    packages = {"contourpy", "fhir", "hl7apy", "nvidia", "onnx", "onnxruntime", "pynetdicom", "scipy", "sqlalchemy"}
    assert loaded & {*packages, "appliance.analysis.pipeline", "appliance.storage.tables"} == set()
