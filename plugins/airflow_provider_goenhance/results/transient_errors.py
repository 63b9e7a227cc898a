# SPDX-License-Identifier: Apache-2.0
"""Which database errors pass by themselves, so that the same transaction may be run again."""

from __future__ import annotations

import sqlalchemy as sa

from ..exceptions import ResultsTableError

# Serialization failure, deadlock, too many connections, and the server going down or coming up.
_PASSING_SQLSTATES = frozenset({"40001", "40P01", "53300", "57P01", "57P02", "57P03"})

# Drivers report a failed connection as one class with a text: what a person must mend is told from what passes by it.
_NEVER_PASSES = (
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
_PASSES = (
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

#: A unique key met twice is two planners at once; the one that lost finds the rows there the next time, or never.
INTEGRITY_ATTEMPTS = 3


class OutOfReachError(ResultsTableError):
    """The database did not answer for as long as it was tried; unlike a statement that it refuses."""


def passes(error: sa.exc.DBAPIError, attempt: int) -> bool:
    """
    Tell whether the same transaction may go through in a moment: cut connection, lock, deadlock, restart.

    :param attempt: how often it was tried so far
    """
    if isinstance(error, sa.exc.IntegrityError):
        return attempt < INTEGRITY_ATTEMPTS
    sqlstate = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if sqlstate in _PASSING_SQLSTATES:
        return True
    text = str(error.orig).lower()
    if any(words in text for words in _NEVER_PASSES):
        return False
    if error.connection_invalidated:
        return True
    return isinstance(error, sa.exc.OperationalError) and any(words in text for words in _PASSES)
