"""Times on the GPU's own clock."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from kernels.device import Gpu, aligned

RING_BYTES = 512 << 20
"""Size of the data that launches go around: no cache holds it (the L2 of an RTX 4090 has 72 MB, of an H200 60)."""

AHEAD = 12
"""Copies of a whole ring that keep the GPU busy while Python enqueues: some 12 ms on an RTX 4090."""

LAUNCHES = 50


class Rings:
    """Two pieces of memory on the GPU; successive launches read and write successive parts, so no cache helps."""

    def __init__(self, gpu: Gpu, size_bytes: int = RING_BYTES) -> None:
        self._gpu = gpu
        self.size_bytes = size_bytes
        with gpu.reported("the benchmark finds no room on the GPU"):
            self._memory = [gpu.driver.mem_alloc(size_bytes) for _ in range(2)]
        self.source, self.target = map(int, self._memory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for memory in self._memory:
            memory.free()

    def copy(self) -> None:
        """Enqueue a copy of the whole ring."""
        self._gpu.driver.memcpy_dtod_async(self.target, self.source, self.size_bytes, self._gpu.stream)

    def walk(self, work: Callable[[int, int], object], read_bytes: int, written_bytes: int) -> Callable[[], None]:
        """Return a launch of `work(source, target)`, each time with the next part of each ring."""
        parts = self.size_bytes // aligned(max(read_bytes, written_bytes))
        turn = 0

        def launch() -> None:
            nonlocal turn
            work(self.source + turn * aligned(read_bytes), self.target + turn * aligned(written_bytes))
            turn = (turn + 1) % parts

        return launch

    def ms(self, work: Callable[[], object], launches: int = LAUNCHES) -> float:
        """Return the GPU's milliseconds of one `work`, of many that are enqueued behind a busy stream.

        One launch between two events on an idle stream would measure Python, which takes longer to launch a kernel than
        the kernel takes to run.
        """
        driver: Any = self._gpu.driver
        work()
        self._gpu.wait()
        with self._gpu.reported("the GPU's clock cannot be read"):
            before, after = driver.Event(), driver.Event()
            for _ in range(AHEAD):
                self.copy()
            before.record(self._gpu.stream)
            for _ in range(launches):
                work()
            after.record(self._gpu.stream)
            after.synchronize()
            return float(after.time_since(before)) / launches
