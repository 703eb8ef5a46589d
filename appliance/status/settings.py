"""The settings of a destination that the configuration gives, for its page: without secrets."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.config.section import Section


def settings_of(section: Section) -> tuple[tuple[str, str], ...]:
    """Return key and value of each setting that was given, keys of inner tables with a dot; secrets are left out."""
    return tuple(_settings(section, ""))


def _settings(section: Section, before: str) -> Iterator[tuple[str, str]]:
    for key, field in type(section).model_fields.items():
        if key not in section.model_fields_set or not field.repr:
            continue
        value = getattr(section, key)
        if isinstance(value, Section):
            yield from _settings(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
