"""The stack that a user would assemble: pynetdicom, pydicom, OpenCV, PyTorch with pytorch-grad-cam, highdicom, hl7apy.

Each step follows the example in the documentation of its library. The networks are those of the pack.

References
----------
pynetdicom, examples, "Storage SCP"; pydicom, "Working with Pixel Data"; pytorch-grad-cam, README, "Chosing the layer to
extract features from"; highdicom, "Creating Secondary Capture (SC) images" and "Creating Structured Report documents";
hl7apy, tutorial, "Creating messages".
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import highdicom
import numpy as np
import pydicom
import torch
from hl7apy.core import Message
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import show_cam_on_image
from pytorch_grad_cam.utils.model_targets import BinaryClassifierOutputTarget
from torch import Tensor, nn

from appliance.analysis.geometry import clipped_box, crop_box
from appliance.domain.finding import Box
from appliance.preprocessing.recipe import IMAGE_PX, REGION_PX
from engines.pack import ClassifierSpec, Pack
from tests.benchmarks.onnx_in_torch import TorchNetwork

Stage = Callable[[str], AbstractContextManager[None]]
"""Times the block below it under a name."""

MAKER = "Example"


def serve(port: int, folder: str) -> None:
    """Run pynetdicom's example of a Storage SCP."""

    def handle_store(event: evt.Event) -> int:
        ds = event.dataset
        ds.file_meta = event.file_meta
        ds.save_as(Path(folder) / ds.SOPInstanceUID, enforce_file_format=True)
        return 0x0000

    ae = AE()
    ae.supported_contexts = AllStoragePresentationContexts
    ae.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, handle_store)])


class FractureClassifier(nn.Module):
    """The engine of one site: a trunk, whose output Grad-CAM reads, and a head."""

    def __init__(self, spec: ClassifierSpec) -> None:
        super().__init__()
        self.trunk = TorchNetwork(spec.file, ["region"], ["activations"])
        self.head = TorchNetwork(spec.file, ["activations"], ["logit"])

    def forward(self, region: Tensor) -> Tensor:
        """Compute (N,) logits of (N,1,256,256) grey levels."""
        logit: Tensor = self.head(self.trunk(region))
        return logit


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A region that was classified: its site, its place, and its probability."""

    site: str
    box: Box
    probability: float


class TypicalStack:
    """Reads files with the networks of `pack`, on `threads` processors."""

    def __init__(self, pack: Pack, threads: int) -> None:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        self._pack = pack
        self._localiser = TorchNetwork(pack.localiser.file, ["image"], ["heat", "box"]).eval()
        self._cams = {}
        for site, spec in pack.classifiers.items():
            model = FractureClassifier(spec).eval()
            self._cams[site] = GradCAM(model=model, target_layers=[model.trunk])

    def read(self, path: Path, stage: Stage) -> list[Read]:
        """Read one file: pixels, regions, probabilities, overlay, capture, report and message."""
        with stage("read"):
            ds = pydicom.dcmread(path)
            grey = displayed(ds)
        with stage("stages 1 to 3"):
            found = [self._classify(grey, site, box) for site, box in self._locate(grey)]
        with stage("overlay"):
            overlay = drawn(grey, found)
        reads = [read for read, _ in found]
        with stage("capture"):
            capture(ds, overlay)
        with stage("SR"):
            report(ds, reads)
        with stage("ORU"):
            message(ds, reads)
        return reads

    def _locate(self, grey: NDArray[np.uint8]) -> list[tuple[str, Box]]:
        """Return the best place of each site that has an engine."""
        image, shape = prepared(grey, IMAGE_PX), grey.shape
        with torch.inference_mode():
            heat, sides = (each[0].numpy() for each in self._localiser(torch.from_numpy(image)[None, None].float()))
        cell_px, scale = IMAGE_PX / heat.shape[1], IMAGE_PX / max(shape)
        found = []
        for site, scores in zip(self._pack.localiser.sites, heat, strict=True):
            row, column = np.unravel_index(scores.argmax(), scores.shape)
            if scores[row, column] >= self._pack.localiser.score_threshold and site in self._cams:
                x, y = (column + 0.5) * cell_px, (row + 0.5) * cell_px
                left, top, right, bottom = sides[:, row, column]
                corners = (float(v) / scale for v in (x - left, y - top, x + right, y + bottom))
                found.append((site, crop_box(clipped_box(*corners, *shape[:2]), *shape[:2])))
        return found

    def _classify(self, grey: NDArray[np.uint8], site: str, box: Box) -> tuple[Read, NDArray[np.float32]]:
        x0, y0, x1, y1 = (round(v) for v in box.as_tuple())
        region = prepared(grey[y0:y1, x0:x1], REGION_PX)
        cam = self._cams[site]
        heat = cam(input_tensor=torch.from_numpy(region)[None, None].float(), targets=[BinaryClassifierOutputTarget(1)])
        probability = self._pack.classifiers[site].probability(float(cam.outputs[0]))
        return Read(site=site, box=box, probability=probability), heat[0]


def displayed(ds: Dataset) -> NDArray[np.uint8]:
    """Return the pixels as a viewer shows them."""
    values = apply_voi_lut(apply_modality_lut(ds.pixel_array, ds), ds)
    levels = values.astype(np.float32)
    grey = cv2.normalize(levels, np.empty_like(levels), 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return np.invert(grey) if ds.PhotometricInterpretation == "MONOCHROME1" else grey


def prepared(grey: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Resize to fit a square, equalise, and pad with black."""
    scale = side_px / max(grey.shape)
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    small = cv2.equalizeHist(cv2.resize(grey, size, interpolation=cv2.INTER_AREA))
    padded = cv2.copyMakeBorder(small, 0, side_px - size[1], 0, side_px - size[0], cv2.BORDER_CONSTANT)
    return np.asarray(padded, np.uint8)


def drawn(grey: NDArray[np.uint8], found: list[tuple[Read, NDArray[np.float32]]]) -> NDArray[np.uint8]:
    """Draw the heat maps over the radiograph, with a frame and the probability of each region."""
    heat = np.zeros(grey.shape, np.float32)
    for read, cells in found:
        x0, y0, x1, y1 = (round(v) for v in read.box.as_tuple())
        side = max(x1 - x0, y1 - y0)
        heat[y0:y1, x0:x1] = cv2.resize(cells, (side, side))[: y1 - y0, : x1 - x0]
    rgb = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    picture: NDArray[np.uint8] = show_cam_on_image(np.float32(rgb) / 255, heat, use_rgb=True)
    for read, _ in found:
        x0, y0, x1, y1 = (round(v) for v in read.box.as_tuple())
        cv2.rectangle(picture, (x0, y0), (x1, y1), (255, 255, 0), 3)
        text = f"{read.site} {read.probability:.0%}"
        cv2.putText(picture, text, (x0, max(y0 - 10, 30)), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (255, 255, 0), 3)
    return picture


def capture(ds: Dataset, overlay: NDArray[np.uint8]) -> bytes:
    """Return the overlay as a Secondary Capture."""
    return _bytes(
        highdicom.sc.SCImage.from_ref_dataset(
            ref_dataset=ds,
            pixel_array=overlay,
            photometric_interpretation=highdicom.PhotometricInterpretationValues.RGB,
            bits_allocated=8,
            coordinate_system=highdicom.CoordinateSystemNames.PATIENT,
            series_instance_uid=generate_uid(),
            series_number=100,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer=MAKER,
            patient_orientation=("L", "F"),
        )
    )


def report(ds: Dataset, reads: list[Read]) -> bytes:
    """Return a measurement report (TID 1500) with a probability for each region."""
    sr = highdicom.sr
    observer = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(uid=generate_uid()),
    )
    groups = []
    for number, read in enumerate(reads, 1):
        x0, y0, x1, y1 = read.box.as_tuple()
        region = sr.ImageRegion(
            graphic_type=sr.GraphicTypeValues.POLYLINE,
            graphic_data=np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]),
            source_image=sr.SourceImageForRegion.from_source_image(ds),
        )
        probability = sr.Measurement(
            name=sr.CodedConcept("FRACTURE", "99EXAMPLE", "Probability of fracture"),
            value=read.probability,
            unit=codes.UCUM.NoUnits,
        )
        groups.append(
            sr.PlanarROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=sr.TrackingIdentifier(uid=generate_uid(), identifier=f"region {number}"),
                referenced_region=region,
                finding_type=sr.CodedConcept("125605004", "SCT", "Fracture of bone"),
                measurements=[probability],
            )
        )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=sr.CodedConcept("363680008", "SCT", "Radiographic imaging"),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    return _bytes(
        sr.Comprehensive3DSR(
            evidence=[ds],
            content=content,
            series_instance_uid=generate_uid(),
            series_number=101,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer=MAKER,
        )
    )


def message(ds: Dataset, reads: list[Read]) -> str:
    """Return an ORU^R01 with a probability for each region, checked against the version's profile."""
    made: Any = Message("ORU_R01", version="2.5.1")
    made.msh.msh_3, made.msh.msh_4 = MAKER, MAKER
    made.msh.msh_7 = f"{datetime.now(UTC):%Y%m%d%H%M%S}"
    made.msh.msh_9, made.msh.msh_10, made.msh.msh_11 = "ORU^R01^ORU_R01", "1", "P"
    result = made.add_group("ORU_R01_PATIENT_RESULT")
    patient = result.add_group("ORU_R01_PATIENT")
    patient.add_segment("PID").pid_3 = str(ds.PatientID)
    patient.pid.pid_5 = str(ds.PatientName)
    order = result.add_group("ORU_R01_ORDER_OBSERVATION")
    order.add_segment("OBR").obr_1 = "1"
    order.obr.obr_3, order.obr.obr_4, order.obr.obr_25 = str(ds.get("AccessionNumber", "")), "AI^AI", "F"
    for number, read in enumerate(reads, 1):
        observation = order.add_group("ORU_R01_OBSERVATION")
        obx = observation.add_segment("OBX")
        obx.obx_1, obx.obx_2, obx.obx_3 = str(number), "NM", f"{read.site}^fracture"
        obx.obx_5, obx.obx_11 = f"{read.probability:.2f}", "F"
    made.validate()
    return str(made.to_er7())


def _bytes(ds: Dataset) -> bytes:
    file = pydicom.filebase.DicomBytesIO()
    ds.save_as(file, enforce_file_format=True)
    return bytes(file.getvalue())


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
