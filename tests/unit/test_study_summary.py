"""The study summary: every radiograph once, on pages that are valid and reproducible objects."""

from __future__ import annotations

import copy
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from appliance.dicom.objects.secondary_capture import secondary_capture
from appliance.dicom.objects.study_summary import page_count, study_summary
from appliance.dicom.part10 import dataset_from_bytes, part10_bytes
from appliance.domain.identifiers import Laterality, Site, derived_uid
from appliance.domain.result import Predecessor, Result
from appliance.domain.sentence import Sentence
from appliance.domain.study import StudyResult
from appliance.picture.summary import HEIGHT_PX, PER_PAGE, WIDTH_PX, summary_pages
from tests.support.objects import dciodvfy
from tests.support.peers import Peer
from tests.support.results import finding, result, unanalysed
from tests.support.sources import source, variants

KINDS = ("positive", "negative", "unanalysed")


def views(number: int, ds: Dataset) -> dict[str, Dataset]:
    """Return `number` radiographs of the study of `ds`, by SOP Instance UID."""
    made = {}
    for k in range(number):
        one = copy.deepcopy(ds)
        one.SOPInstanceUID, one.InstanceNumber = derived_uid(ds.StudyInstanceUID, k), k + 1
        made[str(one.SOPInstanceUID)] = one
    return made


def study_of(sources: dict[str, Dataset], **changes: object) -> StudyResult:
    def answer(k: int, ds: Dataset) -> Result:
        return unanalysed(ds) if k % 3 == 2 else result(ds, finding(0.9 if k % 3 == 0 else 0.1))

    made = StudyResult(
        study_instance_uid=str(next(iter(sources.values())).StudyInstanceUID),
        created_at=datetime(2026, 1, 2, 10, 17, tzinfo=UTC),
        results=tuple(answer(k, ds) for k, ds in enumerate(sources.values())),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # the caller's names are the fields'


def picture(level: int) -> np.ndarray:
    return np.full((512, 400, 3), level, np.uint8)


@pytest.mark.parametrize(("number", "pages"), [(1, 1), (3, 1), (PER_PAGE, 1), (PER_PAGE + 1, 2), (3 * PER_PAGE, 3)])
def test_summary_shows_every_radiograph_once(number: int, pages: int) -> None:
    sources = views(number, source())
    study = study_of(sources)
    pictures = {uid: picture(100 + k) for k, uid in enumerate(sources)}
    made = summary_pages(study, {}, pictures)
    assert len(made) == page_count(study) == pages
    assert {page.shape[1:] for page in made} == {(WIDTH_PX, 3)}
    for k in range(number):
        level = 100 + k
        shown = [bool(np.count_nonzero((page == level).all(axis=2)) > 10_000) for page in made]
        assert shown.index(True) == k // PER_PAGE and sum(shown) == 1


def test_summary_of_eight_radiographs_is_one_page_of_at_most_1600_px() -> None:
    sources = views(PER_PAGE, source())
    regions = [finding(p, site=s) for p, s in ((0.9, Site.HAND), (0.4, Site.WRIST), (0.1, Site.ELBOW))]
    results = tuple(
        result(ds, *regions, caveats=(Sentence.of("cast seen"), Sentence.of("hardware seen")))
        for ds in sources.values()
    )
    (page,) = summary_pages(study_of(sources, results=results), dict.fromkeys(sources, "series 1, view PA"), {})
    assert page.shape[0] <= HEIGHT_PX == 1600


def test_summary_of_a_different_study_differs() -> None:
    sources = views(3, source())
    study, pictures = study_of(sources), {uid: picture(100) for uid in sources}
    before = Predecessor(revision=1, pack_digest="0" * 64)
    (plain,) = summary_pages(study, {}, pictures)
    others = [
        summary_pages(replace(study, revision=2, predecessor=before), {}, pictures),
        summary_pages(study, dict.fromkeys(sources, "series 3, image 2, view PA"), pictures),
        summary_pages(study, {}, {}),
        summary_pages(replace(study, results=study.results[::-1]), {}, pictures),
        summary_pages(
            replace(
                study, results=(*study.results[:2], replace(study.results[2], caveats=(Sentence.of("cast seen"),)))
            ),
            {},
            pictures,
        ),
    ]
    for (other,) in others:
        assert other.shape != plain.shape or not np.array_equal(other, plain)


def test_radiograph_that_was_left_out_is_named_at_the_head(drawn: list[str]) -> None:
    sources = views(2, source())
    whole = study_of(sources)
    notes = (Sentence.of("1 of 3 radiographs name another patient: not part of this"),)
    summary_pages(replace(whole, notes=notes, left_out=1), {}, {})
    assert str(notes[0]) in " ".join(drawn[:4])


def test_caveat_shared_by_all_radiographs_is_written_once() -> None:
    sources = views(4, source())
    study = study_of(sources)
    common = replace(study, results=tuple(replace(r, caveats=(Sentence.of("x"),)) for r in study.results))
    own = replace(
        study, results=tuple(replace(r, caveats=(Sentence.of(f"x{k}"),)) for k, r in enumerate(study.results))
    )

    def cautions(made: StudyResult) -> int:
        (page,) = summary_pages(made, {}, {})
        amber = (page.astype(int) - (255, 200, 40) == 0).all(axis=2).any(axis=1)
        return int(np.count_nonzero(np.diff(amber.astype(int)) == 1))

    assert cautions(common) < cautions(own)


@pytest.mark.parametrize("compression", ["none", "jpeg"])
@pytest.mark.parametrize("name", ["dx", "cr", "utf8"])
def test_summary_pages_pass_dciodvfy(name: str, compression: str, peer: Peer, tmp_path: Path) -> None:
    sources = views(PER_PAGE + 2, variants()[name])
    made = study_summary(study_of(sources), sources, {}, compression)  # type: ignore[arg-type]
    assert len(made) == 2
    for number, ds in enumerate(made):
        file = tmp_path / f"{number}.dcm"
        file.write_bytes(part10_bytes(ds))
        assert dciodvfy(peer, file) == set()
        subprocess.run([peer("dcmj2pnm"), "--write-raw-pnm", file, tmp_path / "x.pnm"], check=True, capture_output=True)


def test_summary_pages_share_a_series_that_sorts_before_the_overlays() -> None:
    sources = views(PER_PAGE + 2, source())
    study = study_of(sources)
    first, second = study_summary(study, sources, {})
    assert first.SOPInstanceUID == study.uid("summary") != second.SOPInstanceUID == study.uid("summary 2")
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert (first.InstanceNumber, second.InstanceNumber) == (1, 2)
    ds = next(iter(sources.values()))
    overlaid = secondary_capture(ds, result(ds), np.zeros((9, 9, 3), np.uint8))
    assert ds.SeriesNumber < first.SeriesNumber < overlaid.SeriesNumber
    shown = [item.ReferencedSOPInstanceUID for made in (first, second) for item in made.SourceImageSequence]
    assert shown == list(sources)
    assert (first.PatientID, first.AccessionNumber) == (ds.PatientID, ds.AccessionNumber)
    assert str(ds.PatientName) not in str(first.ImageComments)


def test_revised_summary_is_another_object_and_the_same_study_gives_the_same_bytes() -> None:
    sources = views(3, source())
    study = study_of(sources)
    later = replace(study, revision=2, predecessor=Predecessor(revision=1, pack_digest="0" * 64))
    (once,), (again,), (second,) = (study_summary(s, sources, {}) for s in (study, study, later))
    assert part10_bytes(once) == part10_bytes(again)
    assert second.SOPInstanceUID != once.SOPInstanceUID
    assert second.ImageComments.endswith(f"takes the place of {later.predecessor_uid('summary')}")
    assert "place of" not in once.ImageComments
    assert "rev" not in once.SeriesDescription and "summary rev 2 -" in second.SeriesDescription


def test_summary_page_writes_its_time_in_the_zone_of_its_header() -> None:
    sources = views(3, source())
    for ds in sources.values():
        ds.TimezoneOffsetFromUTC = "+0530"
        ds.SeriesNumber = ds.InstanceNumber = None
        ds.ViewPosition = ""
    study = study_of(sources)
    (made,) = study_summary(study, sources, {}, "none")
    zone = timezone(timedelta(hours=5, minutes=30))
    (drawn,) = summary_pages(replace(study, created_at=study.created_at.astimezone(zone)), {}, {})
    (elsewhere,) = summary_pages(study, {}, {})
    assert made.ContentTime == "154700" and made.PixelData == drawn.tobytes() != elsewhere.tobytes()


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ((Laterality.LEFT, Laterality.LEFT), ("L", None)),
        ((Laterality.LEFT, Laterality.RIGHT), (None, "B")),
        ((Laterality.LEFT, Laterality.UNKNOWN), ("", None)),
    ],
)
def test_summary_laterality_is_one_side_both_or_unknown(
    sides: tuple[Laterality, Laterality], expected: tuple[str | None, str | None]
) -> None:
    sources = views(2, source())
    results = tuple(result(ds, finding(laterality=s)) for ds, s in zip(sources.values(), sides, strict=True))
    (made,) = study_summary(study_of(sources, results=results), sources, {})
    made = dataset_from_bytes(part10_bytes(made))
    assert (made.get("Laterality"), made.get("ImageLaterality")) == expected


def test_summary_lists_a_radiograph_without_its_bytes() -> None:
    sources = views(2, source())
    uid = list(sources)[1]
    gone = Dataset()
    gone.SOPInstanceUID, gone.StudyInstanceUID = uid, sources[uid].StudyInstanceUID
    study = study_of(sources)
    (made,) = study_summary(study, {**sources, uid: gone}, {})
    assert [item.ReferencedSOPInstanceUID for item in made.SourceImageSequence] == list(sources)[:1]
