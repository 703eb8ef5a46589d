"""Recheck at the start of the analyse role: changed software or hardware has to give the answers that were recorded.

The goldens of the networks are checked at every start (`pipeline_assembly`). Where the device, the driver, the runtime,
the precision or the version of Osteon is another than before, the newest kept radiographs are analysed again as well.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.domain.audit import AuditAction, Door, Intervention
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.result import Provenance, Result
from appliance.errors import Fault, Rejected, Transient
from appliance.rollout.recheck import KEPT, Comparison, Surroundings, compare
from appliance.storage import audit
from appliance.storage.phases import APPLIANCE, set_back
from appliance.storage.rechecks import (
    KeptRadiograph,
    begin_recheck,
    have_others_computed,
    is_checked,
    kept_radiographs,
    record_recheck,
)
from appliance.storage.spool import SpoolDamaged
from engines.runner import RunnerError
from kernels.operations import KernelError

from .spool_reader import SpooledInstance, SpoolReader
from .systemd_notify import Notify
from .unexpected_error import log_unexpected

WHY = "software or hardware has changed"

MOST_STARTS = 3
"""Starts after which a recheck that ends the role counts as failed, so that radiographs are analysed again."""

log = logging.getLogger(__name__)


def recheck(
    engine: Engine, reader: SpoolReader, provenance: Provenance, fingerprints: Mapping[Site, str], notify: Notify
) -> None:
    """Compare kept radiographs with their recorded results, if these surroundings have not been found equal yet.

    Where the answers are not the same, sites beyond `familiarise` go back to it; so they do where nothing can be
    compared, and other surroundings have computed here before.

    Parameters
    ----------
    fingerprints
        Of the present engines.
    notify
        Is called with each step that may take long.

    Raises
    ------
    Fault, RunnerError, KernelError, SQLAlchemyError
        If an engine, a device or the database fails; the role has to be restarted.
    """
    surroundings = Surroundings.of(provenance)
    with engine.connect() as c:
        if is_checked(c, surroundings):
            return
        kept = kept_radiographs(c, fingerprints, KEPT)
        have_others = have_others_computed(c, surroundings)
    starts = begin_recheck(engine, surroundings)
    found = _compare(reader, kept, notify) if starts <= MOST_STARTS else Comparison(was_completed=False)
    found = replace(found, has_predecessor=have_others)
    sentence = f"Osteon {surroundings.software_version} on {surroundings.compute}: {found.sentence}"
    if not found.is_within:  # first: a role that ends between the two checks again
        set_back(engine, list(Site), Phase.FAMILIARISE, WHY)
    with engine.begin() as c:
        record_recheck(c, surroundings, found)
        if not kept and not have_others:
            return
        by = Intervention(person=APPLIANCE, door=Door.APPLIANCE, reason=WHY)
        audit.record(c, by, AuditAction.RECHECK, f"pack {provenance.pack_name}", sentence)
    (log.info if found.is_within else log.error)("%s", sentence)


def _compare(reader: SpoolReader, kept: list[KeptRadiograph], notify: Notify) -> Comparison:
    pairs: list[tuple[Result, Result | None]] = []
    unreadable = 0
    instances = [SpooledInstance(radiograph.digest, radiograph.calling_ae_title) for radiograph in kept]
    for number, (radiograph, instance) in enumerate(zip(kept, instances, strict=True)):
        notify(f"kept radiograph {number + 1} of {len(kept)} is analysed again, since software or hardware has changed")
        reader.decode_ahead(instances[number : number + 1 + reader.processes])
        try:
            pairs.append((radiograph.recorded, _analyse_again(reader, instance)))
        except (SpoolDamaged, Transient) as error:
            log.warning("a kept radiograph cannot be compared: %s", error)
            unreadable += 1
    return compare(pairs, unreadable=unreadable)


def _analyse_again(reader: SpoolReader, instance: SpooledInstance) -> Result | None:
    """Return the result of an instance now; None if it cannot be analysed any more."""
    try:
        return reader.read(reader.examine_spooled(instance)).analysis.result
    except (SpoolDamaged, Transient, Fault, RunnerError, KernelError, SQLAlchemyError):
        raise
    except Rejected as error:
        log.warning("a kept radiograph is not answered any more: %s", error)
    except Exception as error:  # noqa: BLE001  one radiograph must not keep the role from starting
        log_unexpected(error, "the analysis of a kept radiograph")
    return None
