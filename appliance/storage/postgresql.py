"""Errors of PostgreSQL by their SQLSTATE, which its driver does not tell apart.

References
----------
PostgreSQL 15, appendix A, error codes; PEP 249 for the classes.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError

CLASSES: Final[dict[str, type[DBAPIError]]] = {
    "08": OperationalError,  # of the connection
    "22": DataError,
    "23": IntegrityError,
    "28": OperationalError,  # of the sign-in
    "3D": OperationalError,  # the database does not exist
    "40": OperationalError,  # a deadlock
    "53": OperationalError,  # disk, memory or connections are used up
    "55": OperationalError,  # a lock
    "57": OperationalError,  # the server is shut down
    "58": OperationalError,  # its disk fails
}
"""SQLAlchemy's error by the first two characters of a SQLSTATE; others stay as they are."""


def sqlstate(error: BaseException) -> str:
    """Return the SQLSTATE of an error of the driver; an empty text if the server did not raise it."""
    told = error.args[0] if error.args else None
    return str(told.get("C", "")) if isinstance(told, dict) else ""


def message(error: BaseException) -> str:
    """Return the message of an error of the driver; for an error of the server it quotes no row."""
    told = error.args[0] if error.args else None
    return str(told.get("M", "")) if isinstance(told, dict) else str(error)


def tell_errors_apart(engine: Engine) -> None:
    """Let `engine` raise the error of SQLAlchemy that fits the SQLSTATE; an error of the connection is operational."""
    event.listen(engine, "handle_error", _of_its_class, retval=True)


def _of_its_class(context: ExceptionContext) -> DBAPIError | None:
    raised = context.sqlalchemy_exception
    if not isinstance(raised, DBAPIError) or raised.orig is None:
        return None
    code = sqlstate(raised.orig)
    fitting = CLASSES.get(code[:2]) if code else OperationalError if context.is_disconnect else None
    if fitting is None or isinstance(raised, fitting):
        return None
    return fitting(raised.statement, raised.params, raised.orig, connection_invalidated=raised.connection_invalidated)
