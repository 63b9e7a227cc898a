# SPDX-License-Identifier: Apache-2.0
"""The switches of a running sandbox: faults to inject, and each answer the vendor leaves open."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

MEGABYTE = 1024 * 1024
Seconds = Annotated[float, Field(ge=0, le=86_400)]


class SwitchError(ValueError):
    """A switch that does not exist or cannot take the value; the message names it."""


class Rule(BaseModel):
    """When a fault strikes: every time, for the next `count` chances, or by chance (`share`)."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    count: int | None = Field(
        default=None, ge=0, le=10**9, description="Strike this often, then never; null: no end."
    )
    share: float = Field(
        default=1.0, ge=0, le=1, description="Chance to strike, drawn from a generator with `seed`."
    )
    fired: int = Field(default=0, ge=0, le=10**9, description="How often it struck so far.")

    def strikes(self, draw: float) -> bool:
        """Decide one chance and count it if it strikes."""
        if (self.count is not None and self.fired >= self.count) or draw >= self.share:
            return False
        self.fired += 1
        return True


class Fault(Rule):
    """What goes wrong with one request; fields that a kind does not name are ignored by it."""

    kind: str
    when: Literal["before", "after"] = Field(
        default="before",
        description="Before or after the request was carried out (a submit: accepted and recorded).",
    )
    seconds: Seconds | None = Field(
        default=None,
        description="slow: the delay, 0.05 unless given. hang: how long; null: until the client leaves.",
    )
    status: Literal[200] | Annotated[int, Field(ge=400, le=599)] | None = Field(
        default=None, description="http_error: 500 unless given. html: 200 unless given."
    )
    retry_after: int | None = Field(
        default=None,
        ge=0,
        le=86_400,
        description="rate_limited: Retry-After in seconds; null: no such header.",
    )
    code: int = Field(
        default=1, description="business_error: the `code` inside HTTP 200.", ge=-(10**6), le=10**6
    )
    msg: str | None = Field(default=None, max_length=500, description="`msg` of http_error, business_error.")
    reset: bool = Field(default=False, description="disconnect: TCP reset instead of an orderly close.")
    bytes: int = Field(default=64 * MEGABYTE, ge=0, le=1024 * MEGABYTE, description="zeros: how many.")


ApiKind = Literal[
    "slow", "disconnect", "hang", "http_error", "rate_limited", "html", "bad_json", "business_error"
]


SubmitKind = ApiKind | Literal["missing_img_uuid", "no_credits"]
FileKind = Literal[
    "slow",
    "disconnect",
    "hang",
    "http_error",
    "rate_limited",
    "html",
    "expired_link",
    "zeros",
    "redirect_loop",
    "truncated",
]
JobKind = Literal["failed", "stuck"]


class ApiFault(Fault):
    """A fault of job detail or tokens."""

    kind: ApiKind


class SubmitFault(Fault):
    """A fault of the submit call."""

    kind: SubmitKind


class FileFault(Fault):
    """A fault of a download: a result, or a sample picture."""

    kind: FileKind


class JobFault(Rule):
    """What becomes of an accepted job, settled when it is accepted."""

    kind: JobKind = Field(description="stuck: stays in progress for ever.")
    error: str = Field(
        default="no_face: no face was found in source_img", max_length=500, description="failed: reason."
    )


def _as_list(value: Any) -> Any:
    if value is None:
        return []
    value = value if isinstance(value, list) else [value]
    return [{"kind": entry} if isinstance(entry, str) else entry for entry in value]


# One rule, a bare kind or null are as good as a list of rules.
SubmitFaults = Annotated[
    list[SubmitFault],
    BeforeValidator(
        _as_list, json_schema_input_type=list[SubmitFault | SubmitKind] | SubmitFault | SubmitKind | None
    ),
]
ApiFaults = Annotated[
    list[ApiFault],
    BeforeValidator(_as_list, json_schema_input_type=list[ApiFault | ApiKind] | ApiFault | ApiKind | None),
]
FileFaults = Annotated[
    list[FileFault],
    BeforeValidator(
        _as_list, json_schema_input_type=list[FileFault | FileKind] | FileFault | FileKind | None
    ),
]
JobFaults = Annotated[
    list[JobFault],
    BeforeValidator(_as_list, json_schema_input_type=list[JobFault | JobKind] | JobFault | JobKind | None),
]


class Switches(BaseModel):
    """All switches. PUT merges: a key that is not sent stays as it is."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    seed: int = Field(
        default=0, ge=0, le=2**53, description="Seed of every `share`; sending it restarts the draws."
    )
    latency: Seconds = Field(
        default=0.0, description="Seconds added to each call of the three GoEnhance endpoints."
    )
    submit: SubmitFaults = Field(default=[], description="Faults of the submit call.")
    detail: ApiFaults = Field(default=[], description="Faults of job detail.")
    tokens: ApiFaults = Field(default=[], description="Faults of the tokens call.")
    result: FileFaults = Field(default=[], description="Faults of result downloads.")
    image: FileFaults = Field(default=[], description="Faults of GET /images/...")
    job: JobFaults = Field(default=[], description="What becomes of accepted jobs, if not success.")

    job_seconds: Seconds = Field(default=2.0, description="Least time from start to end of a job.")
    job_seconds_max: Seconds | None = Field(
        default=None, description="If set, a job's time is drawn between job_seconds and this."
    )
    queue_limit: int | None = Field(
        default=None, ge=1, le=10**6, description="Jobs in progress at once; the others wait. null: no limit."
    )
    waiting_word: str = Field(
        default="WAITING", min_length=1, max_length=50, description="Status over queue_limit."
    )
    show_queue_limit: bool = Field(default=False, description="Answer `queueLimit` in the tokens call.")
    success_word: str = Field(
        default="success",
        min_length=1,
        max_length=50,
        description="Status of a finished job: success, completed, ...",
    )
    status_case: Literal["lower", "upper"] = Field(
        default="lower", description="upper: SUCCESS, PENDING, ..."
    )
    unknown_status: str | None = Field(
        default=None,
        min_length=1,
        max_length=50,
        description="Shown in place of `processing`, e.g. `reviewing`.",
    )
    failed_body: Literal["error", "bare", "msg", "code"] = Field(
        default="error",
        description="Reason of a failed job: in data.error, nowhere, in msg, or in msg with a non-zero code.",
    )
    unknown_job: Literal["code_at_200", "http_404", "http_500", "null_data", "pending", "failed"] = Field(
        default="code_at_200", description="Job detail for a UUID that was never given out."
    )
    bad_request: Literal["http_400", "code_at_200"] = Field(
        default="http_400", description="A refused submit body."
    )
    credits: int = Field(default=0, ge=0, le=10**15, description="The balance.")
    cost: int = Field(default=1, ge=0, le=10**6, description="Credits a submit costs.")
    show_cost: bool = Field(default=False, description="Answer `cost` beside img_uuid.")
    out_of_credits: Literal["http_402", "code_at_200"] = "http_402"
    refund_failed: bool = Field(default=False, description="Give the credits of a failed job back.")
    show_img_url: bool = Field(default=False, description="Answer `img_url` in job detail too.")
    link_seconds: int = Field(default=43_200, ge=0, le=10**8, description="Life of a result link; 12 h.")
    link_signed: Literal["at_completion", "at_each_call"] = "at_completion"
    image_limit_bytes: int = Field(
        default=5 * MEGABYTE, ge=1, le=100 * MEGABYTE, description='The documented "Max 5M".'
    )
    fetch_timeout: Annotated[float, Field(gt=0, le=600, description="Seconds to fetch one picture.")] = 10.0


def merge(switches: Switches, changes: Any) -> Switches:
    """
    Return new switches with some of them changed.

    :param changes: an object of switch names and values.
    :raises SwitchError: for a name that does not exist or a value that it cannot take.
    """
    if not isinstance(changes, dict):
        raise SwitchError("the switches must be a JSON object")
    unknown = sorted(set(changes) - set(Switches.model_fields))
    if unknown:
        known = ", ".join(Switches.model_fields)
        raise SwitchError(f"unknown switch {', '.join(map(repr, unknown))}; there are: {known}")
    # The rules as objects, not as copies: their counts of strikes live on.
    kept = {name: getattr(switches, name) for name in Switches.model_fields}
    try:
        return Switches.model_validate({**kept, **_whole_numbers(changes)})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SwitchError(f"switch {where}: {first['msg']}") from None


def _whole_numbers(value: Any) -> Any:
    """Turn 3.0 into 3 everywhere: JSON knows one kind of number, the strict models two."""
    if isinstance(value, dict):
        return {name: _whole_numbers(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
