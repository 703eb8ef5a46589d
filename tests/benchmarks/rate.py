"""Radiographs a second through the whole box, its latency, memory and idle cost: ``python -m tests.benchmarks.rate``.

A CR of 10.4 megapixels goes through receive, analyse and deliver, with DCMTK's dcmsend as the room, its storescp as the
PACS, and the HL7 and FHIR peers of ``tests/peers``, all on loopback. The roles run on one core and on two. With
``--against CHECKOUT`` those of another checkout do the same in turn, and every figure has a ratio. Wall times mean
something on an otherwise idle machine alone; processor milliseconds hardly depend on it.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from tests.benchmarks.box import Box, Passage, idle_percent, peers, send
from tests.benchmarks.radiographs import Template, templates

OWN = Path(__file__).resolve().parents[2]
WARM_UP_S = 10.0
"""Time after the start until a box that does nothing uses no more for its start."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured."""

    radiographs: int
    rounds: int
    latencies: int
    loads: tuple[float, ...]
    idle_s: float


SHORT = Extent(radiographs=6, rounds=1, latencies=8, loads=(0.5,), idle_s=15)
LONG = Extent(radiographs=40, rounds=3, latencies=100, loads=(0.1, 0.5, 0.9), idle_s=60)


@dataclass
class Seen:
    """The figures of one checkout on so many cores, by encoding."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    processor_ms: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def rate(self, encoding: str) -> float:
        """Return the best rate of the rounds: what else the machine does makes it only smaller."""
        return max(self.rates[encoding])

    def ms(self, encoding: str) -> dict[str, float]:
        """Return processor milliseconds a radiograph by role, the least of the rounds."""
        rounds = self.processor_ms[encoding]
        return {role: min(each[role] for each in rounds) for role in rounds[0]}

    def total_ms(self, encoding: str) -> float:
        """Return processor milliseconds a radiograph of all roles."""
        return sum(self.ms(encoding).values())


@click.command()
@click.option("--against", type=click.Path(exists=True, path_type=Path), help="Another checkout, measured in turn.")
@click.option("--long", "is_long", is_flag=True, help="Hours instead of minutes: more radiographs, rounds and loads.")
@click.option("--cores", default="1,2", show_default=True, help="Numbers of cores, with commas.")
@click.option("--flat", default=0, help="Instead: send so many phantoms, and print the memory at each tenth.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("build/rate"), show_default=True)
def main(against: Path | None, is_long: bool, cores: str, flat: int, folder: Path) -> None:
    """Print tables in Markdown, and progress on standard error."""
    extent = LONG if is_long else SHORT
    shutil.rmtree(folder, ignore_errors=True)
    folder = folder.resolve()
    (folder / "files").mkdir(parents=True)
    checkouts = {"now": OWN} | ({"before": against.resolve()} if against else {})
    print(f"load of the machine at the start: {os.getloadavg()[0]:.1f}\n")
    try:
        if flat:
            watch_memory(checkouts["now"], folder, flat)
            return
        material = templates(folder / "files")
        for number in map(int, cores.split(",")):
            with boxes(checkouts, folder / f"{number}", number) as running:
                if number > 1:
                    print_idle(running, extent)
                seen = measure_rates(running, material, folder / "files", extent)
                print_rates(seen, number)
                if number > 1:
                    print_limits(seen["now"])
                    print_latencies(running["now"], seen["now"], material["uncompressed"], folder / "files", extent)
                    print_memory(running)
        print(f"\nload of the machine at the end: {os.getloadavg()[0]:.1f}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def boxes(checkouts: dict[str, Path], folder: Path, cores: int) -> Iterator[dict[str, Box]]:
    """Run a box of each checkout, every one paused."""
    with ExitStack() as stack:
        running = {}
        for name, checkout in checkouts.items():
            print(f"{name} starts on {cores} cores", file=sys.stderr)
            destinations = stack.enter_context(peers(folder / f"{name}-peers"))
            running[name] = Box(checkout, folder / name, cores, destinations)
            stack.callback(running[name].close)
            time.sleep(WARM_UP_S)
            running[name].pause()
        yield running


@contextmanager
def turn(box: Box) -> Iterator[None]:
    """Let one box run."""
    box.go_on()
    try:
        yield
    finally:
        box.pause()


def print_idle(running: dict[str, Box], extent: Extent) -> None:
    """Print the share of a core that each role uses without work."""
    shares = {}
    for name, box in running.items():
        with turn(box):
            shares[name] = idle_percent(box, extent.idle_s)
    print(f"Idle, three destinations, percent of a core over {extent.idle_s:.0f} s:\n")
    print_table(["role", *shares], [[role, *(f"{s[role]:.2f}" for s in shares.values())] for role in shares["now"]])
    print(f"\nAll: {', '.join(f'{name} {sum(s.values()):.2f}' for name, s in shares.items())}\n")


def measure_rates(
    running: dict[str, Box], material: dict[str, Template], folder: Path, extent: Extent
) -> dict[str, Seen]:
    """Send a number of radiographs at once to each box in turn, in each encoding.

    A rate counts from the first commit to the last answer of all, so that a short run is a little too low.
    """
    seen = {name: Seen() for name in running}
    for encoding, template in material.items():
        for box in running.values():
            with turn(box):
                run(box, template, folder, 1)  # first use of an encoding loads its codec
        for number in range(extent.rounds):
            for name, box in running.items():
                with turn(box):
                    before = box.processor_s()
                    passages = run(box, template, folder, extent.radiographs)
                    after = box.processor_s()
                took = max(p.last for p in passages) - min(p.received for p in passages)
                rate = len(passages) / took
                print(f"{name}, {encoding}, round {number + 1}: {rate:.2f} a second", file=sys.stderr)
                spent = {role: 1e3 * (after[role] - before[role]) / len(passages) for role in after}
                seen[name].rates.setdefault(encoding, []).append(rate)
                seen[name].processor_ms.setdefault(encoding, []).append(spent)
    return seen


def run(box: Box, template: Template, folder: Path, number: int) -> list[Passage]:
    """Send `number` radiographs in one association; return when all are answered."""
    after = box.newest()
    files = [template.write(folder / f"{index}.dcm", after + index) for index in range(number)]
    sender = send(box.port, files)
    passages = box.passages(after, number)
    assert sender.wait() == 0
    return passages


def print_rates(seen: dict[str, Seen], cores: int) -> None:
    """Print rates and processor milliseconds, with the ratio of both checkouts."""
    now, before = seen["now"], seen.get("before")
    print(f"\nRadiographs of 10.4 megapixels, roles on {cores} of {os.cpu_count()} cores:\n")
    rows = []
    for encoding in now.rates:
        row = [encoding, f"{now.rate(encoding):.2f}", f"{now.total_ms(encoding):.0f}"]
        row += [f"{ms:.0f}" for ms in now.ms(encoding).values()]
        if before:
            row += [f"{before.rate(encoding):.2f}", f"{before.total_ms(encoding):.0f}"]
            row += [f"{now.rate(encoding) / before.rate(encoding):.2f}"]
            row += [f"{before.total_ms(encoding) / now.total_ms(encoding):.2f}"]
        rows.append(row)
    heads = ["encoding", "a second", "processor ms", *now.ms(next(iter(now.rates)))]
    heads += ["before: a second", "before: ms", "ratio of rates", "ratio of ms"] if before else []
    print_table(heads, rows)


def print_limits(seen: Seen) -> None:
    """Print what the busiest part of the box allows on more cores: an estimate, not a measurement.

    A role is taken as one thread (its interpreter has one lock), the children of analyse as a pool that grows with the
    cores, and the cores as perfectly shared.
    """
    print("\nEstimate for more cores, radiographs a second by the busiest part (no simulation of queues):\n")
    rows = []
    for encoding in seen.rates:
        ms = seen.ms(encoding)
        for cores in (8, 16):
            pool = 1e3 * min(4, cores - 2) / ms["analyse: children"] if ms["analyse: children"] else float("inf")
            limits = {
                "all cores": 1e3 * cores / sum(ms.values()),
                "receive": 1e3 / ms["receive"] if ms["receive"] else float("inf"),
                "analyse, its own process": 1e3 / ms["analyse"],
                "analyse, four children": pool,
                "deliver": 1e3 / ms["deliver"],
            }
            busiest = min(limits, key=limits.__getitem__)
            rows.append([encoding, str(cores), f"{limits[busiest]:.1f}", busiest])
    print_table(["encoding", "cores", "a second", "limited by"], rows)


def print_latencies(box: Box, seen: Seen, template: Template, folder: Path, extent: Extent) -> None:
    """Print times from the commit of a radiograph to its artefacts, at shares of the measured rate, at random."""
    print("\nSeconds from the commit of a radiograph, uncompressed, on two cores:\n")
    rows = []
    draw = random.Random(1)
    for load in extent.loads:
        with turn(box):
            after, senders = box.newest(), []
            for index in range(extent.latencies):
                path = template.write(folder / f"{index}.dcm", after + index)
                senders.append(send(box.port, [path]))
                time.sleep(draw.expovariate(load * seen.rate("uncompressed")))
            passages = box.passages(after, extent.latencies)
            assert all(sender.wait() == 0 for sender in senders)
        for name, times in (
            ("first artefact at the PACS", [p.first - p.received for p in passages]),
            ("all artefacts", [p.last - p.received for p in passages]),
        ):
            cuts = statistics.quantiles(times, n=100, method="inclusive")
            rows.append([f"{load}", str(len(times)), name, *(f"{cuts[p - 1]:.2f}" for p in (50, 95, 99))])
    print_table(["load", "n", "until", "p50", "p95", "p99"], rows)


def print_memory(running: dict[str, Box]) -> None:
    """Print the largest resident memory of each role with its children."""
    memory = {}
    for name, box in running.items():
        with turn(box):
            memory[name] = box.memory_mb()
    print("\nLargest resident memory with children, MB:\n")
    print_table(["role", *memory], [[role, *(f"{m[role]:.0f}" for m in memory.values())] for role in memory["now"]])


def watch_memory(checkout: Path, folder: Path, number: int) -> None:
    """Print the resident memory after each tenth of `number` phantoms."""
    template = templates(folder / "files", large=False)["uncompressed"]
    with boxes({"now": checkout}, folder / "flat", os.cpu_count() or 1) as running, turn(running["now"]):
        for tenth in range(1, 11):
            run(running["now"], template, folder / "files", number // 10)
            memory = ", ".join(f"{role} {mb:.0f}" for role, mb in running["now"].memory_mb().items())
            print(f"{tenth * number // 10} radiographs: MB at most {memory}", flush=True)


def print_table(heads: list[str], rows: list[list[str]]) -> None:
    """Print a table in Markdown."""
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
