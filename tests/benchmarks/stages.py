"""Milliseconds stage by stage for phantoms of every site, on this machine: ``python -m tests.benchmarks.stages``."""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from functools import partial
from time import perf_counter

from appliance.config import Analyse, Configuration, FhirDestination, Hl7Destination
from appliance.dicom.objects.secondary_capture import secondary_capture
from appliance.dicom.objects.structured_report import structured_report
from appliance.dicom.part10 import part10_bytes
from appliance.dicom.reading.order import read_examination
from appliance.domain.study import StudyResult
from appliance.picture.overlay import overlay
from appliance.reporting.fhir import bundle as fhir
from appliance.reporting.hl7 import oru
from appliance.service.instance_reader import Reader
from appliance.service.pipeline_assembly import pipeline_of
from provisioning.demonstration.run import SITES
from provisioning.phantoms import instance_from_phantom, phantom

ROUNDS = 5

RIS = Hl7Destination(kind="hl7", name="ris", host="127.0.0.1", port=2575)
FHIR = FhirDestination(kind="fhir", name="fhir", base_url="http://127.0.0.1")


def main() -> None:
    """Print median and worst milliseconds per stage, after one round that is not counted."""
    start = perf_counter()
    pipeline = pipeline_of(Configuration(analyse=Analyse(pack=sys.argv[1] if len(sys.argv) > 1 else "phantom")))
    reader = Reader(pipeline)
    print(f"engines ready after {perf_counter() - start:.2f} s")
    radiographs = [part10_bytes(instance_from_phantom(phantom(site.value, 1, True))) for site in SITES]
    spent: dict[str, list[float]] = defaultdict(list)
    for number in range(ROUNDS + 1):
        for radiograph in radiographs:
            times = _one(radiograph, reader)
            if number:
                for stage, ms in times.items():
                    spent[stage].append(ms)
    reader.close()
    print(f"{pipeline.provenance.compute}, pack {pipeline.provenance.pack_name}, n = {ROUNDS * len(radiographs)}")
    for stage, all_ms in spent.items():
        print(f"{stage:<12} median {statistics.median(all_ms):7.1f} ms   worst {max(all_ms):7.1f} ms")


def _one(radiograph: bytes, reader: Reader) -> dict[str, float]:
    start = perf_counter()
    reading = reader.read(reader.examine(partial(bytes, radiograph)))
    total = (perf_counter() - start) * 1e3
    result = reading.analysis.result
    times = dict(result.timings_ms)
    times = {"read": total - sum(times.values())} | times
    assert reading.grey is not None

    def timed(stage: str, work: object) -> object:
        assert callable(work)
        begin = perf_counter()
        made: object = work()
        times[stage] = (perf_counter() - begin) * 1e3
        return made

    grey, source = reading.grey, reading.source
    uid = result.study_instance_uid
    study = StudyResult(study_instance_uid=uid, created_at=result.created_at, results=(result,))
    rgb = timed("overlay", lambda: overlay(grey, result, reading.analysis.heats))
    timed("sc", lambda: part10_bytes(secondary_capture(source, result, rgb)))  # type: ignore[arg-type]
    timed("sr", lambda: part10_bytes(structured_report(study, {result.sop_instance_uid: source})))
    timed("oru", lambda: oru.oru_r01(study, read_examination(source), RIS))
    timed("fhir", lambda: fhir.transaction(study, read_examination(source), FHIR))
    times["all"] = sum(times.values())
    return times


if __name__ == "__main__":
    main()
