# SPDX-License-Identifier: Apache-2.0
"""
Who may see and do what: Airflow's session, and its auth manager's answer for the Dag.

Every route names its Dag as ``dag_id`` in the query, which is what Airflow's own check reads, and its queries hold that
``dag_id``: the Dag that was checked is the Dag whose rows are read. A route that changes something depends on
:func:`same_origin` besides, because the session is a cookie.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.providers.common.compat.sdk import conf
from fastapi import Depends, HTTPException, Request

from ..compatibility import dag_details

#: See the rows and pictures of a Dag.
may_see = Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE))
#: Clear tasks of a Dag: what Airflow asks for its own ``clearTaskInstances``.
may_clear = Depends(requires_access_dag("PUT", DagAccessEntity.TASK_INSTANCE))
#: Start a run of a Dag.
may_trigger = Depends(requires_access_dag("POST", DagAccessEntity.RUN))
#: Settle rows of a run, which may decide what is paid for.
may_edit = Depends(requires_access_dag("PUT", DagAccessEntity.RUN))
#: Approve and reject pictures: what Airflow asks of those who answer a task that waits for a person.
may_review = Depends(requires_access_dag("PUT", DagAccessEntity.HITL_DETAIL))


@dataclass(frozen=True, slots=True)
class Rights:
    """
    What a user may do with a Dag; its page offers nothing else.

    :param clear: clear its tasks
    :param trigger: start a run of it
    :param edit: settle rows of its runs
    :param review: approve and reject its pictures
    """

    clear: bool = False
    trigger: bool = False
    edit: bool = False
    review: bool = False

    @property
    def any(self) -> bool:
        """Return whether the user may do more than look."""
        return self.clear or self.trigger or self.edit or self.review


class Viewer:
    """
    The user of a request.

    :param user: as the auth manager knows them
    """

    def __init__(self, user: Any) -> None:
        self._user = user

    @property
    def name(self) -> str:
        """The name that Airflow's own records show, for ``reviewed_by`` and ``resolved_by``."""
        return str(self._user.get_name())

    def may(self, method: str, entity: DagAccessEntity, dag_id: str) -> bool:
        """Return whether the user may do something with a Dag."""
        return bool(
            get_auth_manager().is_authorized_dag(
                method=method,  # type: ignore[arg-type]
                access_entity=entity,
                details=dag_details(dag_id),
                user=self._user,
            )
        )

    def readable(self, dag_ids: Iterable[str]) -> list[str]:
        """Return those Dags whose rows the user may see, for the condition of a query."""
        return [dag_id for dag_id in dag_ids if self.may("GET", DagAccessEntity.TASK_INSTANCE, dag_id)]

    def rights(self, dag_id: str) -> Rights:
        """Return what the user may do with a Dag."""
        return Rights(
            clear=self.may("PUT", DagAccessEntity.TASK_INSTANCE, dag_id),
            trigger=self.may("POST", DagAccessEntity.RUN, dag_id),
            edit=self.may("PUT", DagAccessEntity.RUN, dag_id),
            review=self.may("PUT", DagAccessEntity.HITL_DETAIL, dag_id),
        )


def _viewer(user: GetUserDep) -> Viewer:
    return Viewer(user)


#: The user of a request, as the argument of a route.
ViewerDep = Annotated[Viewer, Depends(_viewer)]


def _same_origin(request: Request) -> None:
    """
    Refuse a write that another site's page may have sent along with the user's cookie.

    :raises HTTPException: 403 if the request does not come from a page of this server
    """
    if request.headers.get("authorization", "").lower().startswith("bearer "):
        # Airflow takes the token and ignores the cookie; no other site's page can know it.
        return
    site = request.headers.get("sec-fetch-site")
    if site == "same-origin":
        return
    if site is None:
        origin = urlsplit(request.headers.get("origin", "")).netloc
        if origin and origin in own_hosts(request):
            return
    raise HTTPException(
        403, "This request was not sent by a page of this Airflow. Open the page again and repeat it."
    )


#: Refuse a write that was not sent by a page of this server.
same_origin = Depends(_same_origin)


def own_hosts(request: Request) -> set[str]:
    """Return the hosts, with their ports, under which browsers know this server."""
    base = conf.get("api", "base_url", fallback="") or ""
    return {host for host in (request.headers.get("host", ""), urlsplit(base).netloc) if host}
