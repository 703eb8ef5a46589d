"""The properties of the kinds of artefacts."""

import pytest

from appliance.domain.artefact_kind import ArtefactKind, kind_and_page


def test_kind_that_a_pacs_takes_is_dicom() -> None:
    assert {kind.value for kind in ArtefactKind if kind.is_dicom} == {"sc", "pr", "summary", "sr", "ko", "rejection"}


def test_kind_that_takes_others_back_revokes() -> None:
    revoking = {"rejection", "oru_withdrawal", "order_withdrawal", "fhir_withdrawal"}
    assert {kind.value for kind in ArtefactKind if kind.revokes} == revoking


def test_kind_is_for_one_sort_of_destination() -> None:
    assert not [kind for kind in ArtefactKind if kind.is_dicom and kind.is_fhir]
    assert {kind.value for kind in ArtefactKind if kind.is_fhir} == {"fhir", "fhir_withdrawal"}


@pytest.mark.parametrize(("page", "name"), [(1, "summary"), (2, "summary 2")])
def test_name_of_the_first_page_is_the_kind_alone(page: int, name: str) -> None:
    assert kind_and_page(ArtefactKind.SUMMARY, page) == name
