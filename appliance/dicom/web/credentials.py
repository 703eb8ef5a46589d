"""Our token or password at an archive, from a file that is read for each request: it may change.

References
----------
RFC 6750 (bearer token), RFC 7617 (basic authentication).
"""

from __future__ import annotations

import base64
import re
from pathlib import Path

from appliance.config import DicomWebDestination
from appliance.config.section import VISIBLE
from appliance.domain.reason import ReasonCode
from appliance.errors import Away

ONE_LINE = r"[^\x00-\x1f\x7f]+"
"""Characters of a password: no control characters (RFC 7617 section 2)."""


def credentials(config: DicomWebDestination) -> dict[str, str]:
    """Return the header with our token or password; none if the configuration names no file.

    Raises
    ------
    Away
        ``dicomweb_credentials`` if a file cannot be read, or holds no token or password.
    """
    if config.bearer_file:
        return {"Authorization": f"Bearer {_read_secret('bearer_file', config.bearer_file, config.name)}"}
    if config.password_file:
        password = _read_secret("password_file", config.password_file, config.name)
        pair = base64.b64encode(f"{config.user}:{password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    return {}


def _read_secret(key: str, path: Path, name: str) -> str:
    try:
        secret = path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
    except UnicodeError:
        why = "is no text in UTF-8"
    else:
        if re.fullmatch(VISIBLE if key == "bearer_file" else ONE_LINE, secret):
            return secret
        why = "must hold one line: the token or the password alone"
    raise Away(ReasonCode.DICOMWEB_CREDENTIALS, f"{key} of {name}: {path} {why}")
