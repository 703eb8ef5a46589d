"""The result of a study as coded content: an SR of template TID 1500, preliminary and unverified.

The outlines are planar ROI groups: see `report_groups`. There are no image-level groups, because viewers then draw
nothing of the report: answers for whole radiographs, and reasons why one was not read, are Qualitative Evaluations,
inferred from the image. A fracture is coded as absent only where everything was read and cleared, and an answer has
no code without the sites that it is about. highdicom builds the content; the header comes from `patient_study`,
because highdicom needs a source without gaps.

Pictures and presentation states that go to the same destination stand in a container of key images, since the report
is the result of the analysis (IHE AI Results), and they illustrate it.

The same content is sent as Comprehensive 3D SR, or as Comprehensive SR to an archive that does not take the former.

References
----------
DICOM PS3.16 TID 1500, TID 1600, TID 1410, TID 4019, TID 1004; PS3.3 A.35.3, A.35.13, C.17.2, C.18.6; IHE AI Results.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    FindingSite,
    LanguageOfContentItemAndDescendants,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from appliance.dicom.part10 import with_file_meta
from appliance.domain import codes
from appliance.domain.finding import Answer, Finding, Verdict
from appliance.domain.study import StudyResult
from appliance.words import ENGLISH, Language

from .codes import coded_concept
from .document import InstanceReference, evidence, observer, reference, requests
from .illustrations import Illustration, illustration_item
from .image_library import CONTAINS, container, image_item, image_library
from .patient_study import patient_study
from .report_class import illustrated_uid, report_uid
from .report_groups import finding_sites, groups
from .report_sentences import radiograph_sentences, study_sentences
from .series import document_series_uid, stamp

CODED: dict[Answer, tuple[Verdict, ...]] = {
    Answer.POSITIVE: (Verdict.POSITIVE,),
    Answer.DOUBT: (Verdict.DOUBT,),
    Answer.NEGATIVE: (Verdict.NEGATIVE,),
}
"""Answers that are coded, each with the verdict of the findings whose sites it names."""


def structured_report(
    study: StudyResult,
    sources: Mapping[str, Dataset],
    sop_class: str = Comprehensive3DSRStorage,
    illustrations: Sequence[Illustration] = (),
    before: InstanceReference | None = None,
    language: Language = ENGLISH,
) -> Dataset:
    """Make the SR for `study`, with the patient, study and order of `sources`; `part10_bytes` writes it.

    Parameters
    ----------
    sources
        The radiographs of `study.results`, by SOP Instance UID.
    sop_class
        One of `REPORT_CLASSES`; the report is another instance of the same series in each class.
    illustrations
        Pictures and presentation states of the same revision that the destination gets, too.
    before
        The report of the revision before at the destination, if it is not the one without illustrations.
    """
    images = {r.sop_instance_uid: reference(sources[r.sop_instance_uid]) for r in study.results}
    newest = sources[study.results[-1].sop_instance_uid]
    ds = patient_study(newest)
    stamp(ds, newest, study, "sr", "report", language)
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = structured_report_uid(study, sop_class, illustrations, before, language)
    ds.StudyInstanceUID = study.study_instance_uid
    ds.Modality = "SR"
    ds.CompletionFlag = "COMPLETE"
    ds.VerificationFlag = "UNVERIFIED"
    ds.PreliminaryFlag = "PRELIMINARY"
    ds.PerformedProcedureCodeSequence = []
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.CurrentRequestedProcedureEvidenceSequence = evidence(
        study.study_instance_uid, [*images.values(), *(each.instance for each in illustrations)]
    )
    if referenced := requests(study, sources):
        ds.ReferencedRequestSequence = referenced
    if earlier := before or predecessor_report(study, sop_class, language=language):
        ds.PredecessorDocumentsSequence = evidence(study.study_instance_uid, [earlier])
    root = _content(study, sources, images, language)
    if illustrations:
        root.ContentSequence.append(container(codes.KEY_IMAGES, [illustration_item(images, i) for i in illustrations]))
    ds.update(root)
    return with_file_meta(ds)


def structured_report_uid(
    study: StudyResult,
    sop_class: str,
    illustrations: Sequence[Illustration] = (),
    before: InstanceReference | None = None,
    language: Language = ENGLISH,
) -> str:
    """Return the SOP Instance UID of the report with these references, see `structured_report`."""
    referenced = [each.instance.sop_instance_uid for each in illustrations]
    if before is not None and before != predecessor_report(study, sop_class, language=language):
        referenced.append(before.sop_instance_uid)
    return report_uid(illustrated_uid(study.uid(language.kind("sr")), referenced), sop_class)


def predecessor_report(
    study: StudyResult, sop_class: str, sent_as: str = "", language: Language = ENGLISH
) -> InstanceReference | None:
    """Return the report of the revision before, known as `sent_as` or without illustrations; None for the first."""
    before = study.predecessor_uid(language.kind("sr"))
    if before is None:
        return None
    return InstanceReference(
        sop_class_uid=sop_class,
        series_instance_uid=document_series_uid(before),
        sop_instance_uid=sent_as or report_uid(before, sop_class),
    )


def _content(
    study: StudyResult,
    sources: Mapping[str, Dataset],
    images: Mapping[str, InstanceReference],
    language: Language,
) -> ContainerContentItem:
    """Return the root container (TID 1500)."""
    root = ContainerContentItem(name=coded_concept(codes.IMAGING_MEASUREMENT_REPORT), template_id="1500")
    procedure = CodeContentItem(
        name=coded_concept(codes.PROCEDURE_REPORTED),
        value=coded_concept(codes.PLAIN_RADIOGRAPHY),
        relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD,
    )
    context = [
        *LanguageOfContentItemAndDescendants(coded_concept(language.concept)),
        *observer(study.provenance),
        procedure,
    ]
    of_study = [sources[result.sop_instance_uid] for result in study.results]
    root.ContentSequence = ContentSequence([*context, image_library(of_study)])
    measured = [
        group for source, r in zip(of_study, study.results, strict=True) for group in groups(source, r, language)
    ]
    if measured:
        items = (item for group in measured for item in group)
        root.ContentSequence.append(container(codes.IMAGING_MEASUREMENTS, items))
    root.ContentSequence.append(container(codes.QUALITATIVE_EVALUATIONS, _evaluations(study, images, language)))
    return root


def _evaluations(
    study: StudyResult, images: Mapping[str, InstanceReference], language: Language
) -> Iterator[ContentItem]:
    """Yield the answer for the study, the answer for each radiograph, then each sentence with its images."""
    yield from _presence(study.answer, [f for result in study.results for f in result.findings])
    for result in study.results:
        for item in _presence(result.answer, result.findings):
            yield _inferred(item, [images[result.sop_instance_uid]])
    yield from map(_comment, map(language.say, study.heading))
    yield _comment(language.notice)
    yield from map(_comment, map(language.say, study_sentences(study)))
    images_by_sentence: dict[str, list[InstanceReference]] = {}
    for result in study.results:
        for sentence in dict.fromkeys(map(language.say, radiograph_sentences(result))):
            images_by_sentence.setdefault(sentence, []).append(images[result.sop_instance_uid])
    for sentence, its_images in images_by_sentence.items():
        yield _inferred(_comment(sentence), its_images)


def _presence(answer: Answer, findings: Iterable[Finding]) -> Iterator[ContentItem]:
    """Yield the coded `answer` with the sites of the findings that it rests on; nothing if one of these is missing."""
    told = [f for f in findings if f.verdict in CODED.get(answer, ()) and f.site_is_certain]
    sites: dict[str, FindingSite] = {site.to_json(): site for finding in told for site in finding_sites(finding)}
    if sites:
        item = CodeContentItem(
            name=coded_concept(codes.FRACTURE), value=coded_concept(codes.PRESENCES[answer]), relationship_type=CONTAINS
        )
        item.ContentSequence = ContentSequence(sites.values())
        yield item


def _comment(sentence: str) -> TextContentItem:
    return TextContentItem(name=coded_concept(codes.COMMENT), value=sentence, relationship_type=CONTAINS)


def _inferred(item: ContentItem, images: Iterable[InstanceReference]) -> ContentItem:
    """Return `item`, inferred from `images`."""
    children = [image_item(image, RelationshipTypeValues.INFERRED_FROM) for image in images]
    item.ContentSequence = ContentSequence([*getattr(item, "ContentSequence", ()), *children])
    return item
