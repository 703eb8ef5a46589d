"""The model card: what a pack was made from, what it was measured to do, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.training.performance import written

CHANCE = 0.5  # area under the ROC curve of a classifier that guesses

LIMITS = """## What it must not be used for

It is not a medical device and nothing here supports a clinical claim. It must not decide anything about a patient
without a radiologist who reads the same images, and it must not go live anywhere before the local validation that the
appliance asks for has passed there. It knows nothing of anatomy, projections, age groups and equipment that its data do
not hold. A low probability does not exclude a fracture."""

SYNTHETIC = """\
> **SYNTHETIC.** This pack was trained on and measured with drawn phantoms, never on a radiograph of a person.
> Its figures say that the software works. They say nothing about fractures in people. Do not use it on patients."""


def model_card(manifest: Mapping[str, Any], notes: str) -> str:
    """Markdown from the manifest; `notes` is what only the maker of the pack can say of its data."""
    data, localiser, classifiers = manifest["data"], manifest["localiser"], manifest["classifiers"]
    parts = [f"# {manifest['name']} {manifest['version']}", manifest["description"]]
    if manifest["kind"] == "synthetic":
        parts.append(SYNTHETIC)
    facts = "\n".join(f"| {key} | {value} |" for key, value in data.items())
    parts += [f"## Data\n\n| | |\n|---|---|\n{facts}", notes, _localiser(localiser), _classifiers(classifiers), LIMITS]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _localiser(localiser: Mapping[str, Any]) -> str:
    p = localiser["performance"]
    rows = "\n".join(
        f"| {site.replace('_', ' ')} | {n} | {p['misses_per_site'][site]} | "
        f"{written(tuple(p['found_per_site'][site]), percent=True)} |"
        for site, n in p["regions_per_site"].items()
    )
    return f"""## Localiser, on {p["films"]} test films with {p["regions"]} labelled regions

Score threshold {localiser["score_threshold"]:.3f}, chosen on the validation part. A region is *found* when an answer of
its site overlaps it with an IoU of at least 0.5. Where an answer lies on a labelled region (IoU at least 0.3), the site
is right in {written(tuple(p["site_accuracy"]), percent=True)} of {p["site_accuracy_n"]}. Found overall:
{written(tuple(p["found"]), percent=True)}. Median IoU {p["median_iou"]:.2f}. Answers without a labelled region:
{p["surplus_per_film"]:.2f} per film.

| site | regions | missed | found, exact 95 % interval |
|---|---|---|---|
{rows}"""


def _classifiers(classifiers: Mapping[str, Any]) -> str:
    sites = {site: (c, c["performance"]) for site, c in classifiers.items()}
    area = "\n".join(
        f"| {site} | {p['n']} | {p['positives']} | {written(tuple(p['auroc']))} | "
        f"{written(tuple(p['auroc_without_hardware']))} ({p['n_without_hardware']}, "
        f"{p['positives_without_hardware']}) | {written(tuple(p['pointing']), percent=True)} |"
        for site, (_, p) in sites.items()
    )
    points = "\n".join(
        f"| {site} | {name} | {c[name]:.2f} | {written(tuple(p[f'sensitivity_{name}']), percent=True)} | "
        f"{written(tuple(p[f'specificity_{name}']), percent=True)} |"
        for site, (c, p) in sites.items()
        for name in ("doubt", "positive")
    )
    unproven = [site for site, (_, p) in sites.items() if not p["auroc"][1] > CHANCE]
    warning = f"**Not shown to be better than chance here: {', '.join(unproven)}.**\n\n" if unproven else ""
    return f"""## Classifiers, on the test part's labelled regions

Measured on the exported graphs, on regions cut at their labelled boxes. *Pointing*: how often the strongest place of
the Grad-CAM map lies on the fracture box, within one of the map's 16x16 cells, over all fractured test regions.

| site | regions | fractured | AUROC | AUROC without films that show hardware (regions, fractured) | pointing |
|---|---|---|---|---|---|
{area}

{warning}Operating points, fixed on the validation part:

| site | point | probability from | sensitivity | specificity |
|---|---|---|---|---|
{points}

Intervals are 95 %: Clopper-Pearson for shares, Newcombe's method 5 for AUROC. Regions of one film are not independent,
which these intervals do not know."""
