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
    parts = [f"# {manifest['name']} {manifest['version']}", manifest["description"]]
    if manifest["kind"] == "synthetic":
        parts.append(SYNTHETIC)
    facts = "\n".join(f"| {key.replace('_', ' ')} | {value} |" for key, value in manifest["data"].items())
    parts += [f"## Data\n\n| | |\n|---|---|\n{facts}", notes, _localiser(manifest["localiser"])]
    parts += [_classifiers(manifest["classifiers"], manifest["together"]), LIMITS]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _localiser(localiser: Mapping[str, Any]) -> str:
    p = localiser["performance"]
    rows = "\n".join(
        f"| {site.replace('_', ' ')} | {n} | {p['misses_per_site'][site]} | "
        f"{written(tuple(p['found_per_site'][site]), percent=True)} |"
        for site, n in p["regions_per_site"].items()
    )
    flags = "\n".join(
        f"| {name} | {f['n']} | {f['positives']} | {written(tuple(f['auroc']))} | "
        f"{written(tuple(f['sensitivity']), percent=True)} | {written(tuple(f['specificity']), percent=True)} |"
        for name, f in localiser["flag_performance"].items()
    )
    told = f"""

Told of the whole film, from a probability of one half:

| | films | with it | AUROC | sensitivity | specificity |
|---|---|---|---|---|---|
{flags}"""
    return f"""## Localiser, on {p["films"]} test films with {p["regions"]} labelled regions

Score threshold {localiser["score_threshold"]:.3f}, chosen on other films than the test's. A region is *found* when an
answer of its site overlaps it with an IoU of at least 0.5. Where an answer lies on a labelled region (IoU from 0.3),
the site is right in {written(tuple(p["site_accuracy"]), percent=True)} of {p["site_accuracy_n"]}. Found overall:
{written(tuple(p["found"]), percent=True)}. Median IoU {p["median_iou"]:.2f}. Answers without a labelled region:
{p["surplus_per_film"]:.2f} per film.

| site | regions | missed | found, exact 95 % interval |
|---|---|---|---|
{rows}""" + (told if flags else "")


def _classifiers(classifiers: Mapping[str, Any], together: Mapping[str, Any]) -> str:
    sites = {site: c["performance"] for site, c in classifiers.items()}
    rows = {**sites, "these together": together["classified"], "all sites of the localiser": together["all"]}
    area = "\n".join(
        f"| {site} | {p['n']} | {p['positives']} | {written(tuple(p['auroc']))} | "
        f"{written(tuple(p['auroc_without_hardware']))} ({p['n_without_hardware']}, "
        f"{p['positives_without_hardware']}) |"
        for site, p in rows.items()
    )
    points = "\n".join(
        f"| {site} | {name} | {_point(classifiers, site, name)} | "
        f"{written(tuple(p[f'sensitivity_{name}']), percent=True)} | "
        f"{written(tuple(p[f'specificity_{name}']), percent=True)} |"
        for site, p in rows.items()
        for name in ("doubt", "positive")
    )
    places = "\n".join(
        f"| {site} | {p['positives']} | {written(tuple(p['heat']), percent=True)} | {_times(p)} | "
        f"{written(tuple(p['pointing']), percent=True)} | {written(tuple(p['pointing_centre']), percent=True)} |"
        for site, p in rows.items()
    )
    unproven = [site for site, p in sites.items() if not p["auroc"][1] > CHANCE]
    warning = f"**Not shown to be better than chance here: {', '.join(unproven)}.**\n\n" if unproven else ""
    return f"""## Classifiers, on labelled regions that the network had not seen

Regions are cut at their labelled boxes. Calibration and operating points that a fold is judged by come from the other
folds; those that ship come from all.

| site | regions | fractured | AUROC | AUROC without films that show hardware (regions, fractured) |
|---|---|---|---|---|
{area}

{warning}Operating points:

| site | point | probability from | sensitivity | specificity |
|---|---|---|---|---|
{points}

Explanations of fractured regions. *Heat* is the share of the Grad-CAM map inside the fracture boxes, then how many
times that of a Gaussian around the region's middle, and of an even map. *Pointing*: how often the strongest place lies
on the fracture box, within one of the map's 16x16 cells; beside it, how often the middle does.

| site | fractured | heat | times the middle's, an even map's | pointing | the middle |
|---|---|---|---|---|---|
{places}

Intervals are 95 %: Clopper-Pearson for shares, Newcombe's method 5 for AUROC, a bootstrap of films for heat. Regions of
one film are not independent, which the first two do not know."""


def _point(classifiers: Mapping[str, Any], site: str, name: str) -> str:
    return f"{classifiers[site][name]:.2f}" if site in classifiers else "its site's"


def _times(p: Mapping[str, Any]) -> str:
    heat, centre, even = (p[name][0] for name in ("heat", "heat_centre", "heat_even"))
    return "none to measure" if not p["positives"] else f"{heat / centre:.1f}, {heat / even:.1f}"
