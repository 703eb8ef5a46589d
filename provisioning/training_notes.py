"""What only the maker of a pack can say of its data; it stands on the pack's card."""

FRACATLAS_FACTS = {
    "name": "FracAtlas",
    "licence": "CC BY 4.0",
    "citation": "Abedeen et al., FracAtlas, Sci Data 10, 521 (2023), doi 10.1038/s41597-023-02432-4",
}

FRACATLAS_NOTES = """\
{FR}"""

PHANTOM_NOTES = """\
The phantoms are drawn by `provisioning.phantoms`, half of each site with a fracture line. Training, validation and
test use different seeds; the demonstration's seeds are in none of them. The classifiers were trained again, longer and
wider, after the first test figures had been seen, so the figures below are not blind. On 144 phantoms of seeds that
nobody had looked at (20000 to 20011), through the whole pipeline: the site right in 144, 69 of 72 fractures answered
positive (1 doubt, 2 negative), 71 of 72 whole bones negative (1 doubt)."""
