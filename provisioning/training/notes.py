"""Notes of the maker of a pack about its data; they stand on the pack's card, and a training writes them anew."""

FRACATLAS_FACTS = {
    "name": "FracAtlas",
    "licence": "CC BY 4.0",
    "citation": "Abedeen et al., FracAtlas, Sci Data 10, 521 (2023), doi 10.1038/s41597-023-02432-4",
}

"""Facts of the data set, for the manifest of the pack."""

FRACATLAS_NOTES = """\
Region labels: made for this project, in `engines/training/labels/`, by readers who are no radiologists. A region
counts as fractured when the centre of one of the data set's fracture boxes lies in it. Truncated files are left out.

Both networks stand on the first blocks of EfficientNet-Lite0 with weights from ImageNet (Apache License 2.0; see
THIRD_PARTY.md). All thirteen sites share one trunk and train together; each site's network is that trunk with its own
last weights. Probabilities are calibrated to this data's share of fractures, which is far above a hospital's.

FracAtlas: Abedeen I, Rahman MA, Prottyasha FZ, Ahmed T, Chowdhury TM, Shatabda S. FracAtlas: A Dataset for Fracture
Classification, Localization and Segmentation of Musculoskeletal Radiographs. Sci Data 10, 521 (2023),
doi 10.1038/s41597-023-02432-4; data at figshare 22363012, [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/).
The radiographs were resampled, equalised and cropped; the weights were learned from them. Its authors endorse nothing
here.

Limits of the data: 8-bit pictures, most only 373x454 pixels; adults and children, three hospitals of one country.
Nearly all radiographs with hardware show a fracture, so figures are also given without them. The intervals of knee,
pelvis and ankle are wide because there are few fractures to measure.

No patient identities exist. A fold holds whole groups of look-alikes and of neighbouring numbers that show a region in
common, which is the best that can be done and no proof that no patient is in two folds. Where every run of neighbouring
numbers is one group, 201 radiographs, nine in ten of them fractured, are one group; that fold is harder
(docs/models.md).

The classifiers also learned from unfractured radiographs without region labels, whose regions the localiser found. Such
a radiograph belongs to the fold of the labelled ones that it looks like or whose number is next to its own, and the
network that is tested on that fold does not learn from it; a patient with three radiographs or more may still stand on
both sides. Nothing is measured on an unlabelled radiograph.

The figures of the classifiers are those of five networks trained by one recipe, each on four folds and asked about the
fifth. The one that has not seen fold 0 ships, with calibration and operating points from the answers of all five. The
recipe was chosen on folds 0 and 4, which are not blind; folds 1, 2 and 3 are. The localiser was trained on three folds;
its threshold was chosen on fold 1, and it was tested on fold 0. Its third cycle of training was added after the figures
of the second had been seen. Neither network that ships has learned from fold 0."""

PHANTOM_NOTES = """\
The phantoms are drawn by `provisioning.phantoms`: patients of 8 to 92 years who differ in size, mineral, proportions
and build; ankle, wrist, knee and spine in two views; scatter, quantum noise, the collimator's leaves, a lead marker.
Half of them have a fracture line. About a quarter carry metal and a fifth of the limbs a cast, whether or not something
is broken, and metal never lies on a fracture. Every patient gives one radiograph. Training, and the two folds for
thresholds and test, use different seeds; the demonstration's are in none of them.

The localiser was also trained to see metal and did not learn it (AUROC 0.58 [0.49, 0.67] in 47 of 240 radiographs): it
has no output for it.

Through the whole pipeline, on 72 phantoms of seeds that had not been used before (30012 to 30023): the site right in
72; of 36 fractures 28 positive, 2 doubt, 6 negative; of 36 whole bones 34 negative, 1 doubt, 1 positive; the hottest
place on the line in 29 of 30; 9 of 9 casts seen, none on 63 others."""
