"""Pictures and presentation states that illustrate a report, and the items by which it refers to them.

References
----------
DICOM PS3.3 C.18.4 (Image Reference Macro: an image, and the presentation state to show it with); PS3.16 CID 7003; IHE
AI Results.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from highdicom.sr import ImageContentItem
from pydicom.dataset import Dataset
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage, SecondaryCaptureImageStorage

from appliance.config import Picture
from appliance.domain import codes
from appliance.domain.study import StudyResult
from appliance.words import ENGLISH, Language

from .codes import coded_concept
from .document import InstanceReference, sop_reference
from .image_library import CONTAINS
from .secondary_capture import sc_uid
from .series import series_instance_uid


@dataclass(frozen=True, slots=True, kw_only=True)
class Illustration:
    """A Secondary Capture or a presentation state of one radiograph.

    Attributes
    ----------
    radiograph
        SOP Instance UID of the radiograph.
    """

    radiograph: str
    instance: InstanceReference


def illustrations(
    study: StudyResult,
    sources: Mapping[str, Dataset],
    look: Picture,
    sent: Collection[str],
    language: Language = ENGLISH,
) -> Iterator[Illustration]:
    """Yield the pictures in `look` and the presentation states of the radiographs whose SOP Instance UID is in `sent`.

    A radiograph that retention has removed is left out: the series of its objects is not known.
    """
    for result in study.results:
        source = sources[result.sop_instance_uid]
        if "SOPClassUID" not in source:
            continue
        objects = (
            (language.kind("sc"), SecondaryCaptureImageStorage, sc_uid(result, look, language)),
            (language.kind("pr"), GrayscaleSoftcopyPresentationStateStorage, result.uid(language.kind("pr"))),
        )
        for kind, sop_class_uid, uid in objects:
            if uid in sent:
                series = series_instance_uid(source, result, kind)
                made = InstanceReference(sop_class_uid=sop_class_uid, series_instance_uid=series, sop_instance_uid=uid)
                yield Illustration(radiograph=result.sop_instance_uid, instance=made)


def illustration_item(images: Mapping[str, InstanceReference], illustration: Illustration) -> ImageContentItem:
    """Return the item that refers to a picture, or to the radiograph as its presentation state shows it."""
    is_picture = illustration.instance.sop_class_uid == SecondaryCaptureImageStorage
    shown = illustration.instance if is_picture else images[illustration.radiograph]
    item = ImageContentItem(
        name=coded_concept(codes.ILLUSTRATION),
        referenced_sop_class_uid=shown.sop_class_uid,
        referenced_sop_instance_uid=shown.sop_instance_uid,
        relationship_type=CONTAINS,
    )
    if not is_picture:
        state = sop_reference(illustration.instance.sop_class_uid, illustration.instance.sop_instance_uid)
        item.ReferencedSOPSequence[0].ReferencedSOPSequence = [state]
    return item
