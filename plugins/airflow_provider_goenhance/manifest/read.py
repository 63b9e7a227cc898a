# SPDX-License-Identifier: Apache-2.0
"""Read a manifest of any supported format from any supported storage, and check its rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..exceptions import ManifestError, ManifestUnavailableError
from ..picture_address import read_address
from .columns import ANY_NAMES, ColumnNames, Wanted, check_column_names
from .formats import unknown_format
from .matrix import combine
from .model import Manifest, RejectedRow, Rows
from .read_csv import read_csv
from .read_excel import read_excel
from .read_json import read_json
from .read_parquet import read_parquet
from .source import Source, find_source
from .tables import PAIRS_SUFFIX, read_pairs, read_rows
from .tables import SUFFIX as ROWS_SUFFIX
from .validate import Checked, PairIds, RowChecker

log = logging.getLogger(__name__)

Reader = Callable[[Source, Wanted], Generator[Rows]]
#: The reader of each file name extension. It yields the rows in order, and raises ManifestError for an unusable file.
READERS: dict[str, Reader] = {
    ".csv": read_csv,
    ".json": read_json,
    ".jsonl": read_json,
    ".ndjson": read_json,
    ".parquet": read_parquet,
    ".tab": read_csv,
    ".tsv": read_csv,
    ".txt": read_csv,
    ".xlsm": read_excel,
    ".xlsx": read_excel,
}
#: The readers of our own temporary files.
_SPOOLED: dict[str, Reader] = {ROWS_SUFFIX: read_rows, PAIRS_SUFFIX: read_pairs}
#: Rejected rows that an error about a whole file names.
NAMED_ROWS = 50


@dataclass(frozen=True, slots=True)
class Options:
    """
    How a manifest is read.

    :param limit: take at most this many pairs and read no further; rejected rows met on the way are reported and
        do not count. ``None`` reads everything
    :param require_consent: reject rows without ``consent_ref``
    :param columns: the names that columns have in the file, e.g. ``{"source_img": "Portrait"}``
    :param strict: refuse the manifest if any row of it would be rejected
    :param matrix: every face with every target instead of row by row
    """

    limit: int | None = None
    require_consent: bool = False
    columns: ColumnNames | None = None
    strict: bool = False
    matrix: bool = False

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for options that cannot be meant."""
        if self.limit is not None and self.limit < 1:
            raise ValueError(
                f"limit must be at least 1, or None to read the whole manifest; got {self.limit}."
            )
        check_column_names(self.columns)


class ManifestStream:
    """
    A manifest that is read and checked chunk by chunk, in bounded memory.

    Iterating reads the file; each iteration starts from the beginning. With ``strict`` the whole file is checked
    before the first chunk is yielded.

    :param source: the file
    :param options: how it is read
    :param targets: the file with the targets of a matrix, if they are in another one
    :param ids: the pair_ids of the manifests that the run has read before
    """

    def __init__(
        self,
        source: Source,
        options: Options,
        *,
        targets: Source | None = None,
        ids: PairIds | None = None,
    ) -> None:
        self._source = source
        self._options = options
        self._targets = targets
        self._ids = ids
        #: Pairs that the last iteration has yielded.
        self.accepted = 0
        #: Where it was read from, without password and signed query.
        self.location = source.location if targets is None else f"{source.location} x {targets.location}"
        #: Hex digest of the bytes; of two files, that of both digests.
        self.sha256 = source.sha256() if targets is None else _digest_of_both(source, targets)

    def __iter__(self) -> Iterator[Checked]:
        """
        Yield the rows, checked.

        :raises ManifestError: if the file as a whole cannot be used; it names the rejected rows before that, too
        :raises ManifestUnavailableError: if the file cannot be read at the moment
        """
        if self._options.strict:
            self._refuse_rejected()
        yield from self._checked(self._ids)

    def collect(self) -> Manifest:
        """Return the whole manifest, in strict mode too: :func:`refuse_rejected` is for afterwards."""
        manifest = Manifest(self.location, [], [], self.sha256)
        for checked in self._checked(self._ids):
            manifest.pairs.extend(checked.pairs)
            manifest.rejected.extend(checked.rejected)
        return manifest

    def _refuse_rejected(self) -> None:
        named: list[RejectedRow] = []
        count = 0
        for checked in self._checked(self._ids.copy() if self._ids else None):
            named.extend(checked.rejected[: NAMED_ROWS - len(named)])
            count += len(checked.rejected)
        if count:
            raise refusal(self.location, named, count)

    def _checked(self, ids: PairIds | None) -> Iterator[Checked]:
        ids = PairIds() if ids is None else ids
        ids.begin(self.location)
        checker = RowChecker(
            self._options.limit,
            require_consent=self._options.require_consent,
            ids=ids,
            folder=_folder_of(self._source.location),
        )
        states = [(file, file.state()) for file in (self._source, self._targets) if file and file.state]
        named: list[RejectedRow] = []
        count = self.accepted = 0
        try:
            with closing(self._chunks(checker)) as chunks:
                for rows in chunks:
                    checker.add(rows)
                    checked = checker.take()
                    named.extend(checked.rejected[: NAMED_ROWS - len(named)])
                    self.accepted += len(checked.pairs)
                    count += len(checked.pairs) + len(checked.rejected)
                    yield checked
                    if checker.full and not rows.damaged:
                        break
        except ManifestUnavailableError:
            raise
        except ManifestError as error:
            raise ManifestError(_with_rows(str(error), named)) from None
        for file, state in states:
            if file.state and file.state() != state:
                raise ManifestUnavailableError(
                    f"manifest {file.location} changed while it was read. A retry reads it again."
                )
        if not count:
            raise ManifestError(
                f"manifest {self.location} has {_no_rows(self._source)}: it needs at least one pair"
            )

    def _chunks(self, checker: RowChecker) -> Generator[Rows]:
        if self._options.matrix:
            yield from combine(
                self._source, self._targets, self._options.columns, self._options.limit, read_file, checker
            )
        else:
            yield from read_file(self._source, Wanted(self._options.columns))


def read_manifest(
    location: str,
    *,
    conn_id: str | None = None,
    limit: int | None = None,
    require_consent: bool = False,
    columns: ColumnNames | None = None,
    strict: bool = False,
    mode: str = "pairs",
    reference_manifest: str | None = None,
) -> Manifest:
    """
    Read a manifest and check each of its rows.

    ``row_number`` is the row as a spreadsheet counts it: the header is row 1, the first data row is row 2, blank
    rows are counted and left out. It is the number of the record plus one, so a quoted value with line breaks in
    it counts as one row, not several. In a format without a header row, the first row is row 1.

    :param location: local path or URI (``file://``, ``http(s)://``, or what Airflow's object storage knows, such as
        ``s3://bucket/key.csv``) of a file with the columns ``source_img`` and ``reference_img`` and, optionally,
        ``pair_id``, ``consent_ref``, ``source_key`` and ``reference_key``; other columns travel as labels
    :param conn_id: Airflow connection for the storage, where it needs one
    :param mode: ``pairs``, or ``matrix`` for every source image with every reference image
    :param reference_manifest: location of the reference images of a matrix, if they are in a file of their own
    :raises ManifestError: if the file as a whole cannot be used; bad rows are reported in the result instead
    :raises ManifestUnavailableError: if it cannot be read at the moment, and a later try may succeed
    :raises ValueError: if an option cannot be meant

    The other parameters are those of :class:`Options`.
    """
    if mode not in {"pairs", "matrix"} or (reference_manifest and mode != "matrix"):
        raise ValueError(
            f"mode must be 'pairs' or 'matrix', and reference_manifest needs 'matrix'; got mode={mode!r}."
        )
    options = Options(limit, require_consent, columns, strict, mode == "matrix")
    manifest = open_manifest(
        location, conn_id=conn_id, options=options, reference_manifest=reference_manifest
    ).collect()
    if strict:
        refuse_rejected(manifest)
    return manifest


def refuse_rejected(manifest: Manifest) -> None:
    """Raise :class:`ManifestError` if a row is rejected, as strict mode does."""
    if manifest.rejected:
        raise refusal(manifest.location, manifest.rejected[:NAMED_ROWS], len(manifest.rejected))


def open_manifest(
    location: str,
    *,
    conn_id: str | None = None,
    options: Options | None = None,
    reference_manifest: str | None = None,
    ids: PairIds | None = None,
) -> ManifestStream:
    """
    Find a manifest, and return it to be read chunk by chunk; the parameters are those of :func:`read_manifest`.

    :param ids: the pair_ids of the manifests that the run has read before
    """
    if not location.strip():
        raise ManifestError("manifest must be a path or URI; it is empty.")
    source = _find(location, conn_id)
    targets = _find(reference_manifest, conn_id) if reference_manifest else None
    return ManifestStream(source, options or Options(), targets=targets, ids=ids)


def read_file(source: Source, wanted: Wanted = ANY_NAMES) -> Generator[Rows]:
    """Read the rows of a file, whatever its format."""
    reader = _SPOOLED.get(source.suffix) or READERS[source.suffix]
    yield from reader(source, wanted)


def _find(location: str, conn_id: str | None) -> Source:
    source = find_source(location.strip(), conn_id)
    if source.suffix not in READERS:
        raise ManifestError(f"manifest {source.location} {unknown_format(source.suffix, READERS)}")
    return source


def refusal(location: str, named: list[RejectedRow], count: int) -> ManifestError:
    """
    Return the error of a manifest that strict mode refuses.

    :param named: the first rejected rows
    :param count: how many are rejected
    """
    what = "1 row" if count == 1 else f"{count} rows"
    return ManifestError(
        f"manifest {location} is refused, because {what} of it cannot be swapped and strict=True: "
        f"{_listed(named, count)}. Nothing was sent or paid"
    )


def _with_rows(message: str, named: list[RejectedRow]) -> str:
    return f"{message}. Also: {_listed(named, len(named))}" if named else message


def _listed(named: list[RejectedRow], count: int) -> str:
    rows = "; ".join(f"row {row.row_number}: {row.reason}" for row in named[:NAMED_ROWS])
    return f"{rows}; and {count - len(named)} more" if count > len(named) else rows


def _folder_of(location: str) -> str | None:
    """Return the folder of a local manifest, ``None`` for one that is elsewhere."""
    address = read_address(location)
    path = Path(address.key if address is not None and address.kind == "local" else location).expanduser()
    return str(path.absolute().parent) if "://" not in str(path) and path.is_file() else None


def _no_rows(source: Source) -> str:
    if READERS.get(source.suffix) in {read_csv, read_excel}:
        return "a header row and no rows below it"
    return "no rows"


def _digest_of_both(source: Source, targets: Source) -> str:
    import hashlib

    return hashlib.sha256(f"{source.sha256()}{targets.sha256()}".encode()).hexdigest()
