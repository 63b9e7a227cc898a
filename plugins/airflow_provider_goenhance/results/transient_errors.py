# SPDX-License-Identifier: Apache-2.0
"""Classify transient database errors, after which the same transaction may be repeated."""

from __future__ import annotations

import sqlalchemy as sa

from ..exceptions import ResultsTableError

# Serialization failure, deadlock, too many connections, and the server shutting down or starting up.
_TRANSIENT_SQLSTATES = frozenset({"40001", "40P01", "53300", "57P01", "57P02", "57P03"})

# Drivers report every failed connection with one class; only the text says whether a person must fix something.
_PERMANENT = (
    "access denied",
    "authentication",
    "certificate",
    "does not exist",
    "name or service not known",
    "no password",
    "not permitted",
    "permission denied",
    "pg_hba",
    "readonly",
    "read-only",
    "unable to open",
    "unknown database",
)
_TRANSIENT = (
    "busy",
    "connection",
    "deadlock",
    "gone away",
    "locked",
    "server closed",
    "ssl",
    "temporary failure",
    "terminat",
    "timed out",
    "timeout",
)

#: A duplicate key means that two planners ran at once: the one that lost finds the rows in its next attempt.
INTEGRITY_ATTEMPTS = 3


class OutOfReachError(ResultsTableError):
    """The database stayed out of reach in every attempt, as opposed to refusing the statement."""


def is_transient(error: sa.exc.DBAPIError, attempt: int) -> bool:
    """
    Return whether the same transaction may succeed in a moment: cut connection, lock, deadlock, restart.

    :param attempt: how many attempts were made so far
    """
    if isinstance(error, sa.exc.IntegrityError):
        return attempt < INTEGRITY_ATTEMPTS
    sqlstate = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if sqlstate in _TRANSIENT_SQLSTATES:
        return True
    text = str(error.orig).lower()
    if any(words in text for words in _PERMANENT):
        return False
    if error.connection_invalidated:
        return True
    return isinstance(error, sa.exc.OperationalError) and any(words in text for words in _TRANSIENT)
