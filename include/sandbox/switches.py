# SPDX-License-Identifier: Apache-2.0
"""The switches of a running sandbox: faults to inject, and behaviour that the vendor does not document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

MEGABYTE = 1024 * 1024
Seconds = Annotated[float, Field(ge=0, le=86_400)]
HeaderValue = Annotated[str, Field(max_length=2000, pattern="^[!-~]([ -~]*[!-~])?$")]


class SwitchError(ValueError):
    """A switch does not exist or its value is invalid; the message names it."""


class Rule(BaseModel):
    """When a fault strikes: always, at most `count` times, or with the probability `share`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    count: int | None = Field(
        default=None, ge=0, le=10**9, description="Maximum number of strikes; null: no limit."
    )
    share: float = Field(
        default=1.0, ge=0, le=1, description="Probability of a strike, drawn from a generator with `seed`."
    )
    fired: int = Field(default=0, ge=0, le=10**9, description="Number of strikes so far.")

    def strikes(self, draw: float) -> bool:
        """Return whether the fault strikes, and count the strike."""
        if (self.count is not None and self.fired >= self.count) or draw >= self.share:
            return False
        self.fired += 1
        return True


class Fault(Rule):
    """A fault of one request. Each kind ignores the fields that do not name it."""

    kind: str
    when: Literal["before", "after"] = Field(
        default="before",
        description="Before or after the request is processed (a submit: accepted and recorded).",
    )
    seconds: Seconds | None = Field(
        default=None,
        description="slow: the delay; default 0.05. hang: the duration; null: until the client disconnects.",
    )
    status: Literal[200, 301, 302, 303, 307, 308] | Annotated[int, Field(ge=400, le=599)] | None = Field(
        default=None,
        description="http_error: default 500. business_error, html: default 200. redirect: default 302.",
    )
    location: HeaderValue = Field(default="/elsewhere", description="redirect: where it points.")
    retry_after: Annotated[int, Field(ge=0, le=86_400)] | HeaderValue | None = Field(
        default=None,
        description="rate_limited: Retry-After in seconds, or any text, such as a date; null: no header.",
    )
    code: int = Field(default=1, description="business_error: the `code`.", ge=-(10**6), le=10**6)
    data: dict[str, Any] = Field(
        default={}, max_length=50, description="edited: fields of `data` and their values."
    )
    as_text: bool = Field(default=False, description="edited: send `data` as the text of a JSON object.")
    msg: str | None = Field(default=None, max_length=500, description="`msg` of http_error, business_error.")
    reset: bool = Field(default=False, description="disconnect: TCP reset instead of an orderly shutdown.")
    bytes: int = Field(default=64 * MEGABYTE, ge=0, le=1024 * MEGABYTE, description="zeros: number of bytes.")


# Faults that any endpoint can have.
CommonKind = Literal["slow", "disconnect", "hang", "http_error", "rate_limited", "html"]
# The whole response of the app, in a form that a strict HTTP client may refuse to read.
DeliveredKind = Literal["early_hints", "long_header", "false_encoding", "unfinished_chunks", "short_body"]
ApiKind = Literal[CommonKind, DeliveredKind, "bad_json", "business_error", "edited", "redirect"]
SubmitKind = ApiKind | Literal["missing_img_uuid", "no_credits"]
FileKind = Literal[CommonKind, "expired_link", "zeros", "redirect_loop", "truncated"]
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
    """The outcome of a job, decided when it is accepted."""

    kind: JobKind = Field(description="stuck: never ends.")
    error: str = Field(
        default="no_face: no face was found in source_img", max_length=500, description="failed: the reason."
    )


def _as_list(value: Any) -> Any:
    if value is None:
        return []
    value = value if isinstance(value, list) else [value]
    return [{"kind": entry} if isinstance(entry, str) else entry for entry in value]


def _one_or_many(rule: Any, kind: Any) -> BeforeValidator:
    """Accept a single rule, a bare kind or null in place of a list of rules."""
    many: Any = list
    return BeforeValidator(_as_list, json_schema_input_type=many[rule | kind] | rule | kind | None)


SubmitFaults = Annotated[list[SubmitFault], _one_or_many(SubmitFault, SubmitKind)]
ApiFaults = Annotated[list[ApiFault], _one_or_many(ApiFault, ApiKind)]
FileFaults = Annotated[list[FileFault], _one_or_many(FileFault, FileKind)]
JobFaults = Annotated[list[JobFault], _one_or_many(JobFault, JobKind)]


class Switches(BaseModel):
    """All switches. PUT merges: keys that are not in the body keep their values."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    seed: int = Field(
        default=0, ge=0, le=2**53, description="Seed of every `share`; sending it restarts the generators."
    )
    latency: Seconds = Field(
        default=0.0, description="Seconds added to each call of the three GoEnhance endpoints."
    )
    submit: SubmitFaults = Field(default=[], description="Faults of the submit call.")
    detail: ApiFaults = Field(default=[], description="Faults of job detail.")
    tokens: ApiFaults = Field(default=[], description="Faults of the tokens call.")
    result: FileFaults = Field(default=[], description="Faults of result downloads.")
    image: FileFaults = Field(default=[], description="Faults of GET /images/...")
    job: JobFaults = Field(default=[], description="Outcomes of accepted jobs other than success.")

    img_uuid: Literal["uuid", "number"] = Field(
        default="uuid", description="The `img_uuid` of new jobs; number: digits, sent as a JSON number."
    )
    job_seconds: Seconds = Field(default=2.0, description="Minimum duration of a job.")
    job_seconds_max: Seconds | None = Field(
        default=None, description="If set, durations are drawn between job_seconds and this."
    )
    queue_limit: int | None = Field(
        default=None,
        ge=1,
        le=10**6,
        description="Maximum number of jobs in progress; the others wait. null: no limit.",
    )
    waiting_word: str = Field(
        default="WAITING",
        min_length=1,
        max_length=50,
        description="Status of a job that waits because of queue_limit.",
    )
    show_queue_limit: bool = Field(default=False, description="Include `queueLimit` in the tokens response.")
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
        description="Status shown instead of `processing`, e.g. `reviewing`.",
    )
    failed_body: Literal["error", "bare", "msg", "code"] = Field(
        default="error",
        description="Reason of a failed job: in data.error, nowhere, in msg, or in msg with a non-zero code.",
    )
    unknown_job: Literal[
        "code_at_200", "null_at_200", "http_404", "http_500", "null_data", "pending", "failed"
    ] = Field(default="code_at_200", description="Job detail for an unknown UUID.")
    bad_request: Literal["code_at_200", "http_400", "http_500"] = Field(
        default="code_at_200", description="Response to an invalid submit body."
    )
    credits: int = Field(default=0, ge=0, le=10**15, description="The balance.")
    cost: int = Field(default=1, ge=0, le=10**6, description="Cost of a submit in credits.")
    charged: Literal["at_submit", "at_end"] = Field(
        default="at_submit",
        description="When the credits of a job are taken (the vendor does not document it); at_end: once it succeeded. "
        "Change it only while no job is in progress.",
    )
    show_cost: bool = Field(default=False, description="Include `cost` in the submit response.")
    out_of_credits: Literal["http_402", "code_at_200"] = "http_402"
    refund_failed: bool = Field(default=False, description="Refund the credits of a failed job.")
    show_img_url: bool = Field(default=False, description="Include `img_url` in job detail.")
    link_seconds: int = Field(
        default=43_200, ge=0, le=10**8, description="Lifetime of a result link; default 12 h."
    )
    link_signed: Literal["at_completion", "at_each_call"] = "at_completion"
    image_limit_bytes: int = Field(
        default=5 * MEGABYTE, ge=1, le=100 * MEGABYTE, description='The documented "Max 5M".'
    )
    fetch_timeout: Annotated[float, Field(gt=0, le=600, description="Timeout for downloading a picture.")] = (
        10.0
    )


def merge(switches: Switches, changes: Any) -> Switches:
    """
    Return new switches with some of them changed.

    :param changes: an object of switch names and values.
    :raises SwitchError: a name does not exist or a value is invalid.
    """
    if not isinstance(changes, dict):
        raise SwitchError("the switches must be a JSON object")
    unknown = sorted(set(changes) - set(Switches.model_fields))
    if unknown:
        known = ", ".join(Switches.model_fields)
        raise SwitchError(f"unknown switch {', '.join(map(repr, unknown))}; valid switches: {known}")
    # Pass the rules as objects, not as copies, to keep their counts of strikes.
    kept = {name: getattr(switches, name) for name in Switches.model_fields}
    try:
        return Switches.model_validate({**kept, **_whole_numbers(changes)})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SwitchError(f"switch {where}: {first['msg']}") from None


def _whole_numbers(value: Any) -> Any:
    """Convert 3.0 to 3 everywhere: JSON has one number type, the strict models have two."""
    if isinstance(value, dict):
        return {name: _whole_numbers(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
