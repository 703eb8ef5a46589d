"""Commands for the people who run an appliance: queues, packs, listening ports, previews."""
