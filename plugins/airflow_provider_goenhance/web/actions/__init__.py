# SPDX-License-Identifier: Apache-2.0
"""
What a user may do on the page, a router for each concern.

A route that changes something is a POST and depends on ``same_origin`` and on the permission of its action, from
:mod:`..permissions`. It names its Dag as ``dag_id`` in the query, and its statements hold that ``dag_id``.
"""

from __future__ import annotations

from fastapi import APIRouter

from . import again, downloads, review, settle

#: The routers that the application includes.
ROUTERS: tuple[APIRouter, ...] = (review.router, settle.router, again.router, downloads.router)
