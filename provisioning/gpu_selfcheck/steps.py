"""The steps of the check, in order."""

from __future__ import annotations

from collections.abc import Callable

from . import basics
from .step import Figures, Place, Step

STEPS = (
    Step(name="card", about="the card and its driver"),
    Step(name="driver", about="CUDA as the role opens it"),
    Step(name="fatbin", about="the compiled kernels"),
    Step(name="kernels", about="kernels against their definition"),
    Step(name="dali", about="stage 1 by DALI, card against CPU", needs_card=True),
    Step(name="plans", about="TensorRT's plans for this card", needs_card=True, limit_s=900),
    Step(name="goldens", about="networks, with their goldens", limit_s=900),
    Step(name="goldens16", about="the same in float16", limit_s=900),
    Step(name="parity", about="answers, card against CPU", limit_s=600),
    Step(name="speed", about="kernels, timed", needs_card=True),
    Step(name="bus", about="copies over PCIe, timed", needs_card=True),
    Step(name="pipeline", about="the whole pipeline, timed", needs_card=True, limit_s=600),
)


def function_of(name: str) -> Callable[[Place], Figures]:
    """Return the function of a step, which returns figures, or raises an exception with the fault."""
    alone = {
        "card": basics.look_at_card,
        "driver": basics.try_driver,
        "fatbin": basics.load_kernels,
        "kernels": basics.compare_kernels,
    }
    if name in alone:
        return alone[name]
    # the pipeline's imports take seconds, and a fault in one of them must not hide the card's
    from . import correctness, speed

    return {
        "dali": correctness.compare_dali,
        "plans": correctness.build_plans,
        "goldens": correctness.check_float32_goldens,
        "goldens16": correctness.check_float16_goldens,
        "parity": correctness.compare_answers,
        "speed": speed.time_kernels,
        "bus": speed.time_bus,
        "pipeline": speed.time_pipeline,
    }[name]
