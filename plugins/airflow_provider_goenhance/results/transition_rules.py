# SPDX-License-Identifier: Apache-2.0
"""The vocabulary of :mod:`.transitions`: what a rule is, and where the values that it writes come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .states import Status
from .swap import clean

#: Longest error message that a row holds, in characters.
MESSAGE_LENGTH = 2000


@dataclass(frozen=True, slots=True)
class FromStep:
    """
    A field of the step.

    :param or_now: the time of the transition where the field is ``None``
    """

    field: str
    or_now: bool = False

    def of(self, step: Any) -> Any:
        """Return the value that goes into the column."""
        return getattr(step, self.field)


@dataclass(frozen=True, slots=True)
class TextFromStep(FromStep):
    """A field of the step that may hold any text."""

    def of(self, step: Any) -> Any:
        """Return the text in a form that every database stores: no NUL, no lone surrogate, limited length."""
        text = getattr(step, self.field)
        return clean(text)[:MESSAGE_LENGTH] if text else text


@dataclass(frozen=True, slots=True)
class AsReadUnlessPlanned(FromStep):
    """A guard: a field of the step that the column must equal, NULL included. A planned row may have any value."""


@dataclass(frozen=True, slots=True)
class FromOwner:
    """A field of the claim owner."""

    field: str


@dataclass(frozen=True, slots=True)
class FromRow:
    """A column of the row before the transition."""

    column: str


@dataclass(frozen=True, slots=True)
class Plus:
    """The column's value before the transition, changed by a number."""

    number: int


@dataclass(frozen=True, slots=True)
class Append:
    """The column's words before the transition, and one more where it is not null."""

    word: FromStep | FromRow


@dataclass(frozen=True, slots=True)
class Now:
    """The time of the transition."""


NOW = Now()
#: What a row becomes with the answer to its POST.
ACCEPTED: Mapping[str, Any] = {
    "status": Status.SUBMITTED,
    "img_uuid": FromStep("img_uuid"),
    "cost": FromStep("cost"),
    "submitted_at": NOW,
    "finished_at": None,
    "error_code": None,
    "error_message": None,
}


@dataclass(frozen=True, slots=True)
class DatabaseTimePlus:
    """The time by the database's clock, and a number of seconds later."""

    seconds: FromOwner


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rule:
    """
    One transition of a row.

    Values are constants, or one of the sources of this module.

    :param from_status: the states that the row may be in
    :param guards: column -> the value that it must have
    :param unless: column -> the value that it must not have
    :param writes: column -> its new value, in the order of the statement
    :param taken_if: column -> the values of a row that has taken the step already; empty where it is never asked
    """

    from_status: frozenset[Status] | FromStep
    writes: Mapping[str, Any]
    guards: Mapping[str, Any] = field(default_factory=dict)
    unless: Mapping[str, Any] = field(default_factory=dict)
    taken_if: Mapping[str, Any] = field(default_factory=dict)

    def step_columns(self) -> dict[FromStep, str]:
        """Return the fields of the step that the statement needs, each with the column whose type it has."""
        return {FromStep("swap_id"): "swap_id"} | {
            source: column for column, source in self._sources() if isinstance(source, FromStep)
        }

    def owner_fields(self) -> list[str]:
        """Return the fields of the claim owner that the statement needs."""
        return [source.field for _, source in self._sources() if isinstance(source, FromOwner)]

    def needs_time(self) -> bool:
        """Return whether the statement needs the time of the transition."""
        return any(
            isinstance(source, Now) or (isinstance(source, FromStep) and source.or_now)
            for _, source in self._sources()
        )

    def _sources(self) -> Iterator[tuple[str, Any]]:
        sources = [
            ("status", self.from_status),
            *self.guards.items(),
            *self.unless.items(),
            *self.writes.items(),
        ]
        for column, source in sources:
            match source:
                case Append():
                    yield column, source.word
                case DatabaseTimePlus():
                    yield column, source.seconds
                case _:
                    yield column, source
