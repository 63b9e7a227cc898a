# SPDX-License-Identifier: Apache-2.0
"""Look at each distinct input of a run once: what of it is compared with a result, and its thumbnail."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..pictures.input_pictures import InputPictures, NotAskedError
from ..pictures.limits import PROCESSORS
from ..pictures.names import input_thumbnail_name_for
from ..pictures.quality import Appearance, appearance_in, look_at
from ..pictures.storage import keep_thumbnail, picture_exists, read_picture, uri_of

if TYPE_CHECKING:
    from ..pictures.collector import StorageOptions

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Inputs whose appearance is remembered, about 13 kB each, and whose file is: those that were used last.
MOST_LOOKS, MOST_FILES = 4000, 200
#: Inputs that could not be looked at, and that the log names one by one.
NAMED_PROBLEMS = 5


@dataclass(frozen=True, slots=True)
class InputLook:
    """
    What is known of an input.

    :param appearance: ``None`` if it could not be fetched or decoded
    :param thumbnail_uri: where its thumbnail is stored
    :param file: a copy on this machine, for a check of the team's own
    """

    appearance: Appearance | None = None
    thumbnail_uri: str | None = None
    file: Path | None = None


class InputLooks:
    """
    Looks at inputs, each once: at the same time, or of the same run in another task, all users share one look.

    :param inputs: fetches them
    :param run: runs blocking work in a thread
    :param folder: where copies are written for a check of the team's own; ``None`` if there is none
    """

    def __init__(
        self,
        inputs: InputPictures,
        run: Callable[[Callable[[], Any]], Awaitable[Any]],
        folder: Path | None = None,
    ) -> None:
        self._inputs = inputs
        self._run = run
        self._folder = folder
        self._looks: OrderedDict[tuple[str, str, str], asyncio.Task[InputLook]] = OrderedDict()
        self._problems = 0

    async def look(self, uri: str, identity: str, options: StorageOptions) -> InputLook:
        """
        Return what is known of an input. Never raises because of the input.

        :param uri: its address
        :param identity: what it is recognized by, whatever signs its address
        :param options: the run that it is looked at for
        """
        key = (options.storage, options.run_id, identity)
        if key in self._looks:
            self._looks.move_to_end(key)
        else:
            self._looks[key] = asyncio.ensure_future(self._look(uri, identity, options))
            self._forget_oldest()
        return await self._looks[key]

    def _forget_oldest(self) -> None:
        most = MOST_LOOKS if self._folder is None else MOST_FILES
        while len(self._looks) > most:
            key, look = next(iter(self._looks.items()))
            if not look.done():
                return
            del self._looks[key]
            if not look.cancelled() and (file := look.result().file):
                file.unlink(missing_ok=True)

    async def _look(self, uri: str, identity: str, options: StorageOptions) -> InputLook:
        name = input_thumbnail_name_for(options.run_id, identity)
        if options.thumbnails and self._folder is None:
            kept: InputLook | None = await self._run(partial(_kept_look, options, name))
            if kept is not None:
                return kept
        try:
            data = await self._inputs.fetch(uri)
            look: InputLook = await self._run(partial(self._look_at, data, name, options))
        except Exception as error:  # noqa: BLE001  nothing depends on an input: its result is kept already
            self._note(error)
            return InputLook()
        return look

    def _look_at(self, data: bytes, name: str, options: StorageOptions) -> InputLook:
        file = None
        if self._folder is not None:
            file = self._folder / hashlib.sha256(name.encode()).hexdigest()
            file.write_bytes(data)
        with PROCESSORS:
            appearance, thumbnail = look_at(data)
        uri = None
        if options.thumbnails:
            try:
                uri = keep_thumbnail(thumbnail, options.storage, name, conn_id=options.conn_id)
            except Exception as error:  # noqa: BLE001  it can be compared without
                self._note(error)
        return InputLook(appearance, uri, file)

    def _note(self, error: Exception) -> None:
        if isinstance(error, NotAskedError):
            return
        self._problems += 1
        if self._problems <= NAMED_PROBLEMS:
            log.info("An input could not be checked: %s", error)


def _kept_look(options: StorageOptions, name: str) -> InputLook | None:
    """Return the look of another task of the run, as far as its thumbnail shows it."""
    with contextlib.suppress(Exception):
        uri = uri_of(options.storage, name)
        if picture_exists(uri, options.conn_id):
            return InputLook(appearance_in(read_picture(uri, options.conn_id)), uri)
    return None
