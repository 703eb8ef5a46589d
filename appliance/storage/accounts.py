"""The accounts of the page; each change is in the audit log."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from appliance.clock import now
from appliance.domain.account import ACCOUNT_NAME, Account, AccountRole
from appliance.domain.audit import AuditAction, Intervention
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected

from .audit import record
from .database import readers
from .tables import accounts, sign_ins


def add_account(engine: Engine, name: str, role: AccountRole, password_hash: str, by: Intervention) -> None:
    """Make an account.

    Raises
    ------
    Rejected
        ``account_exists``; ``no_such_account`` if no account can have the name.
    """
    if not re.fullmatch(ACCOUNT_NAME, name):
        reason = f"{name!r} is no name of an account: up to 64 letters of ASCII, digits and . _ @ + - \\"
        raise Rejected(ReasonCode.NO_SUCH_ACCOUNT, reason)
    row = {"name": name, "role": role, "password_hash": password_hash, "created_at": now(), "changed_at": now()}
    try:
        with engine.begin() as c:
            c.execute(insert(accounts).values(**row))
            record(c, by, AuditAction.ADD_ACCOUNT, f"account {name}", role.value)
    except IntegrityError:
        reason = f"there is an account {name}: remove it first, or change its password"
        raise Rejected(ReasonCode.ACCOUNT_EXISTS, reason) from None


def remove_account(engine: Engine, name: str, by: Intervention) -> None:
    """Remove an account and end its sign-ins.

    Raises
    ------
    Rejected
        ``no_such_account``.
    """
    with engine.begin() as c:
        _end_sign_ins(c, name)
        if not c.execute(delete(accounts).where(accounts.c.name == name)).rowcount:
            raise _no_such_account(name)
        record(c, by, AuditAction.REMOVE_ACCOUNT, f"account {name}")


def change_password(engine: Engine, name: str, password_hash: str, by: Intervention) -> None:
    """Change the password of an account and end its sign-ins; raises as `remove_account`."""
    with engine.begin() as c:
        _end_sign_ins(c, name)
        changed = update(accounts).where(accounts.c.name == name)
        if not c.execute(changed.values(password_hash=password_hash, changed_at=now())).rowcount:
            raise _no_such_account(name)
        record(c, by, AuditAction.CHANGE_PASSWORD, f"account {name}")


def all_accounts(c: Connection) -> list[Account]:
    """Return every account, by name."""
    return [account_of(row) for row in c.execute(select(accounts).order_by(accounts.c.name))]


def account_rows(c: Connection) -> list[dict[str, Any]]:
    """Return the columns of every account, for `replace_accounts` of another database."""
    return [dict(row._mapping) for row in c.execute(select(accounts))]


def replace_accounts(c: Connection, rows: list[dict[str, Any]]) -> list[str]:
    """Let `rows` be the only accounts, and end every sign-in.

    Return the names of the accounts that are gone, or had another password or role.
    """
    before = account_rows(c)
    c.execute(delete(sign_ins))
    c.execute(delete(accounts))
    if rows:
        c.execute(insert(accounts), rows)
    return sorted(row["name"] for row in before if row not in rows)


def password_hash_of(engine: Engine, name: str) -> str | None:
    """Return the hash of the password of an account; None if there is no such account."""
    with readers(engine).connect() as c:
        found: str | None = c.execute(select(accounts.c.password_hash).where(accounts.c.name == name)).scalar()
    return found


def account_of(row: Row[Any]) -> Account:
    """Return the account in a row that has its columns."""
    return Account(name=row.name, role=row.role, created_at=row.created_at, changed_at=row.changed_at)


def _end_sign_ins(c: Connection, name: str) -> None:
    c.execute(delete(sign_ins).where(sign_ins.c.account == name))


def _no_such_account(name: str) -> Rejected:
    return Rejected(ReasonCode.NO_SUCH_ACCOUNT, f"there is no account {name}: see osteon account list")
