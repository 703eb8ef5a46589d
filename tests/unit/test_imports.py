"""Every module can be imported where the GPU packages, systemd's library and PyTorch are absent."""

import pkgutil
import subprocess
import sys

import appliance
import engines
import kernels
import provisioning

ABSENT = ("pycuda", "pynvml", "tensorrt", "tensorrt_rtx", "systemd", "torch")
TRAINING = ("engines.training", "provisioning.training", "provisioning.training.material")


WITHOUT = f"""
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
for module in sys.argv[1:]:
    importlib.import_module(module)
"""


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
    done = subprocess.run([sys.executable, "-c", WITHOUT, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
