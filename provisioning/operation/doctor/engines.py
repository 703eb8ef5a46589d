"""Checks of the engines: the packs load and are signed as configured, and the hardware can be used."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.compute import choose_compute
from appliance.config import Configuration
from appliance.errors import Fault
from appliance.service.pipeline_assembly import packs_of

from .finding import Finding


def check_packs(config: Configuration) -> Iterator[Finding]:
    """Yield a finding for each configured pack, or the one for the first that cannot be used."""
    try:
        packs = packs_of(config)
    except Fault as fault:
        effect = "the role analyse cannot start: radiographs wait"
        remedy = (
            "`osteon pack list` shows the packs that analyse.pack can name; `osteon pack install` installs one again"
        )
        yield Finding.error("packs", fault.reason, effect, remedy)
        return
    signed = "signed by a trusted key" if config.analyse.trusted_keys else "analyse.trusted_keys asks for no signature"
    for pack in packs:
        yield Finding.good(f"packs.{pack.name}", f"pack {pack.name} {pack.version} is whole; {signed}")


def check_compute(config: Configuration) -> Iterator[Finding]:
    """Yield the finding about the hardware that the role analyse would choose."""
    try:
        chosen = choose_compute(config.analyse.compute, half=config.analyse.half)
    except Fault as fault:
        effect = "the role analyse cannot start: radiographs wait"
        yield Finding.error("compute", fault.reason, effect, fault.code.remedy)
        return
    if chosen.has_unused_gpu:
        remedy = 'do what the reason says, then `systemctl restart osteon-analyse`; or set analyse.compute = "cpu"'
        yield Finding.warning("compute", f"{chosen.name}: {chosen.reason}", "radiographs take longer", remedy)
    else:
        yield Finding.good("compute", f"{chosen.name}: {chosen.reason}")
