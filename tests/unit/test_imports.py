"""Every module can be imported where the GPU packages, systemd's library and PyTorch are absent."""

import pkgutil
import subprocess
import sys

import appliance
import engines
import kernels
import provisioning

ABSENT = ("pycuda", "tensorrt", "tensorrt_rtx", "systemd", "torch")
TRAINING = ("engines.training", "provisioning.training", "provisioning.training_material")


def modules() -> list[str]:
    found = [
        m.name
        for p in (appliance, engines, kernels, provisioning)
        for m in pkgutil.walk_packages(p.__path__, f"{p.__name__}.")
    ]
    runs_when_imported = ("appliance.storage.migrations",)
    return [m for m in found if not m.startswith((*TRAINING, *runs_when_imported))]


def test_every_module_imports_without_the_gpu_packages() -> None:
    names = modules()
    assert len(names) > 50
    blocked = "; ".join(f"sys.modules[{name!r}] = None" for name in ABSENT)
    code = f"import sys; {blocked}; import importlib; [importlib.import_module(m) for m in {names!r}]"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
