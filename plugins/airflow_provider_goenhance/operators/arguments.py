# SPDX-License-Identifier: Apache-2.0
"""Read arguments that may have been rendered from a template, as text or as native objects."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

_YES = frozenset({"true", "1", "yes", "on"})
_NO = frozenset({"false", "0", "no", "off", "none", ""})
#: The longest duration, seconds: a year. A date that is computed from a longer one may not exist.
LONGEST_SECONDS = 365 * 86_400.0
#: The largest upper limit: an INTEGER column holds it.
LARGEST_LIMIT = 2**31 - 1


def flag(value: object, name: str) -> bool:
    """
    Read a boolean.

    :param name: the argument, for the message
    :raises ValueError: when it is not a boolean
    """
    word = str(value).strip().lower()
    if word not in _YES | _NO:
        raise ValueError(f"{name} must be True or False; got {value!r}.")
    return word in _YES


def text(value: object) -> str | None:
    """Read an optional text; blank, and the ``None`` that a template renders as text, are ``None``."""
    word = "" if value is None else str(value).strip()
    return None if word in {"", "None"} else word


def number(value: Any, name: str, *, most: float | None = None, unit: str = "") -> float:
    """
    Read a non-negative number.

    :param name: the argument, for the message
    :param most: the largest value allowed
    :param unit: what is counted, for the message, e.g. ``seconds``
    :raises ValueError: when it is not such a number
    """
    try:
        read = float(value)
    except (TypeError, ValueError):
        read = -1.0
    if not 0 <= read <= (float("inf") if most is None else most):
        expected = "a non-negative number" if most is None else f"a number from 0 to {most:g}"
        raise ValueError(f"{name} must be {expected}{f' of {unit}' if unit else ''}; got {value!r}.")
    return read


def seconds(value: Any, name: str) -> float:
    """
    Read a duration in seconds.

    :param name: the argument, for the message
    :raises ValueError: when it is not a non-negative number, or longer than a year
    """
    read = number(value, name, unit="seconds")
    if read > LONGEST_SECONDS:
        raise ValueError(f"{name} must be at most {LONGEST_SECONDS:.0f} seconds (a year); got {value!r}.")
    return read


def whole(value: Any, name: str) -> int:
    """
    Read a non-negative whole number.

    :param name: the argument, for the message
    :raises ValueError: when it is not such a number
    """
    read = number(value, name)
    if not read.is_integer():
        raise ValueError(f"{name} must be a whole number; got {value!r}.")
    return int(read)


def limit(value: Any, name: str) -> int | None:
    """
    Read an optional upper limit: a whole number of at least 1; blank, and a rendered ``None``, are no limit.

    :param name: the argument, for the message
    :raises ValueError: when it is not such a number
    """
    if text(value) is None:
        return None
    read = number(value, name)
    if not read.is_integer() or not 1 <= read <= LARGEST_LIMIT:
        raise ValueError(
            f"{name} must be a whole number from 1 to {LARGEST_LIMIT}, or None for no limit; got {value!r}."
        )
    return int(read)


def choice(value: object, name: str, choices: Collection[str]) -> str:
    """
    Read one of a few words. A typing error here could cost money, so nothing else is accepted.

    :param name: the argument, for the message
    :raises ValueError: when it is none of them
    """
    if value not in choices:
        raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}; got {value!r}.")
    return str(value)


def mapping(value: object, name: str) -> dict[str, str] | None:
    """
    Read an optional mapping of names, or the JSON text of one.

    :param name: the argument, for the message
    :raises ValueError: when it is neither
    """
    if isinstance(value, str):
        try:
            value = json.loads(word) if (word := text(value)) else None
        except ValueError:
            raise ValueError(f"{name} must be a mapping, or the JSON text of one; got {value!r}.") from None
    if value is None or isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()} if value else None
    raise ValueError(f"{name} must be a mapping, or the JSON text of one; got {value!r}.")


def as_written(written: Any, rendered: Any, render: Callable[[str], str] | None = None) -> Any:
    """
    Return a rendered argument, with each text that native rendering evaluated as its author wrote it.

    Native rendering (``render_template_as_native_obj=True``) evaluates every text: a pair_id ``1e5`` would become the
    number 100000.0. Anything else, such as a value that a subclass has set since, is returned as it is.

    :param written: the argument as it was passed to the operator
    :param rendered: the same after rendering
    :param render: renders a template to text; without it, a template that was evaluated stays the object it became
    """
    if isinstance(written, str):
        if _evaluates_to(written, rendered):
            return written
        return render(written) if render and not isinstance(rendered, str | None) else rendered
    if isinstance(written, Mapping) and isinstance(rendered, Mapping):
        return {key: as_written(written.get(key), value, render) for key, value in rendered.items()}
    if isinstance(written, list | tuple) and isinstance(rendered, list | tuple):
        return [as_written(*pair, render) for pair in zip(written, rendered, strict=False)] + list(
            rendered[len(written) :]
        )
    return rendered


def _evaluates_to(text: str, value: Any) -> bool:
    try:
        return bool(ast.literal_eval(text) == value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False


def display_name(name: str, kind: str) -> str:
    """
    Return a name that a template renders as text even if its Dag renders native objects.

    Airflow takes the length of a mapped task's name, and fails the finished task if it was evaluated to a number.

    :param kind: put before a name that Python would evaluate, e.g. ``pair``
    """
    try:
        ast.literal_eval(name)
    except (ValueError, SyntaxError):
        return name
    except (TypeError, MemoryError, RecursionError):
        pass  # Jinja fails on such a name
    return f"{kind} {name}"
