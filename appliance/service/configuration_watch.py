"""Notices that the configuration file is no longer that of the role's start."""

from __future__ import annotations

from pathlib import Path

from appliance.config import Configuration, read_configuration
from appliance.domain.roles import ConfigurationState
from appliance.errors import ConfigurationError


class ConfigurationWatch:
    """Compares the file with the configuration of the role; reads the file only after a change."""

    def __init__(self, path: Path | None, config: Configuration) -> None:
        self._path, self._config = path, config
        self._read_at: tuple[int, int] | None = (0, 0)  # the file may have changed since the role read it
        self._state = ConfigurationState.CURRENT

    def state(self) -> ConfigurationState:
        """Return whether the file has other values than the role, or none that can be used."""
        changed_at = _change_of(self._path)
        if changed_at != self._read_at:
            self._read_at = changed_at
            self._state = self._compare()
        return self._state

    def _compare(self) -> ConfigurationState:
        try:
            is_same = read_configuration(self._path) == self._config
        except ConfigurationError:
            return ConfigurationState.UNUSABLE
        return ConfigurationState.CURRENT if is_same else ConfigurationState.CHANGED


def _change_of(path: Path | None) -> tuple[int, int] | None:
    """Return a value that differs after each change of the file; None without a file."""
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ino) if found else None
