# SPDX-License-Identifier: Apache-2.0
"""
The database's own clock, in SQL, and how long a claim lasts by it.

Workers' clocks differ. A claim's expiry is written and compared by the one clock that all of them share.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from .columns import UtcDateTime
from .engines import CONNECT_SECONDS

#: The longest pause of the client before it sends a submit again, seconds.
LONGEST_PAUSE = 120.0
#: How often the writer of a round of submits attempts a transaction: a paid job's UUID is worth waiting for.
WRITER_ATTEMPTS = 60
#: The longest pause of that writer between two attempts, seconds.
WRITER_PAUSE = 7.5
#: Seconds that the writer may take to commit the result of a POST.
WRITER_SECONDS = WRITER_ATTEMPTS * (WRITER_PAUSE + CONNECT_SECONDS)
#: Seconds after which a claim without an expiry has ended: release 0.1.0 wrote none.
CLAIM_SECONDS_0_1_0 = 1800.0


def claim_seconds(request_timeout: float, submit_attempts: int, turn_seconds: float = 0.0) -> float:
    """
    Return how long after its claim a row's POST may still be under way, or its result not yet written.

    :param request_timeout: seconds for one request
    :param submit_attempts: how often a submit is sent while it is certain that none was accepted
    :param turn_seconds: how long the account's rate can make a claimed row wait for its turn, each time it is sent
    """
    return submit_attempts * (request_timeout + LONGEST_PAUSE + turn_seconds) + WRITER_SECONDS


class database_time(FunctionElement[Any]):  # noqa: N801  named as it is used, like a function of SQL
    """The database's time, plus a number of seconds."""

    type = UtcDateTime()
    inherit_cache = True
    name = "database_time"


class whole_seconds(FunctionElement[Any]):  # noqa: N801
    """The seconds from one time to another, as a whole number."""

    type = sa.BigInteger()
    inherit_cache = True
    name = "whole_seconds"


@compiles(whole_seconds)
def _sqlite_seconds(element: Any, compiler: Any, **options: Any) -> str:
    start, end = (compiler.process(clause, **options) for clause in element.clauses)
    return f"CAST(round((julianday({end}) - julianday({start})) * 86400) AS INTEGER)"


@compiles(whole_seconds, "postgresql")
def _postgres_seconds(element: Any, compiler: Any, **options: Any) -> str:
    start, end = (compiler.process(clause, **options) for clause in element.clauses)
    # Not `extract`, which computes with decimal numbers and takes longer than all the rest.
    return f"CAST(date_part('epoch', {end} - {start}) AS bigint)"


@compiles(whole_seconds, "mysql")
@compiles(whole_seconds, "mariadb")
def _mysql_seconds(element: Any, compiler: Any, **options: Any) -> str:
    start, end = (compiler.process(clause, **options) for clause in element.clauses)
    return f"TIMESTAMPDIFF(SECOND, {start}, {end})"


@compiles(database_time)
def _sqlite(element: Any, compiler: Any, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    # In the form in which SQLAlchemy stores a time, so that the two can be compared as texts.
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', printf('%+.3f seconds', {seconds})) || '000')"


@compiles(database_time, "postgresql")
def _postgres(element: Any, compiler: Any, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"(clock_timestamp() + make_interval(secs => CAST({seconds} AS double precision)))"


@compiles(database_time, "mysql")
@compiles(database_time, "mariadb")
def _mysql(element: Any, compiler: Any, **options: Any) -> str:
    return f"(UTC_TIMESTAMP(6) + INTERVAL {compiler.process(element.clauses, **options)} SECOND)"
