# SPDX-License-Identifier: Apache-2.0
"""
The stores of private pictures: which class reads which kind of address, and the package that it needs.

Another store is a class like those in :mod:`.signers_s3`, and a line in :data:`_STORES`.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from ..exceptions import InputStoreError
from ..settings import InputSettings, input_settings

if TYPE_CHECKING:
    from ..inputs.prepare import InputPreparer
    from ..inputs.shrink import Shrink
    from ..inputs.stores import PictureStore
    from ..inputs.versions import InputVersions
    from ..picture_address import Kind, PictureAddress

#: Threads that wait for stores while the rows of a task are submitted.
THREADS = 32


class _Store(NamedTuple):
    """The class for a kind of address, and the extra of this package that it needs."""

    module: str
    name: str
    extra: str


_STORES: dict[Kind, _Store] = {
    "s3": _Store("signers_s3", "S3Pictures", "s3"),
    "gs": _Store("signers_gcs", "GcsPictures", "gcs"),
    "azure": _Store("signers_azure", "AzurePictures", "azure"),
}


class InputStores:
    """
    Opens the stores of addresses, each connection once.

    :param settings: the configuration of the inputs
    """

    def __init__(self, settings: InputSettings) -> None:
        self._settings = settings
        self._open: dict[tuple[Kind, str | None], PictureStore] = {}
        self._lock = threading.Lock()

    def open(self, address: PictureAddress) -> PictureStore:
        """
        Return the store of an address.

        :raises InputStoreError: when it cannot be used; names the extra if a package is missing
        """
        which = (address.kind, address.conn_id)
        with self._lock:
            if which not in self._open:
                self._open[which] = self._make(address)
            return self._open[which]

    def _make(self, address: PictureAddress) -> PictureStore:
        if address.kind == "local":
            from ..inputs.local_files import LocalFiles

            return LocalFiles(self._settings.folders)
        store = _STORES[address.kind]
        module = importlib.import_module(f".{store.module}", __package__)
        make: Callable[[str | None], PictureStore] = getattr(module, store.name)
        try:
            return make(address.conn_id)
        except ImportError as error:
            raise InputStoreError(
                f"{address} cannot be read: {error}. Nothing was sent. Install the extra: "
                f"pip install 'airflow-provider-goenhance[{store.extra}]'."
            ) from None


def open_versions() -> InputVersions:
    """Return what looks up the private pictures of a manifest."""
    from ..inputs.versions import InputVersions

    return InputVersions(InputStores(input_settings()).open)


def open_preparer(
    *,
    staging: str | None,
    scope: str,
    job_seconds: float,
    shrink: Shrink = "source",
    looks_at_links: bool = False,
) -> InputPreparer:
    """
    Return what prepares the pictures of pairs before they are submitted.

    :param staging: where pictures are staged, ``None`` for ``[goenhance] staging``
    :param scope: names the task
    :param job_seconds: how long a job may take: links must be valid for as long
    :param shrink: which pictures are made smaller if they are too large. None is changed without a staging storage
    :param looks_at_links: whether each public picture is looked at too: no plan has checked them
    """
    from ..inputs.prepare import InputPreparer
    from ..inputs.rework import FitRework
    from ..inputs.sign import LinkSigner
    from ..inputs.staging import Staging

    settings = input_settings()
    stores = InputStores(settings)
    return InputPreparer(
        stores.open,
        LinkSigner(settings.link_seconds, job_seconds),
        Staging(
            staging or settings.staging,
            # The address belongs to the storage of the configuration.
            settings.staging_url if staging in {None, settings.staging} else "",
            stores.open,
            "" if settings.keep_staged else scope,
        ),
        FitRework(shrink, follows_links="all" if looks_at_links else "noted")
        if staging or settings.staging
        else None,
        ThreadPoolExecutor(THREADS, "goenhance-inputs"),
    )
