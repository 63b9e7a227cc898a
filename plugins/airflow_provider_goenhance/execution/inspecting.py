# SPDX-License-Identifier: Apache-2.0
"""
Look at pictures that are kept: their quality, and thumbnails of result, source and reference.

The outcome of a row is recorded before its picture is looked at, and never waits for that. Whatever goes wrong here
leaves the row as it is: without thumbnails, or unchecked.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..pictures.input_pictures import InputPictures
from ..pictures.limits import PROCESSORS, ByteBudget, CollectLimits
from ..pictures.names import thumbnail_name_for
from ..pictures.quality import Verdict, judge, look_at
from ..pictures.quality_check import with_findings
from ..pictures.storage import keep_thumbnail, read_picture
from ..quality_codes import Quality
from ..results.inspection_transitions import Inspected
from ..url_identity import identity_of
from .input_looks import InputLook, InputLooks
from .messages import pluralize

if TYPE_CHECKING:
    from ..api.account import Account
    from ..pictures.collector import StorageOptions
    from ..pictures.quality import Appearance
    from ..pictures.quality_check import QualityCheck
    from ..pictures.storage import KeptPicture
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: Pictures that are looked at at the same time, each with its inputs.
LOOKS_AT_ONCE = 8
#: Bytes of pictures that wait to be looked at; further ones are read from the storage again.
MOST_WAITING_BYTES = 48 * 2**20
#: Bytes of all inputs that are being fetched, their copies included.
INPUT_BYTES = 96 * 2**20
#: Seconds for the connections to all hosts of inputs that never answer, together, and how often one of them is asked.
PATIENCE_SECONDS, FIRST_SILENCES = 20.0, 3
#: Seconds after the last picture was collected in which no look ends, until the other looks are left out.
STALLED_SECONDS = 60.0
#: Seconds after the last picture was collected, for all looks that are left.
LAST_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class _Kept:
    """
    A kept picture.

    :param img_uuid: its job
    :param content: its bytes; ``None`` if they are read from the storage again
    """

    swap: Swap
    options: StorageOptions
    picture: KeptPicture
    img_uuid: str
    content: bytes | None

    @property
    def size(self) -> int:
        return len(self.content or b"")


class Inspector:
    """
    Looks at kept pictures. Open it with :func:`open_inspector`.

    :param looks: looks at the inputs
    :param limits: runs blocking work in threads
    :param record: has what was found recorded; returns at once
    """

    def __init__(self, looks: InputLooks, limits: CollectLimits, record: Callable[[Inspected], None]) -> None:
        self._looks = looks
        self._limits = limits
        self._record = record
        self._queue: deque[_Kept] = deque()
        self._waiting_bytes = 0
        self._workers: set[asyncio.Task[None]] = set()
        self._done = 0

    def add(self, swap: Swap, options: StorageOptions, picture: KeptPicture, img_uuid: str) -> None:
        """
        Have a picture looked at, the outcome of whose row is recorded before. Returns at once.

        :param picture: the first picture of the row's job
        :param img_uuid: the job
        """
        if not options.inspects:
            return
        content = picture.content
        if content is not None and self._waiting_bytes + len(content) > MOST_WAITING_BYTES:
            content = None
        kept = _Kept(swap, options, dataclasses.replace(picture, content=None), img_uuid, content)
        self._waiting_bytes += kept.size
        self._queue.append(kept)
        if len(self._workers) < LOOKS_AT_ONCE:
            worker = asyncio.ensure_future(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def finish(self) -> None:
        """Wait for the looks that are left, as long as they get on."""
        began = time.monotonic()
        done, since = self._done, began
        while self._workers:
            await asyncio.wait(self._workers, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            now = time.monotonic()
            if self._done != done:
                done, since = self._done, now
            if now > min(began + LAST_SECONDS, since + STALLED_SECONDS):
                log.warning(
                    "%s not checked, because that takes too long. They are kept, and their rows have no quality.",
                    pluralize(len(self._queue) + len(self._workers), "picture was", "pictures were"),
                )
                break

    def cancel(self) -> None:
        """Look at no more pictures."""
        self._queue.clear()
        for worker in self._workers:
            worker.cancel()

    async def _work(self) -> None:
        while self._queue:
            kept = self._queue.popleft()
            try:
                self._record(await self._inspect(kept))
            except Exception as error:  # noqa: BLE001  the picture is kept, whatever a look at it reveals
                log.info("%s: the picture could not be checked: %s", kept.swap.label, error)
            finally:
                self._waiting_bytes -= kept.size
                self._done += 1

    async def _inspect(self, kept: _Kept) -> Inspected:
        swap, options = kept.swap, kept.options
        needs_source = options.thumbnails or options.quality_check is not None
        source, reference = await asyncio.gather(
            self._look(swap.source_img, swap.source_key, options) if needs_source else _no_look(),
            self._look(swap.reference_img, swap.reference_key, options),
        )
        return await self._limits.run(partial(_inspect, kept, source, reference))

    async def _look(self, uri: str, key: str | None, options: StorageOptions) -> InputLook:
        return await self._looks.look(uri, identity_of(uri, key), options)


async def _no_look() -> InputLook:
    return InputLook()


def _inspect(kept: _Kept, source: InputLook, reference: InputLook) -> Inspected:
    """Do everything that blocks, in one thread: decode, compare, store the thumbnail."""
    options, picture = kept.options, kept.picture
    data = read_picture(picture.uri, options.conn_id) if kept.content is None else kept.content
    appearance, thumbnail = _looked_at(data)
    verdict = None
    if options.quality:
        verdict = judge(appearance, reference.appearance) if appearance else Verdict(Quality.UNCHECKED)
    if options.quality_check is not None:
        verdict = _checked(
            verdict or Verdict(Quality.UNCHECKED), options.quality_check, data, source, reference
        )
    return Inspected(
        kept.swap.swap_id,
        kept.img_uuid,
        picture.sha256,
        quality=verdict.quality.value if verdict else None,
        quality_score=verdict.score if verdict else None,
        quality_figures=json.dumps(verdict.figures) if verdict else None,
        thumbnail_uri=_kept_thumbnail(thumbnail, options, picture.name) if thumbnail else None,
        source_thumbnail_uri=source.thumbnail_uri,
        reference_thumbnail_uri=reference.thumbnail_uri,
    )


def _looked_at(data: bytes) -> tuple[Appearance | None, bytes | None]:
    """Return the appearance and the thumbnail of a result, ``None`` for one that cannot be decoded here."""
    try:
        with PROCESSORS:
            return look_at(data)
    except Exception as error:  # noqa: BLE001  it was verified as far as it can be, and is kept
        log.info("A kept picture cannot be checked: %s", error)
        return None, None


def _checked(
    verdict: Verdict, check: QualityCheck, data: bytes, source: InputLook, reference: InputLook
) -> Verdict:
    with tempfile.NamedTemporaryFile(prefix="goenhance-result-") as file:
        file.write(data)
        file.flush()
        return with_findings(verdict, check, source.file, reference.file, Path(file.name))


def _kept_thumbnail(thumbnail: bytes, options: StorageOptions, picture: str) -> str | None:
    """Store the thumbnail of a result, and return its URI."""
    if not options.thumbnails:
        return None
    try:
        name = thumbnail_name_for(picture)
        return keep_thumbnail(thumbnail, options.storage, name, conn_id=options.conn_id)
    except Exception as error:  # noqa: BLE001  the quality is worth recording without it
        log.info("A thumbnail could not be stored: %s", error)
        return None


@asynccontextmanager
async def open_inspector(
    account: Account, *, with_files: bool, record: Callable[[Inspected], None]
) -> AsyncIterator[Inspector]:
    """
    Open what looks at kept pictures, in threads of its own. Leaving the context cancels what is left.

    :param account: its proxy and TLS settings apply to the inputs too
    :param with_files: keep copies of the inputs for a check of the team's own
    :param record: has what was found recorded; returns at once
    """
    from ..pictures.session import open_session

    threads = ThreadPoolExecutor(LOOKS_AT_ONCE, "goenhance-looks")
    limits = CollectLimits(LOOKS_AT_ONCE, threads)
    session = open_session(
        trust_env=account.trust_env,
        proxy=account.request_options.get("proxy"),
        tls=account.request_options.get("ssl", True),
    )
    with contextlib.ExitStack() as stack:
        # Without waiting: a thread that hangs must not keep the task from ending.
        stack.callback(threads.shutdown, wait=False, cancel_futures=True)
        folder = stack.enter_context(_folder()) if with_files else None
        async with session:
            inputs = InputPictures(
                session,
                memory=ByteBudget(INPUT_BYTES),
                patience=PATIENCE_SECONDS,
                first_silences=FIRST_SILENCES,
            )
            inspector = Inspector(InputLooks(inputs, limits.run, folder), limits, record)
            try:
                yield inspector
            finally:
                inspector.cancel()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="goenhance-inputs-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
