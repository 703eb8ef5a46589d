"""The roles and their parts: the role loop, analysis, reports on studies, rendering of artefacts, delivery."""
