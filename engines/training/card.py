"""The model card of a pack: its training data, its measured performance, and the uses that are ruled out.

Keys of the manifest say "film" for a radiograph (pack format 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

from engines.training.performance import format_estimate

CHANCE = 0.5
"""Area under the ROC curve of a classifier that guesses."""

LIMITS = """## Uses that are ruled out

This pack is not a medical device, and nothing here supports a clinical claim. It must not decide anything about a
patient without a radiologist who reads the same images. It must not go live at a site before the local validation that
the appliance asks for has passed there. It has not learned anatomy, projections, age groups and equipment that are not
in its data. A low probability does not exclude a fracture."""
"""Section of every card."""

SYNTHETIC = """\
> **SYNTHETIC.** This pack was trained on and measured with drawn phantoms, never on a radiograph of a person.
> Its figures show that the software works, not how well it finds fractures in people. Do not use it on patients."""
"""Warning on the card of a pack of phantoms."""


def model_card(manifest: Mapping[str, Any], notes: str) -> str:
    """Return the card as Markdown, made of the manifest and the `notes` of the pack's maker about the data."""
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
        f"| {site.replace('_', ' ')} | {n} | {p['misses_per_site'][site]} | {_percent(p['found_per_site'][site])} |"
        for site, n in p["regions_per_site"].items()
    )
    flags = "\n".join(
        f"| {name} | {f['n']} | {f['positives']} | {_estimate(f['auroc'])} | "
        f"{_percent(f['sensitivity'])} | {_percent(f['specificity'])} |"
        for name, f in localiser["flag_performance"].items()
    )
    flag_section = f"""

Flags of the whole radiograph, from a probability of one half:

| flag | radiographs | with it | AUROC | sensitivity | specificity |
|---|---|---|---|---|---|
{flags}"""
    return f"""## Localiser, on {p["films"]} test radiographs with {p["regions"]} labelled regions

Score threshold {localiser["score_threshold"]:.3f}, chosen on other radiographs than the test's. A region is *found* if
a located region of its site overlaps it with an IoU of at least 0.5. Where a located region lies on a labelled one (IoU
from 0.3), the site is right in {_percent(p["site_accuracy"])} of {p["site_accuracy_n"]}. Found overall:
{_percent(p["found"])}. Median IoU {p["median_iou"]:.2f}. Located regions without a labelled
one: {p["surplus_per_film"]:.2f} per radiograph.

| site | regions | missed | found, exact 95 % interval |
|---|---|---|---|
{rows}""" + (flag_section if flags else "")


def _classifiers(classifiers: Mapping[str, Any], together: Mapping[str, Any]) -> str:
    sites = {site: c["performance"] for site, c in classifiers.items()}
    rows = {**sites, "these together": together["classified"], "all sites of the localiser": together["all"]}
    area = "\n".join(
        f"| {site} | {p['n']} | {p['positives']} | {_estimate(p['auroc'])} | "
        f"{_estimate(p['auroc_without_hardware'])} ({p['n_without_hardware']}, "
        f"{p['positives_without_hardware']}) |"
        for site, p in rows.items()
    )
    points = "\n".join(
        f"| {site} | {name} | {_point(classifiers, site, name)} | "
        f"{_percent(p[f'sensitivity_{name}'])} | "
        f"{_percent(p[f'specificity_{name}'])} |"
        for site, p in rows.items()
        for name in ("doubt", "positive")
    )
    places = "\n".join(
        f"| {site} | {p['positives']} | {_percent(p['heat'])} | {_heat_ratios(p)} | "
        f"{_percent(p['pointing'])} | {_percent(p['pointing_centre'])} |"
        for site, p in rows.items()
    )
    unproven = [site for site, p in sites.items() if not p["auroc"][1] > CHANCE]
    warning = f"**Not shown to be better than chance here: {', '.join(unproven)}.**\n\n" if unproven else ""
    return f"""## Classifiers, on labelled regions that the network had not seen

Regions are cut at their labelled boxes. The figures of a fold use calibration and operating points of the other folds;
those that ship come from all folds.

| site | regions | fractured | AUROC | AUROC without radiographs that show hardware (regions, fractured) |
|---|---|---|---|---|
{area}

{warning}Operating points:

| site | point | probability from | sensitivity | specificity |
|---|---|---|---|---|
{points}

Explanations of fractured regions. *Heat* is the share of the Grad-CAM map inside the fracture boxes, followed by its
ratio to the share of a Gaussian around the region's middle and to that of an even map. *Pointing* is the share of
regions whose strongest place lies on the fracture box, within one of the map's 16x16 cells; the last column is the same
for the region's middle.

| site | fractured | heat | times the middle's, an even map's | pointing | the middle |
|---|---|---|---|---|---|
{places}

Intervals are 95 %: Clopper-Pearson for shares, Newcombe's method 5 for AUROC, a bootstrap of radiographs for heat.
Regions of one radiograph are not independent, which the first two ignore."""


def _estimate(bounds: Sequence[float]) -> str:
    return format_estimate((bounds[0], bounds[1], bounds[2]))


def _percent(bounds: Sequence[float]) -> str:
    return format_estimate((bounds[0], bounds[1], bounds[2]), percent=True)


def _point(classifiers: Mapping[str, Any], site: str, name: str) -> str:
    return f"{classifiers[site][name]:.2f}" if site in classifiers else "its site's"


def _heat_ratios(p: Mapping[str, Any]) -> str:
    heat, centre, even = (p[name][0] for name in ("heat", "heat_centre", "heat_even"))
    return "none to measure" if isnan(heat) else f"{heat / centre:.1f}, {heat / even:.1f}"
