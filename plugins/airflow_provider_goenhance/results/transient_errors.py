# SPDX-License-Identifier: Apache-2.0
"""Classify transient database errors, after which the same transaction may be repeated."""

from __future__ import annotations

import sqlalchemy as sa

from ..exceptions import ResultsTableError

# Serialization failure, deadlock, too many connections, no space or memory, a lock that was not released in time, and
# the server shutting down or starting up.
_TRANSIENT_SQLSTATES = frozenset(
    {"40001", "40P01", "53100", "53200", "53300", "55P03", "57P01", "57P02", "57P03"}
)
# The server has become a standby: a failover is under way, and the connection still leads to the old primary.
_STANDBY_SQLSTATES = frozenset({"25006"})
_STANDBY_NUMBERS = frozenset({1290, 1836})
# MySQL and MariaDB: a row changed since it was read, no space or memory, shutting down, a packet that was cut off, a
# lock or deadlock, a query or connection that an administrator ended, and a server that is not there (any more).
_TRANSIENT_NUMBERS = frozenset(
    {
        1020,
        1021,
        1040,
        1041,
        1053,
        1077,
        1158,
        1159,
        1160,
        1161,
        1205,
        1213,
        1317,
        1927,
        2002,
        2003,
        2006,
        2013,
    }
)

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
    "disk full",
    "disk is full",
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
    if sqlstate_of(error.orig) in _TRANSIENT_SQLSTATES or leads_to_standby(error):
        return True
    text = str(error.orig).lower()
    if any(words in text for words in _PERMANENT):
        return False
    if error.connection_invalidated or number_of(error.orig) in _TRANSIENT_NUMBERS:
        return True
    return isinstance(error, sa.exc.OperationalError) and any(words in text for words in _TRANSIENT)


def leads_to_standby(error: BaseException) -> bool:
    """Return whether the connection leads to a server that only answers reads, while another one may not."""
    cause = getattr(error, "orig", None)
    return sqlstate_of(cause) in _STANDBY_SQLSTATES or number_of(cause) in _STANDBY_NUMBERS


def sqlstate_of(cause: object) -> object:
    """Return the SQLSTATE of a driver's error, if it has one."""
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def number_of(cause: object) -> object:
    """Return the number of an error of MySQL, which is its first argument."""
    arguments: tuple[object, ...] = getattr(cause, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


def interruption_behind(error: BaseException, handled: BaseException | None) -> BaseException | None:
    """
    Return the interruption that led to an error, such as the timeout of a task in the middle of a statement.

    :param error: raised while the connection was cleaned up, which hides the interruption
    :param handled: the exception that was being handled before the work began, which is none of its own
    """
    seen: BaseException | None = error
    while seen is not None and seen is not handled:
        if not isinstance(seen, Exception):
            return seen
        seen = seen.__context__
    return None
