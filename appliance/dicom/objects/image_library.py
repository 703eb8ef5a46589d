"""The image library of the structured report: every radiograph of the study with its modality, body part, side, view.

The descriptors are those of the radiograph's own header, which may be wrong; the findings have sites of their own.

References
----------
DICOM PS3.16 TID 1600, TID 1601, TID 1602.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    RelationshipTypeValues,
)
from pydicom.dataset import Dataset

from appliance.dicom.reading.attributes import UNREADABLE
from appliance.dicom.reading.header import header
from appliance.domain import codes
from appliance.domain.codes import Concept
from appliance.domain.identifiers import Site

from .codes import BODY_PARTS, MODALITIES, coded_concept
from .document import InstanceReference, reference

CONTAINS = RelationshipTypeValues.CONTAINS

SITES_BY_BODY_PART: dict[str, Site] = {part: site for site, part in BODY_PARTS.items()} | {"HIP": Site.PELVIS}
"""Site by the defined term of Body Part Examined (0018,0015)."""


def image_library(sources: Iterable[Dataset]) -> ContainerContentItem:
    """Return the Image Library (TID 1600) with every radiograph, analysed or not."""
    return container(codes.IMAGE_LIBRARY, [container(codes.IMAGE_LIBRARY_GROUP, map(_entry, sources))])


def container(name: Concept, items: Iterable[ContentItem]) -> ContainerContentItem:
    """Return a container of `items`."""
    made = ContainerContentItem(name=coded_concept(name), relationship_type=CONTAINS)
    made.ContentSequence = ContentSequence(items)
    return made


def image_item(image: InstanceReference, relationship: RelationshipTypeValues) -> ImageContentItem:
    """Return the item that refers to `image`."""
    return ImageContentItem(
        name=coded_concept(codes.SOURCE_IMAGE),
        referenced_sop_class_uid=image.sop_class_uid,
        referenced_sop_instance_uid=image.sop_instance_uid,
        relationship_type=relationship,
    )


def _entry(source: Dataset) -> ImageContentItem:
    """Return the entry of one radiograph with its descriptors (TID 1602); what its header does not say is left out."""
    image = reference(source)
    entry = image_item(image, CONTAINS)
    items = ContentSequence(
        CodeContentItem(
            name=coded_concept(name),
            value=coded_concept(value),
            relationship_type=RelationshipTypeValues.HAS_ACQ_CONTEXT,
        )
        for name, value in _descriptors(source, image)
    )
    if items:
        entry.ContentSequence = items
    return entry


def _descriptors(source: Dataset, image: InstanceReference) -> Iterator[tuple[Concept, Concept]]:
    if image.sop_class_uid in MODALITIES:
        yield codes.MODALITY, MODALITIES[image.sop_class_uid]
    try:
        known = header(source)
    except UNREADABLE:
        return
    if known.body_part_examined in SITES_BY_BODY_PART:
        yield codes.TARGET_REGION, codes.site_concepts(SITES_BY_BODY_PART[known.body_part_examined])[0]
    if known.laterality in codes.SIDES and not known.sides_disagree:
        yield codes.IMAGE_LATERALITY, codes.SIDES[known.laterality]
    if known.view_position in codes.VIEW_CODES:
        yield codes.IMAGE_VIEW, codes.VIEW_CODES[known.view_position]
