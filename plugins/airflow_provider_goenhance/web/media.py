# SPDX-License-Identifier: Apache-2.0
"""Pictures, thumbnails and inputs of a row, under the same permission as the row."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Query, Request, Response

from ..results.swap import Swap
from .permissions import may_see, own_hosts
from .pictures_of import (
    MEDIA_TYPES,
    NoPictureError,
    ending_of,
    input_picture,
    media_type_of,
    result,
    thumbnail,
)
from .tables import row_of

# Plain `def`, because they read a database and a storage: FastAPI runs them in threads.
router = APIRouter(dependencies=[may_see])

SwapId = Annotated[str, Query(max_length=64)]
#: A browser asks again each time, and the permission is checked each time; most answers are that nothing has changed.
_ASK_AGAIN = "private, no-cache"
#: Thumbnails are small and many: a browser may show them for a while without asking.
_KEEP = "private, max-age=3600"


@router.get("/picture")
def picture(request: Request, dag_id: str, swap_id: SwapId) -> Response:
    """Return a stored picture of a Dag that the user may see."""
    swap = _swap(dag_id, swap_id)
    try:
        data = result(swap)
    except NoPictureError as error:
        raise HTTPException(404, str(error)) from None
    ending = ending_of(swap.result_uri or "")
    if ending in MEDIA_TYPES:
        return _answer(request, data, MEDIA_TYPES[ending], _ASK_AGAIN)
    name = quote(f"{swap.swap_id}{ending}", safe="")
    return Response(
        data,
        media_type="application/octet-stream",
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
    )


@router.get("/thumbnail")
def small(
    request: Request, dag_id: str, swap_id: SwapId, of: Literal["source", "reference", "result"] = "result"
) -> Response:
    """Return the thumbnail of a picture of a row."""
    swap = _swap(dag_id, swap_id)
    try:
        data = thumbnail(swap, of, own_hosts(request))
    except NoPictureError as error:
        raise HTTPException(404, str(error)) from None
    kind = media_type_of(data)
    if kind is None:
        raise HTTPException(404, "The thumbnail is not a picture.")
    return _answer(request, data, kind, _KEEP)


@router.get("/input")
def whole_input(
    request: Request, dag_id: str, swap_id: SwapId, of: Literal["source", "reference"]
) -> Response:
    """Return an input of a row, fetched by this server."""
    swap = _swap(dag_id, swap_id)
    try:
        data = input_picture(swap, of, own_hosts(request))
    except NoPictureError as error:
        raise HTTPException(404, str(error)) from None
    kind = media_type_of(data)
    if kind is None:
        raise HTTPException(404, "The picture is of a format that browsers do not show.")
    return _answer(request, data, kind, _ASK_AGAIN)


def _swap(dag_id: str, swap_id: str) -> Swap:
    """Return a row of a Dag. The permission was checked for that Dag: rows of another one are as good as not there."""
    found = row_of(dag_id, swap_id)
    if found is None:
        raise HTTPException(404, "The picture does not exist.")
    return found


def _answer(request: Request, data: bytes, media_type: str, caching: str) -> Response:
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": caching, "Vary": "Cookie, Authorization"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=media_type, headers=headers)
