"""Phantoms: pixels, labels and headers agree."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from scipy import ndimage

from appliance.domain.identifiers import is_valid_uid
from provisioning.phantoms import VIEWS, Phantom, instance_from_phantom, phantom
from provisioning.phantoms.anatomy import ANATOMIES
from provisioning.phantoms.exposure import LEAK, add_scatter, draw_scatter

SITES = ("ankle", "wrist", "knee", "shoulder", "pelvis", "spine")
IN_TWO_VIEWS = ("ankle", "wrist", "knee", "spine")
REACH = 0.17
"""Largest distance from the line at which a step still moves bone, as a share of the region's shorter side."""


def _bright_bone(p: Phantom) -> NDArray[np.float64]:
    """Return stored values as a share of full scale, with bright bone for both polarities."""
    share = p.pixels / (2**p.bits_stored - 1)
    return np.asarray(1 - share if p.invert else share, np.float64)


def _read_back(ds: Dataset) -> Dataset:
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    file.seek(0)
    return dcmread(file)


def _phantom_with_polarity(invert: bool) -> Phantom:
    return next(p for p in (phantom("wrist", seed, False) for seed in range(40)) if p.invert == invert)


@pytest.mark.parametrize("site", SITES)
def test_phantom_of_the_same_arguments_has_the_same_pixels(site: str) -> None:
    first, second, other = phantom(site, 5, True), phantom(site, 5, True), phantom(site, 6, True)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert (first.window, first.region, first.fracture) == (second.window, second.region, second.fracture)
    assert first.pixels.shape != other.pixels.shape or (first.pixels != other.pixels).mean() > 0.5


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("seed", range(4))
def test_phantom_pixels_and_boxes_stay_within_their_bounds(site: str, seed: int) -> None:
    p = phantom(site, seed, True)
    height, width = p.pixels.shape
    assert p.pixels.dtype == np.uint16 and not p.pixels.flags.writeable and p.pixels.flags.c_contiguous
    assert p.bits_stored in (12, 14)
    assert p.pixels.max() < 2**p.bits_stored and p.pixels.max() > 2 ** (p.bits_stored - 1)
    assert min(height, width) >= 900 and max(height, width) <= 1400
    x0, y0, x1, y1 = p.region
    assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
    assert 0.15 < (x1 - x0) * (y1 - y0) / (height * width) < 0.95
    assert p.fracture is not None
    fx0, fy0, fx1, fy1 = p.fracture
    assert x0 <= fx0 < fx1 <= x1 and y0 <= fy0 < fy1 <= y1


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("seed", range(4))
def test_fracture_changes_pixels_around_its_line_only(site: str, seed: int) -> None:
    whole, broken = phantom(site, seed, False), phantom(site, seed, True)
    assert whole.fracture is None and broken.fracture is not None
    assert (whole.window, whole.invert, whole.region) == (broken.window, broken.invert, broken.region)
    x0, y0, x1, y1 = broken.fracture
    reach = round(REACH * min(broken.region[2] - broken.region[0], broken.region[3] - broken.region[1]))
    near = np.zeros(whole.pixels.shape, bool)
    near[max(0, y0 - reach) : y1 + reach, max(0, x0 - reach) : x1 + reach] = True
    np.testing.assert_array_equal(whole.pixels[~near], broken.pixels[~near])
    assert (whole.pixels != broken.pixels)[y0:y1, x0:x1].mean() > 0.05


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("seed", range(4))
def test_fracture_darkens_bone_up_to_all_sides_of_its_box(site: str, seed: int) -> None:
    whole, broken = phantom(site, seed, False), phantom(site, seed, True)
    assert broken.fracture is not None
    x0, y0, x1, y1 = broken.fracture
    lost = (_bright_bone(whole) - _bright_bone(broken))[y0:y1, x0:x1]
    assert lost.mean() > 0
    line = ndimage.gaussian_filter(lost, 1) > 0.01
    rows, columns = np.flatnonzero(line.any(1)), np.flatnonzero(line.any(0))
    slack = 0.15 * max(x1 - x0, y1 - y0) + 6
    assert columns[0] <= slack and columns[-1] >= (x1 - x0) - 1 - slack
    assert rows[0] <= slack and rows[-1] >= (y1 - y0) - 1 - slack
    inside, around = _bright_bone(broken)[y0:y1, x0:x1][line], _bright_bone(whole)[y0:y1, x0:x1][line]
    assert inside.mean() < around.mean() - 0.02


def test_bone_is_displayed_white_in_both_polarities() -> None:
    for p in (_phantom_with_polarity(False), _phantom_with_polarity(True)):
        share = (p.pixels - (p.window.center - 0.5)) / (p.window.width - 1) + 0.5  # DICOM PS3.3 C.11.2.1.2.1
        shown = np.clip(1 - share if p.invert else share, 0, 1)
        x0, y0, x1, y1 = p.region
        core = shown[(y0 + y1) // 2 : y1, (3 * x0 + x1) // 4 : (x0 + 3 * x1) // 4]
        assert core.mean() > shown.mean() + 0.1
        assert (shown == 1).mean() < 0.15


def test_phantoms_come_in_both_polarities_depths_and_sides() -> None:
    phantoms = [phantom("ankle", seed, False) for seed in range(24)]
    assert 3 <= sum(p.invert for p in phantoms) <= 14
    assert {p.bits_stored for p in phantoms} == {12, 14}
    assert {(p.laterality, p.view_position) for p in phantoms} == {("L", "LL"), ("R", "RL")}


@pytest.mark.parametrize("site", IN_TWO_VIEWS)
def test_two_views_have_the_same_bones_at_the_same_heights(site: str) -> None:
    """Heights agree within a tenth of the image: a joint is bent more in one view than in the other."""
    first, second = ANATOMIES[site]
    assert [bone.name for bone in first.bones] == [bone.name for bone in second.bones]
    for a, b in zip(first.bones, second.bones, strict=True):
        if a.breaks is not None:
            assert a.breaks == b.breaks
            for share in a.breaks:
                assert abs(a.at(share)[1] - b.at(share)[1]) < 0.1 * first.image_mm[1], (a.name, share)


@pytest.mark.parametrize("site", IN_TWO_VIEWS)
@pytest.mark.parametrize("seed", range(5))
def test_two_views_are_one_study_with_one_place_of_the_fracture(site: str, seed: int) -> None:
    views = [phantom(site, seed, True, view) for view in range(2)]
    a, b = (instance_from_phantom(p) for p in views)
    for keyword in ("StudyInstanceUID", "PatientID", "PatientBirthDate", "AccessionNumber", "ImageLaterality"):
        assert a[keyword].value == b[keyword].value, keyword
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "ViewPosition", "SeriesNumber", "PixelData"):
        assert a[keyword].value != b[keyword].value, keyword
    assert a.ViewCodeSequence[0].CodeValue != b.ViewCodeSequence[0].CodeValue
    assert (views[0].hardware, views[0].cast) == (views[1].hardware, views[1].cast)
    heights = []
    for p in views:
        assert p.fracture is not None
        (_, y0, _, y1), (_, top, _, bottom) = p.fracture, p.region
        heights.append(((y0 + y1) / 2 - top) / (bottom - top))
    assert abs(heights[0] - heights[1]) < 0.16


def test_hardware_and_casts_do_not_depend_on_the_fracture() -> None:
    pairs = [(phantom(site, seed, False), phantom(site, seed, True)) for site in SITES for seed in range(40, 48)]
    assert all((whole.hardware, whole.cast) == (broken.hardware, broken.cast) for whole, broken in pairs)
    assert 4 <= sum(whole.hardware for whole, _ in pairs) <= 22
    assert 1 <= sum(whole.cast for whole, _ in pairs) <= 12
    assert not any(whole.cast for whole, _ in pairs if whole.site in ("shoulder", "pelvis", "spine"))


@pytest.mark.parametrize("site", SITES)
def test_hardware_is_white_and_does_not_hide_the_fracture(site: str) -> None:
    phantoms = [phantom(site, seed, False) for seed in range(16)]
    carriers = [whole.seed for whole in phantoms if whole.hardware][:2]
    bare = next(whole.seed for whole in phantoms if not whole.hardware)
    assert carriers
    for view in range(VIEWS[site]):
        assert _white_share(phantom(site, bare, False, view)) < 0.001
        for seed in carriers:
            whole, broken = phantom(site, seed, False, view), phantom(site, seed, True, view)
            assert _white_share(whole) > 0.001
            assert broken.fracture is not None
            x0, y0, x1, y1 = broken.fracture
            lost = (_bright_bone(whole) - _bright_bone(broken))[y0:y1, x0:x1]
            assert ndimage.gaussian_filter(lost, 1).max() > 0.02, (seed, view)


def _white_share(p: Phantom) -> float:
    """Return the share of the region above the window, after noise is filtered out."""
    x0, y0, x1, y1 = p.region
    top = p.window.center + (-1 if p.invert else 1) * p.window.width / 2
    smooth = ndimage.median_filter(p.pixels[y0:y1, x0:x1], 5)
    return float(((smooth < top) if p.invert else (smooth > top)).mean())


@pytest.mark.parametrize("site", SITES)
def test_collimator_leaves_stay_outside_the_region(site: str) -> None:
    shut = []
    for seed in range(8):
        p = phantom(site, seed, False)
        open_field = ndimage.uniform_filter(_bright_bone(p), 5) > 1.3 * LEAK
        x0, y0, x1, y1 = p.region
        assert open_field[y0:y1, x0:x1].all(), seed
        shut.append(not open_field.all())
    assert sum(shut) >= 4


def test_scatter_reduces_contrast_behind_bone_more_than_in_air() -> None:
    """Bone beside air also gets the scatter of the air's side, so that the same step shows less there."""
    whole = np.full((320, 320), 0.2, np.float32)
    whole[:, 160:] = 2.0
    veil = draw_scatter(whole, np.random.default_rng(1))
    assert (veil > 0).all()
    shown = add_scatter(whole + np.float32(0.2), veil) - add_scatter(whole, veil)
    in_air, in_bone = shown[160, 80], shown[160, 176]
    assert 0 < in_bone < 0.9 * in_air < 0.2


def test_patients_differ_in_age_and_size() -> None:
    phantoms = [phantom("knee", seed, False) for seed in range(16)]
    heights_mm = [(p.region[3] - p.region[1]) * p.spacing_mm for p in phantoms]
    assert max(heights_mm) > 1.2 * min(heights_mm)
    assert min(p.age_years for p in phantoms) < 25 < 60 < max(p.age_years for p in phantoms)
    assert len({p.pixels.shape for p in phantoms}) == len(phantoms)


def test_marker_of_a_trunk_lies_on_the_viewer_s_left() -> None:
    """The letter is the only small thing beside the iliac crests that stands out from its surroundings."""
    for seed in range(6):
        small = _bright_bone(phantom("pelvis", seed, False))[::4, ::4]
        height, width = small.shape
        band = (small - ndimage.median_filter(small, 21))[int(0.1 * height) : int(0.28 * height)]
        left, right = (ndimage.uniform_filter(b, 2).max() for b in (band[:, : width // 3], band[:, -width // 3 :]))
        assert left > 0.2 and left > 2 * right, seed


def test_unpaired_sites_have_no_laterality() -> None:
    assert [phantom(site, 3, False).laterality for site in ("pelvis", "spine")] == ["", ""]


def test_unknown_site_seed_or_view_is_refused() -> None:
    with pytest.raises(ValueError, match="elbow"):
        phantom("elbow", 1, False)
    with pytest.raises(ValueError, match="-1"):
        phantom("wrist", -1, False)
    with pytest.raises(ValueError, match="1 views"):
        phantom("pelvis", 1, False, view=1)


@pytest.mark.parametrize("computed_radiography", [False, True])
@pytest.mark.parametrize("site", SITES)
def test_instance_header_matches_the_phantom(site: str, computed_radiography: bool) -> None:
    p = phantom(site, 2, True)
    ds = _read_back(instance_from_phantom(p, computed_radiography=computed_radiography))
    np.testing.assert_array_equal(ds.pixel_array, p.pixels)
    assert ds.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert ds.SOPClassUID == f"1.2.840.10008.5.1.4.1.1.1{'' if computed_radiography else '.1'}"
    assert ds.Modality == ("CR" if computed_radiography else "DX")
    assert ds.PhotometricInterpretation == ("MONOCHROME1" if p.invert else "MONOCHROME2")
    assert (ds.BitsStored, ds.HighBit) == (p.bits_stored, p.bits_stored - 1)
    assert (ds.WindowCenter, ds.WindowWidth) == (p.window.center, p.window.width)
    assert list(ds.ImagerPixelSpacing) == [p.spacing_mm] * 2
    assert ds.ViewPosition == p.view_position
    assert str(ds.PatientName).startswith("PHANTOM^")
    if computed_radiography:
        assert ds.get("Laterality", "") == p.laterality
    else:
        assert ds.ImageLaterality == (p.laterality or "U")
        assert ds.PresentationLUTShape == ("INVERSE" if p.invert else "IDENTITY")


def test_instance_made_twice_is_one_object() -> None:
    first, second = (instance_from_phantom(phantom("knee", 1, True)) for _ in range(2))
    assert first == second and first.file_meta == second.file_meta


def test_different_instances_have_different_uids() -> None:
    p = phantom("knee", 1, True)
    made = [
        instance_from_phantom(p),
        instance_from_phantom(p, computed_radiography=True),
        instance_from_phantom(p, patient_id="OTHER"),
        instance_from_phantom(p, accession_number="OTHER"),
        instance_from_phantom(p, study_instance_uid="1.2.3"),
        instance_from_phantom(phantom("knee", 1, False)),
        instance_from_phantom(phantom("knee", 2, True)),
    ]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        uids = [ds[keyword].value for ds in made]
        assert len(set(uids)) == len(uids) and all(map(is_valid_uid, uids))
    assert made[4].StudyInstanceUID == "1.2.3"
    assert made[0].StudyInstanceUID != made[5].StudyInstanceUID


def test_plain_phantom_is_an_adult_without_metal_or_cast_whose_wide_bone_is_broken_through() -> None:
    drawn = [phantom(site, seed, True, plain=True) for site in ("wrist", "knee", "shoulder") for seed in range(70, 76)]
    assert all(p.age_years >= 18 and not p.hardware and not p.cast for p in drawn)
    for p in drawn:
        assert p.fracture is not None
        sides = (p.region[2] - p.region[0], p.region[3] - p.region[1])
        longest = max(p.fracture[2] - p.fracture[0], p.fracture[3] - p.fracture[1])
        assert longest > 0.09 * max(sides), (p.site, p.seed)
    usual = [phantom(p.site, p.seed, True) for p in drawn]
    assert any(p.age_years < 18 or p.hardware or p.cast for p in usual)
