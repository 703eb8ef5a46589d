"""The effect of each condition that is not met, and the steps that mend it: for the page of conditions."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """The effect of a condition on radiographs and answers, and the steps that mend it."""

    effect: str
    steps: tuple[str, ...]


_STEP_OF_ROLE = (
    "Read why the role ended, and start it again: `journalctl -u osteon-{0}`, `systemctl restart osteon-{0}`."
)

REMEDIES: Mapping[str, Remedy] = {
    "database": Remedy(
        effect="Radiographs are refused with a status that senders try again; nothing is analysed or delivered.",
        steps=(
            "`osteon doctor` names the file or the server and what is wrong with it.",
            "Make room on the disk, mend the owner of the state folder, or start the database server.",
            "A damaged database is replaced: operate.md, A damaged database. The radiographs stay in the spool.",
        ),
    ),
    "disk": Remedy(
        effect="Below its reserve the appliance refuses radiographs; senders keep them and try again.",
        steps=(
            "Look at what fills the disk: `du -xh --max-depth=2 /var/lib/osteon`.",
            "Mend the destinations that files wait for: what was not delivered is never removed.",
            "Shorten `retention.days`, or give the appliance a larger disk.",
        ),
    ),
    "disk.days": Remedy(
        effect="When the disk is full, delivered radiographs are removed early; then radiographs are refused.",
        steps=(
            "Shorten `retention.days`, or give the appliance a larger disk.",
            "See whether answers wait for a destination that is away: `osteon queue list`.",
        ),
    ),
    "configuration": Remedy(
        effect="Roles work with the configuration of their start, and one that cannot be used ends the next start.",
        steps=(
            "`osteon check` names what cannot be used.",
            "`systemctl restart 'osteon-*.service'` starts every role with the file as it is.",
        ),
    ),
    "silence": Remedy(
        effect="If a sender has stopped, its radiographs get no answer, and nothing else tells of it.",
        steps=(
            "Ask whether radiographs were made: a holiday or a room out of order is a reason, too.",
            "Send one from the PACS, and look at the associations that were turned away: `osteon doctor`.",
            "Look at the routing rules of the PACS and of the X-ray rooms, and at the network.",
        ),
    ),
    "agreement": Remedy(
        effect="Answers about the site go on, and are wrong more often than its validation has shown.",
        steps=(
            "Read the studies on which answer and report differ: the page of the rollout counts them.",
            "Where the answers are wrong, set the site back (`osteon phase set`), and validate it anew.",
            "Where the words of reports were misread, correct the conclusion: `osteon validate conclude`.",
        ),
    ),
    "drift": Remedy(
        effect="Answers about the site go on; how often they are right on such radiographs was not measured here.",
        steps=(
            "Ask what changed: a detector, its processing, the window in the header, a ward or a group of patients.",
            "Read some of these radiographs beside their answers.",
            "Where they are wrong more often, set the site back (`osteon phase set`) and validate it anew.",
        ),
    ),
    "alarms": Remedy(
        effect="Conditions are not told by this channel, or not to all recipients; it is tried again until it works.",
        steps=(
            "`osteon alarm test` sends a message, and says why it was not taken.",
            "Correct the table of the channel in `[alarms]`, its files or the server, and restart osteon-status.",
        ),
    ),
    "clock.kept": Remedy(
        effect="Times in answers, certificates and retention drift with the clock.",
        steps=("`timedatectl set-ntp true`, with the time server of the hospital in `/etc/systemd/timesyncd.conf`.",),
    ),
    "clock": Remedy(
        effect="Times in answers before the step may be wrong; queues go on by a clock that never steps.",
        steps=(
            "See whether the clock is synchronised: `timedatectl`.",
            "Name the time server of the hospital in `/etc/systemd/timesyncd.conf` and restart systemd-timesyncd.",
        ),
    ),
    "role.receive": Remedy(
        effect="No radiograph is received; senders keep them and try again.",
        steps=(
            "Most frequent are a port in use, and a certificate that cannot be read.",
            _STEP_OF_ROLE.format("receive"),
        ),
    ),
    "role.analyse": Remedy(
        effect="Radiographs are received and kept, and wait for their answer.",
        steps=(
            "`osteon pack list` shows whether the pack can be used.",
            _STEP_OF_ROLE.format("analyse"),
        ),
    ),
    "role.deliver": Remedy(
        effect="Answers are made and kept, and do not leave.",
        steps=(_STEP_OF_ROLE.format("deliver"),),
    ),
    "role.status": Remedy(
        effect="This page and the metrics are missing; radiographs are answered.",
        steps=(_STEP_OF_ROLE.format("status"),),
    ),
    "queue.analyses": Remedy(
        effect="The answers of these radiographs are late.",
        steps=(
            "`osteon queue list` names the jobs; `osteon queue show analysis:ID` has the reason of one.",
            "Once the reason is mended: `osteon queue retry --code CODE`.",
        ),
    ),
    "queue.studies": Remedy(
        effect="The reports of these studies are late; pictures of single radiographs may have left.",
        steps=("`osteon queue list` names the jobs; `osteon queue show study:ID` has the reason of one.",),
    ),
    "destination": Remedy(
        effect="Answers wait here until the destination takes them, in their order; none is lost.",
        steps=(
            "`osteon doctor` connects to the destination and says which step fails.",
            "Mend the peer, the network or the configuration; what waits is sent by itself.",
            "Parked artefacts wait for you: `osteon queue retry --to NAME` once the reason is mended.",
            "A destination that is gone: `osteon queue reroute --from NAME --to OTHER`.",
            "Give its artefacts up for good: `osteon queue drop --to NAME --reason WHY`.",
        ),
    ),
    "gate": Remedy(
        effect="Nothing leaves, since a person or a restored backup has set a hold.",
        steps=("When you are sure of what would leave: `osteon queue release`, with `--to NAME` for one destination.",),
    ),
    "phase": Remedy(
        effect="In shadow nothing about the site leaves the box; in familiarise its answers flag nothing.",
        steps=(
            "See what has changed: `osteon phase list` has the reason, `osteon audit list` the entry.",
            "Begin again at this hospital: `osteon phase set SITE familiarise --reason WHY`, then a new validation.",
        ),
    ),
    "certificate": Remedy(
        effect="After its end, connections with TLS fail: radiographs are refused, or answers wait.",
        steps=(
            "Have the authority of the hospital sign a new certificate, and put it in the place of the old file.",
            "Restart the role that reads it: `systemctl restart osteon-receive` or `osteon-deliver`.",
        ),
    ),
    "gpu.used": Remedy(
        effect="The CPU computes the same answers, more slowly.",
        steps=("`osteon doctor` says what the GPU lacks: driver, package or memory.",),
    ),
    "gpu.clocks": Remedy(
        effect="Answers take longer.",
        steps=("Clean the fans, look at the temperature of the room and at the power supply.",),
    ),
    "gpu.memory": Remedy(
        effect="The card may compute wrongly; Osteon checks its plans at each start only.",
        steps=("Replace the card. Until then set `analyse.compute` to `cpu`, and restart osteon-analyse.",),
    ),
}
"""By the name of a condition, or by its first word."""


def remedy_of(name: str) -> Remedy | None:
    """Return the remedy of a condition, with the name of its destination; None for a condition that has none."""
    family, _, about = name.partition(".")
    found = REMEDIES.get(name) or REMEDIES.get(family)
    if found is None or family != "destination":
        return found
    return replace(found, steps=tuple(step.replace("NAME", shlex.quote(about)) for step in found.steps))
