"""Sign-ins of the page: each is a random token in a cookie, of which the database has the digest alone."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import now
from appliance.domain.account import Account

from .accounts import account_of
from .database import hasty, readers
from .tables import accounts, sign_ins

IDLE: Final = timedelta(minutes=30)
LONGEST: Final = timedelta(hours=12)
"""Time without a request, and time in all, after which a sign-in ends: a pause, and a shift."""

SEEN_EVERY: Final = timedelta(minutes=1)
"""Precision of the time of the newest request: not every one is a commit."""

SEEN_WAIT_S: Final = 0.1
"""Wait of that commit for the database: where another process holds it, the page stays readable."""

STEPPED: Final = timedelta(minutes=2)
"""A sign-in that seems to come from the future by more was made before the clock was set back, and ends."""


def begin_sign_in(engine: Engine, name: str, password_hash: str) -> str | None:
    """Return the token of a new sign-in; None if the account has another password by now. Remove the expired ones."""
    token, moment = secrets.token_urlsafe(32), now()
    row = {"digest": _digest(token), "account": name, "created_at": moment, "seen_at": moment}
    with engine.begin() as c:
        c.execute(delete(sign_ins).where(sign_ins.c.created_at < moment - LONGEST))
        unchanged = select(accounts.c.name).where(accounts.c.name == name, accounts.c.password_hash == password_hash)
        if c.execute(unchanged).first() is None:
            return None
        c.execute(insert(sign_ins).values(**row))
    return token


def signed_in(engine: Engine, token: str, *, is_activity: bool) -> Account | None:
    """Return the account of a token; None if its sign-in has ended.

    Parameters
    ----------
    is_activity
        Whether a person asks, and not a page that reads itself again.
    """
    digest, moment = _digest(token), now()
    query = (
        select(accounts, sign_ins.c.created_at.label("begun_at"), sign_ins.c.seen_at)
        .join(sign_ins, sign_ins.c.account == accounts.c.name)
        .where(sign_ins.c.digest == digest)
    )
    with readers(engine).connect() as c:
        row = c.execute(query).first()
    if row is None or not (_is_within(row.begun_at, moment, LONGEST) and _is_within(row.seen_at, moment, IDLE)):
        return None
    if is_activity and abs(moment - row.seen_at) > SEEN_EVERY:
        with suppress(SQLAlchemyError), hasty(engine, SEEN_WAIT_S).begin() as c:
            c.execute(update(sign_ins).where(sign_ins.c.digest == digest).values(seen_at=moment))
    return account_of(row)


def end_sign_in(engine: Engine, token: str) -> None:
    """End a sign-in: its token opens nothing any more."""
    with engine.begin() as c:
        c.execute(delete(sign_ins).where(sign_ins.c.digest == _digest(token)))


def _is_within(since: datetime, moment: datetime, longest: timedelta) -> bool:
    return -STEPPED < moment - since < longest


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
