"""Accounts of the page for hospital IT."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

ACCOUNT_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._@+\\-]{0,63}"
"""Form of the name of an account, and of a person whom a reverse proxy names (``DOMAIN\\user``, an e-mail address)."""


class AccountRole(StrEnum):
    """The rights of a person on the page.

    A viewer reads it, an operator also changes jobs and holds. A reader reads radiographs of a validation, and sees
    nothing else: the other pages show answers.
    """

    VIEWER = "viewer"
    OPERATOR = "operator"
    READER = "reader"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account; its password is nowhere, and the hash of it stays in the database."""

    name: str
    role: AccountRole
    created_at: datetime
    changed_at: datetime
