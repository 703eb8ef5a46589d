"""The roles and what they share: workers, rendering of artefacts, delivery."""
