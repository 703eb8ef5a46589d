"""Artefacts of results: everything that the destinations get, rendered once and kept in the spool.

A delivery is bytes and an address, so that a repeated delivery sends the same object. The artefacts of a radiograph
leave at once, those of its study after the study has settled.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from appliance.config import Archive, Colours, Compression, DestinationConfig, Hl7Destination
from appliance.dicom.objects.document import InstanceReference
from appliance.dicom.objects.illustrations import illustrations
from appliance.dicom.objects.key_objects import KEY_ANSWERS, key_objects, key_objects_uid
from appliance.dicom.objects.presentation_state import is_presentable, presentation_state
from appliance.dicom.objects.report_class import REPORT_CLASSES
from appliance.dicom.objects.secondary_capture import sc_uid, secondary_capture
from appliance.dicom.objects.series import local_time
from appliance.dicom.objects.structured_report import predecessor_report, structured_report, structured_report_uid
from appliance.dicom.objects.study_summary import page_count, page_uid, study_summary
from appliance.dicom.part10 import part10_bytes
from appliance.dicom.reading.order import read_examination
from appliance.domain.artefact_kind import ArtefactKind, kind_and_page
from appliance.domain.finding import Answer
from appliance.domain.study import StudyResult
from appliance.errors import OsteonError, Rejected, Transient
from appliance.picture.heat import Draw
from appliance.picture.overlay import THUMBNAIL_COLOURS, heat_panel, overlay, thumbnail
from appliance.ports import Heat
from appliance.reporting.fhir import bundle as fhir
from appliance.reporting.hl7 import oru
from appliance.reporting.hl7.order_update import (
    LOWERED,
    ORDER,
    is_flagged,
    is_lowered,
    priority_update,
    priority_withdrawal,
)
from appliance.reporting.hl7.segments import control_id
from appliance.storage.outgoing import Outgoing
from appliance.words import Language, language
from kernels.operations import KernelError

from .reading import Reading
from .unexpected_error import log_unexpected

if TYPE_CHECKING:
    from appliance.storage.deliveries import Delivery

THUMBNAIL_PX = 512
"""Longer side of the overlay that is kept for the summary of the study."""

Put = Callable[[bytes], str]
"""Keeps bytes in the spool and returns their digest."""

Blended = Mapping[tuple[int, int, Colours], NDArray[np.uint8]]
"""Radiographs with their heat, (h, w, 3) uint8, by h, w and colours: blended before the rest of a picture is drawn."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """One artefact of a destination before it is rendered: its kind, the identifier that the peer will know, and how.

    `render` may raise; the delivery is then recorded without content, with the reason.
    """

    kind: ArtefactKind
    identifier: str
    render: Callable[[], bytes]
    page: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The artefacts of one radiograph, which are in the spool.

    Attributes
    ----------
    thumbnail_digest
        Digest of the thumbnail; empty if there is none.
    """

    outgoing: tuple[Outgoing, ...]
    thumbnail_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Renderer:
    """Renders results as the destinations of a site take them.

    Attributes
    ----------
    draw
        Draws heat maps over a radiograph: on the CPU, or by a GPU's kernel.
    """

    destinations: Sequence[DestinationConfig]
    put: Put
    draw: Draw

    def render_and_keep(self, reading: Reading) -> Rendered:
        """Render the artefacts and the thumbnail of one radiograph; raises as `render_radiograph`."""
        outgoing = tuple(self.render_radiograph(reading))
        return Rendered(outgoing=outgoing, thumbnail_digest=self.keep_thumbnail(reading))

    def render_radiograph(self, reading: Reading) -> list[Outgoing]:
        """Render the artefacts of one radiograph; none of one that is not to be told.

        Raises
        ------
        Transient
            If the spool cannot keep anything now.
        KernelError
            If `draw` uses a GPU, and that fails.
        """
        if not reading.is_told:
            return []
        return list(self._render_all(partial(_radiograph_renderings, reading, self.draw)))

    def render_study(
        self,
        study: StudyResult,
        sources: Mapping[str, Dataset],
        thumbnails: Mapping[str, NDArray[np.uint8]],
        flagged_by: Mapping[str, Dataset] = MappingProxyType({}),
        earlier: Collection[Delivery] = (),
    ) -> list[Outgoing]:
        """Render the artefacts of one study.

        Parameters
        ----------
        sources, thumbnails
            By SOP Instance UID: the radiographs' data sets without pixels, and the overlays (h, w, 3) of those
            analysed.
        flagged_by
            By name of a destination at which an earlier revision has flagged the order: the radiograph that names it.
        earlier
            The deliveries that the report refers to, see `earlier_deliveries`.

        Raises
        ------
        Transient
            If the spool cannot keep anything now.
        """
        return list(self._render_all(_StudyRenderings(study, sources, thumbnails, flagged_by, earlier).for_destination))

    def render_thumbnail(self, reading: Reading) -> bytes | None:
        """Render the radiograph with heat and regions as a small PNG for the summary; None if it has no pixels."""
        if reading.grey is None:
            return None
        file = io.BytesIO()
        analysis = reading.analysis
        drawn = thumbnail(reading.grey, analysis.result, analysis.heats, THUMBNAIL_PX, self.draw)
        Image.fromarray(drawn).save(file, "PNG", compress_level=1)
        return file.getvalue()

    def keep_thumbnail(self, reading: Reading) -> str:
        """Keep the thumbnail in the spool and return its digest; an empty one if there is no thumbnail."""
        thumbnail = self.render_thumbnail(reading)
        return self.put(thumbnail) if thumbnail else ""

    def _render_all(self, renderings_for: Callable[[DestinationConfig], Iterable[Rendering]]) -> Iterator[Outgoing]:
        """Render and keep the artefacts of each destination; archives share the objects that have the same UID."""
        digests: dict[str, str] = {}
        for destination in self.destinations:
            for rendering in renderings_for(destination):
                error: OsteonError | None = None
                digest = digests.get(rendering.identifier, "")
                if not digest:
                    digest, error = self._render(rendering, destination)
                if isinstance(destination, Archive):
                    digests[rendering.identifier] = digest
                yield Outgoing(
                    destination=destination.name,
                    kind=rendering.kind,
                    page=rendering.page,
                    identifier=rendering.identifier,
                    digest=digest,
                    refused=error,
                )

    def _render(self, rendering: Rendering, destination: DestinationConfig) -> tuple[str, OsteonError | None]:
        """Return the digest of the rendered bytes, or no digest and the reason."""
        try:
            return self.put(rendering.render()), None
        except Rejected as error:
            return "", error
        except (Transient, KernelError):  # a disk or a GPU that fails, fails for every artefact
            raise
        except Exception as error:  # noqa: BLE001  a bug in one artefact must not cost the others
            return "", log_unexpected(error, f"{kind_and_page(rendering.kind, rendering.page)} for {destination.name}")


def blend(reading: Reading, destinations: Sequence[DestinationConfig], draw: Draw) -> Blended:
    """Blend the heat of a radiograph for every picture in colour that the destinations get, and for the thumbnail."""
    if reading.grey is None:
        return {}
    looks = {
        (destination.picture.longest_px, destination.picture.colours)
        for destination in destinations
        if reading.is_told and isinstance(destination, Archive) and "sc" in destination.objects
        if destination.picture.layout != "grey"
    }
    analysis = reading.analysis
    blended: dict[tuple[int, int, Colours], NDArray[np.uint8]] = {}
    for longest_px, colours in looks | {(THUMBNAIL_PX, THUMBNAIL_COLOURS)}:
        panel = heat_panel(reading.grey, analysis.result, analysis.heats, longest_px, colours, draw)
        blended[*panel.shape[:2], colours] = panel
    return blended


def drawn_before(blended: Blended) -> Draw:
    """Return a function like `draw_heats` that copies what `blend` has drawn."""

    def draw(panel: NDArray[np.uint8], grey: NDArray[np.uint8], _heats: Sequence[Heat], kind: Colours) -> None:
        panel[...] = blended[*grey.shape, kind]

    return draw


def _radiograph_renderings(reading: Reading, draw: Draw, destination: DestinationConfig) -> Iterator[Rendering]:
    """Artefacts of one radiograph; HL7 and FHIR destinations get reports of studies only."""
    if not isinstance(destination, Archive):
        return
    source, analysis, look = reading.source, reading.analysis, destination.look
    result, window, words = analysis.result, reading.window, language(destination.language)
    is_analysed = result.answer is not Answer.NOT_ANALYSED
    if "sc" in destination.objects and (is_analysed or look.not_analysed):

        def render_capture() -> bytes:
            dated = replace(result, created_at=local_time(source, result))  # as in the object's header
            pixels = overlay(reading.grey, dated, analysis.heats, look, draw, words)
            return part10_bytes(secondary_capture(source, result, pixels, look, words))

        yield Rendering(ArtefactKind.SECONDARY_CAPTURE, sc_uid(result, look, words), render_capture)
    # a presentation state windows grey values: it has no use for a radiograph that was sent as RGB
    if "pr" in destination.objects and is_analysed and window is not None and is_presentable(source):
        kind = ArtefactKind.PRESENTATION_STATE
        uid = result.uid(words.kind(kind))
        yield Rendering(kind, uid, lambda: part10_bytes(presentation_state(source, result, window, words)))


class _StudyRenderings:
    """Artefacts of one study, by destination."""

    def __init__(
        self,
        study: StudyResult,
        sources: Mapping[str, Dataset],
        thumbnails: Mapping[str, NDArray[np.uint8]],
        flagged_by: Mapping[str, Dataset],
        earlier: Collection[Delivery],
    ) -> None:
        self._study = study
        self._earlier = earlier
        self._sources = sources
        self._examination = read_examination(sources[study.results[-1].sop_instance_uid], sources.values())
        self._flagged_by = {name: read_examination(radiograph) for name, radiograph in flagged_by.items()}

        @cache
        def summary_pages(compression: Compression, words: Language) -> tuple[Dataset, ...]:
            return study_summary(study, sources, thumbnails, compression, words)

        self._summary_pages = summary_pages

    def for_destination(self, destination: DestinationConfig) -> Iterator[Rendering]:
        """Yield the artefacts that `destination` gets."""
        study, examination = self._study, self._examination
        if isinstance(destination, Archive):
            yield from self._objects(destination)
        elif isinstance(destination, Hl7Destination):
            kind = ArtefactKind.ORU
            yield Rendering(kind, control_id(study, kind), lambda: oru.oru_r01(study, examination, destination))
            yield from self._priorities(destination)
        else:
            identifier = fhir.bundle_identifier(study)
            yield Rendering(ArtefactKind.FHIR, identifier, lambda: fhir.transaction(study, examination, destination))

    def _priorities(self, destination: Hl7Destination) -> Iterator[Rendering]:
        """Updates of the order's priority: the usual one for an order flagged before, the raised one if flagged now."""
        study, examination = self._study, self._examination
        flagged, flagged_by = is_flagged(study, destination), self._flagged_by.get(destination.name)
        is_other = flagged_by is not None and flagged_by.order.contradicts(examination.order)
        if flagged_by is not None and is_lowered(destination) and (not flagged or is_other):
            identifier = control_id(study, LOWERED)
            yield Rendering(LOWERED, identifier, lambda: priority_withdrawal(study, flagged_by, destination))
        if flagged:
            yield Rendering(ORDER, control_id(study, ORDER), lambda: priority_update(study, examination, destination))

    def _objects(self, destination: Archive) -> Iterator[Rendering]:
        study, sources, words = self._study, self._sources, language(destination.language)
        if "summary" in destination.objects:
            compression = destination.look.compression
            for page in range(1, page_count(study) + 1):
                render_page = partial(self._summary_page, compression, words, page)
                yield Rendering(ArtefactKind.SUMMARY, page_uid(study, page, compression, words), render_page, page)
        if "sr" in destination.objects:
            sop_class = REPORT_CLASSES[destination.sr]
            kind = ArtefactKind.STRUCTURED_REPORT
            earlier = [delivery for delivery in self._earlier if delivery.destination == destination.name]
            sent = {each.identifier for each in earlier}
            shown = tuple(illustrations(study, sources, destination.look, sent, words))
            before = next((self._report(each, sop_class, words) for each in earlier if each.kind is kind), None)
            uid = structured_report_uid(study, sop_class, shown, before, words)
            make_report = partial(structured_report, study, sources, sop_class, shown, before, words)
            yield Rendering(kind, uid, lambda: part10_bytes(make_report()))
        answers = KEY_ANSWERS[destination.key_objects_of]
        if "ko" in destination.objects and (uid := key_objects_uid(study, answers, words)):
            kind = ArtefactKind.KEY_OBJECTS
            yield Rendering(kind, uid, lambda: part10_bytes(key_objects(study, sources, answers, words)))

    def _report(self, delivery: Delivery, sop_class: str, words: Language) -> InstanceReference | None:
        """Return the report of the revision before in the form that the archive has, or is to get."""
        sent_as = delivery.sent_uid or delivery.identifier
        return predecessor_report(self._study, delivery.sent_class_uid or sop_class, sent_as, words)

    def _summary_page(self, compression: Compression, words: Language, page: int) -> bytes:
        return part10_bytes(self._summary_pages(compression, words)[page - 1])
