# SPDX-License-Identifier: Apache-2.0
"""The trigger that watches a folder for manifests, for an ``AssetWatcher``."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Hashable
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from ..compatibility import asset_state_store, read_asset_state, write_asset_state
from ..redaction import excerpt

if TYPE_CHECKING:
    from ..manifest.arrivals import Arrivals, Listed

log = logging.getLogger(__name__)

EXISTING = ("skip", "fire")
#: Tokens of files in one value of the asset state store, which stays below 64 KB.
TOKENS_PER_KEY = 4000
#: Seconds between an event and remembering it: an event that was lost with the triggerer is repeated.
REMEMBER_AFTER = 5.0


class GoEnhanceManifestTrigger(BaseEventTrigger):
    """
    Fire once for each manifest that is new or changed in a folder or below a prefix.

    For an ``AssetWatcher``: a Dag that is scheduled on its asset runs when a manifest lands, and
    :class:`..operators.plan.GoEnhancePlanOperator` without a ``manifest`` reads the one that landed. Watchers of one
    folder share one listing on Airflow 3.3.

    What has fired is remembered in the asset state store of Airflow 3.3. Without it, nothing is remembered when the
    triggerer restarts: with ``existing="skip"`` manifests that landed meanwhile do not fire, with ``"fire"`` all fire
    again. Firing again pays for nothing twice, but starts a run.

    :param path: local folder, or URL such as ``s3://bucket/manifests``; folders in it are watched as well
    :param conn_id: Airflow connection of the storage
    :param pattern: pattern of the file's name, such as ``*.csv``; default: every supported ending
    :param poke_interval: seconds between two listings (default 60)
    :param existing: what happens to manifests that are there when the watcher starts for the first time: ``skip``
        (default) or ``fire``
    """

    def __init__(
        self,
        path: str,
        conn_id: str | None = None,
        pattern: str | None = None,
        poke_interval: float = 60.0,
        existing: str = "skip",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if not str(path).strip():
            raise ValueError("path must be the folder to watch; it is empty.")
        if existing not in EXISTING:
            raise ValueError(f"existing must be {' or '.join(map(repr, EXISTING))}; got {existing!r}.")
        if not poke_interval > 0:
            raise ValueError(f"poke_interval must be a positive number of seconds; got {poke_interval!r}.")
        self.path = str(path).strip()
        self.conn_id = conn_id
        self.pattern = pattern
        self.poke_interval = poke_interval
        self.existing = existing
        self._forgetful = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that recreate this trigger."""
        return (
            "airflow_provider_goenhance.triggers.manifest.GoEnhanceManifestTrigger",
            {
                "path": self.path,
                "conn_id": self.conn_id,
                "pattern": self.pattern,
                "poke_interval": self.poke_interval,
                "existing": self.existing,
            },
        )

    def shared_stream_key(self) -> Hashable | None:
        """Return what triggers share one listing by."""
        return "goenhance-manifests", self.path.rstrip("/"), self.conn_id, self.poke_interval

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[list[Listed]]:
        """Yield a listing of the folder every ``poke_interval`` seconds; a listing that fails is left out."""
        from ..manifest.arrivals import list_files

        while True:
            try:
                files = await asyncio.to_thread(list_files, kwargs["path"], kwargs["conn_id"])
            except Exception as error:  # noqa: BLE001  a watcher that ended would miss every manifest from now on
                log.warning(
                    "The manifests in %s cannot be listed; trying again in %g s: %s",
                    kwargs["path"],
                    kwargs["poke_interval"],
                    excerpt(f"{type(error).__name__}: {error}"),
                )
            else:
                yield files
            await asyncio.sleep(kwargs["poke_interval"])

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[list[Listed]]
    ) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each new or changed manifest in the listings."""
        from ..manifest.arrivals import Arrivals, is_wanted
        from ..manifest.read import READERS

        arrivals = Arrivals(await self._remembered(), report_existing=self.existing == "fire")
        async for files in shared_stream:
            wanted = [file for file in files if is_wanted(file.location, self.pattern, READERS)]
            fired = False
            for file in arrivals.update(wanted):
                log.info("The manifest %s has landed.", file.location)
                yield TriggerEvent(self._payload(file))
                fired = True
            if fired:
                await asyncio.sleep(min(REMEMBER_AFTER, self.poke_interval))
            if arrivals.changed:
                await self._remember(arrivals)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch without sharing the listing, as on Airflow below 3.3."""
        async for event in self.filter_shared_stream(self.open_shared_stream(self.serialize()[1])):
            yield event

    def _payload(self, file: Listed) -> dict[str, Any]:
        return {
            "manifest": file.location,
            "conn_id": self._conn_id(),
            "version": file.version,
            "size": file.size,
        }

    def _conn_id(self) -> str | None:
        """Return the connection: the argument, or the one that the path names, as in ``s3://conn@bucket``."""
        authority = self.path.partition("://")[2].partition("/")[0]
        return self.conn_id or authority.rpartition("@")[0] or None

    def _key(self, number: int) -> str:
        watched = f"{self.path.rstrip('/')}\0{self.conn_id}\0{self.pattern}"
        return f"goenhance_manifests:{hashlib.sha256(watched.encode()).hexdigest()[:16]}:{number}"

    async def _remembered(self) -> list[str] | None:
        """Return the tokens of the manifests that have fired; ``None`` if the watcher starts for the first time."""
        while True:
            try:
                return await self._tokens()
            except Exception as error:  # noqa: BLE001  without its memory, the watcher would skip or repeat manifests
                log.warning("What has fired cannot be read; trying again: %s", excerpt(str(error)))
            await asyncio.sleep(self.poke_interval)

    async def _tokens(self) -> list[str] | None:
        tokens: list[str] = []
        number = 0
        while isinstance(part := await self._stored(self._key(number)), str):
            tokens += part.split()
            number += 1
        return tokens if number else None

    async def _stored(self, key: str) -> Any:
        store = self._store()
        if store is None:
            return None
        try:
            return await read_asset_state(store, key)
        except ValueError:
            self._warn("this trigger watches for several assets")
            return None

    async def _remember(self, arrivals: Arrivals) -> None:
        store = self._store()
        if store is None:
            arrivals.changed = False
            return
        tokens = arrivals.tokens()
        parts = [
            tokens[start : start + TOKENS_PER_KEY] for start in range(0, len(tokens), TOKENS_PER_KEY)
        ] or [[]]
        try:
            for number, part in enumerate(parts):
                await write_asset_state(store, self._key(number), " ".join(part))
        except ValueError:
            self._warn("this trigger watches for several assets")
        except Exception as error:  # noqa: BLE001  the next listing tries again
            arrivals.changed = True
            log.warning("What has fired could not be remembered: %s", excerpt(str(error)))

    def _store(self) -> Any:
        store = asset_state_store(self)
        if store is None:
            self._warn("this Airflow has no asset state store, which came with 3.3")
        return store

    def _warn(self, reason: str) -> None:
        if not self._forgetful:
            self._forgetful = True
            log.warning(
                "Which manifests of %s have fired is forgotten when the triggerer restarts: %s.",
                self.path,
                reason,
            )
