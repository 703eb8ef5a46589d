"""The steps of the check, in order."""

from __future__ import annotations

from .step import Step

STEPS = (
    Step(name="card", about="the card and its driver", run="basics.look_at_card"),
    Step(name="driver", about="CUDA as the role opens it", run="basics.try_driver"),
    Step(name="fatbin", about="the compiled kernels", run="basics.load_kernels"),
    Step(name="kernels", about="kernels against their definition", run="basics.compare_kernels"),
    Step(name="dali", about="stage 1 by DALI, card against CPU", run="correctness.compare_dali", needs_card=True),
    Step(
        name="plans",
        about="TensorRT's plans for this card",
        run="correctness.build_plans",
        needs_card=True,
        limit_s=900,
    ),
    Step(name="goldens", about="networks, with their goldens", run="correctness.check_float32_goldens", limit_s=900),
    Step(name="goldens16", about="the same in float16", run="correctness.check_float16_goldens", limit_s=900),
    Step(name="parity", about="answers, card against CPU", run="correctness.compare_answers", limit_s=600),
    Step(name="speed", about="kernels, timed", run="speed.time_kernels", needs_card=True),
    Step(name="bus", about="copies over PCIe, timed", run="speed.time_bus", needs_card=True),
    Step(name="pipeline", about="the whole pipeline, timed", run="speed.time_pipeline", needs_card=True, limit_s=600),
)
