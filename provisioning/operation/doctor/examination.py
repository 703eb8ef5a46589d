"""The whole examination: every check of a configuration, and its report for support."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from appliance.clock import now
from appliance.config import Configuration, DestinationConfig, DicomDestination, DicomWebDestination, Hl7Destination
from appliance.status.alarms.channels import channels_of
from appliance.status.health import without_identity
from provisioning.operation.check import find_doubts, find_problems, shown_values

from .alarms import check_channel
from .certificates import check_certificates, check_presented
from .clock import check_clock
from .dicomweb import check_dicomweb
from .engines import check_compute, check_packs
from .fhir_server import check_fhir_server
from .finding import Check, Finding
from .flow import check_flow
from .listening import check_ports, check_roles
from .pacs import check_pacs
from .radiograph import FOLLOW_S, check_radiograph
from .ris import check_ris
from .rounds import run_checks
from .state import check_audit, check_database, check_disk, check_state_dir

RADIOGRAPH_S = FOLLOW_S + 30.0
"""Time for the drawn radiograph: to draw, send and follow it."""


def examine(config: Configuration, file: Path | None) -> Iterator[Finding]:
    """Yield every finding about this box and the peers of the configuration, which was read from `file`."""
    return run_checks([*_box(config, file), *(check for d in config.destinations for check in _peer(d))])


def try_radiograph(config: Configuration) -> Iterator[Finding]:
    """Yield the findings about a drawn radiograph, which takes longer than any other check."""
    return run_checks([Check(name="radiograph", look=partial(check_radiograph, config))], RADIOGRAPH_S)


def _box(config: Configuration, file: Path | None) -> list[Check]:
    return [
        Check(name="configuration", look=partial(_check_configuration, config)),
        Check(name="user", look=partial(_check_user, config)),
        Check(name="state_dir", look=partial(check_state_dir, config)),
        Check(name="disk", look=partial(check_disk, config)),
        Check(name="database", look=partial(check_database, config)),
        Check(name="audit", look=partial(check_audit, config)),
        Check(name="port", look=partial(check_ports, config)),
        Check(name="role", look=partial(check_roles, config, file)),
        Check(name="certificate", look=partial(check_certificates, config)),
        Check(name="clock", look=check_clock),
        Check(name="packs", look=partial(check_packs, config)),
        Check(name="compute", look=partial(check_compute, config)),
        *(Check(name=f"alarms.{c.channel}", look=partial(check_channel, c)) for c in channels_of(config.alarms)),
        Check(name="flow", look=partial(check_flow, config)),
    ]


def _peer(destination: DestinationConfig) -> list[Check]:
    name = f"destination.{destination.name}"
    if isinstance(destination, DicomDestination):
        look = partial(check_pacs, destination)
    elif isinstance(destination, DicomWebDestination):
        look = partial(check_dicomweb, destination)
    elif isinstance(destination, Hl7Destination):
        look = partial(check_ris, destination)
    else:
        look = partial(check_fhir_server, destination)
    presented = Check(name=f"{name}.certificate", look=partial(check_presented, destination))
    return [Check(name=name, look=look), presented]


def _check_configuration(config: Configuration) -> Iterator[Finding]:
    problems, doubts = find_problems(config), find_doubts(config)
    for problem in problems:
        yield Finding.error("configuration", problem, "a role cannot start, or no sender reaches it", _CORRECT)
    for doubt in doubts:
        yield Finding.warning(
            "configuration", doubt, "radiographs, reports or commitment results may not arrive", _CORRECT
        )
    if not problems and not doubts:
        yield Finding.good("configuration", "the configuration can be used")


_CORRECT = "correct the key in the configuration, and restart the roles: `systemctl restart 'osteon-*.service'`"


def _check_user(config: Configuration) -> Iterator[Finding]:
    owner = config.state_dir.stat().st_uid if config.state_dir.exists() else os.geteuid()
    if owner != os.geteuid() == 0:
        yield Finding.warning(
            "user",
            "the doctor runs as root, which may read what the roles may not",
            "a file with the wrong owner may look as if it was in order",
            "`runuser -u osteon -- osteon doctor`",
        )


def _without_people(values: dict[str, Any]) -> dict[str, Any]:
    """Return settings with the number of names and mail addresses instead of them."""
    proxy, email = values["status"]["proxy"] or {}, values["alarms"]["email"] or {}
    for table, key in ((proxy, "operators"), (email, "recipients")):
        if table:
            table[key] = len(table[key])
    if email:
        email["sender"] = "********"
    return values


def report_of(config: Configuration | None, findings: Iterable[Finding]) -> dict[str, Any]:
    """Return a report for support: versions, settings without secrets and people, findings; no patient's data."""
    packages = ("osteon", "pydicom", "pynetdicom", "sqlalchemy", "onnxruntime", "httpx")
    return {
        "made_at": now().isoformat(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "configuration": _without_people(shown_values(config)) if config else None,
        "findings": [
            {**asdict(f), "seen": without_identity(f.seen), "effect": without_identity(f.effect)} for f in findings
        ],
    }
