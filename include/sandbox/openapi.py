# SPDX-License-Identifier: Apache-2.0
"""OpenAPI documentation of the GoEnhance endpoints, which respond without a model layer."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from .wire import JOB_TYPE, MAX_URL_LENGTH, URL_PATTERN

_EXAMPLE_UUID = "c12b656c-747a-44fd-9c80-add79b0c52d5"
_URL = {"type": "string", "maxLength": MAX_URL_LENGTH, "pattern": URL_PATTERN}
_SECURITY: list[dict[str, list[str]]] = [{"bearerAuth": []}]

SECURITY_SCHEMES = {"bearerAuth": {"type": "http", "scheme": "bearer"}}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


def _answer(description: str, *data_schemas: dict[str, Any], **example: Any) -> dict[str, Any]:
    schema = _object(["code", "msg"], code={"type": "integer"}, msg={"type": "string"})
    if data_schemas:
        schema["properties"]["data"] = {"anyOf": [*data_schemas, {"type": "null"}]}
    content: dict[str, Any] = {"schema": schema}
    if example:
        content["example"] = example
    return {"description": description, "content": {"application/json": content}}


_TOKEN_ERROR = _answer("The token is invalid.", code=401, msg="Token Error")
_SERVER_ERROR = _answer("Only if a switch asks for it.", code=500, msg="")
_RATE_LIMITED = _answer("Only if a switch asks for it.", code=429, msg="Too Many Requests")

SUBMIT: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: _answer(
            "Accepted and recorded; or a non-zero `code` and no job (the vendor does not document this case).",
            _object([], img_uuid={"type": "string"}, cost={"type": "integer"}),
            code=0,
            msg="Success",
            data={"img_uuid": _EXAMPLE_UUID},
        ),
        400: _answer(
            "The body is invalid, only if a switch asks for it.",
            code=400,
            msg="args.source_img: must be a string",
        ),
        401: _TOKEN_ERROR,
        402: _answer(
            "Out of credits (the vendor does not document this case).", code=402, msg="Insufficient credits"
        ),
        429: _RATE_LIMITED,
        500: _SERVER_ERROR,
    },
    "openapi_extra": {
        "security": _SECURITY,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _object(
                        ["args", "type"],
                        args=_object(
                            ["reference_img", "source_img"],
                            reference_img={**_URL, "description": "target picture, max 5 MB"},
                            source_img={**_URL, "description": "picture with the face, max 5 MB"},
                        ),
                        type={"type": "string", "enum": [JOB_TYPE]},
                    )
                }
            },
        },
    },
}

_JOB = _object(
    ["img_uuid", "status", "type", "start_time", "model_id", "json", "job_type"],
    img_uuid={"type": "string"},
    status={"type": "string", "description": "pending, processing, success, failed; others by switch"},
    type={"type": "string"},
    start_time={"type": "string", "format": "date-time"},
    end_time={"type": "string", "format": "date-time"},
    model_id={"type": "string"},
    json={
        "anyOf": [
            {
                "type": "array",
                "items": _object(["type", "value"], type={"type": "string"}, value={"type": "string"}),
            },
            {"type": "null"},
        ]
    },
    job_type={"type": "string"},
    img_url={"type": "string"},
    error={"type": "string", "description": "addition of the sandbox: why the job failed"},
    sandbox={
        "type": "string",
        "description": "addition of the sandbox: in load mode, states that nothing was swapped",
    },
)

DETAIL: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: _answer("The job; for an unknown UUID a non-zero `code`, or, by a switch, null.", _JOB),
        401: _TOKEN_ERROR,
        404: _answer("Unknown UUID, only if a switch asks for it."),
        429: _RATE_LIMITED,
        500: _SERVER_ERROR,
    },
    "openapi_extra": {"security": _SECURITY},
}

TOKENS: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: _answer(
            "The balance.",
            _object(["count"], count={"type": "integer"}, queueLimit={"type": "integer"}),
            code=0,
            msg="success",
            data={"count": 4207},
        ),
        401: _TOKEN_ERROR,
        429: _RATE_LIMITED,
        500: _SERVER_ERROR,
    },
    "openapi_extra": {"security": _SECURITY},
}

RESULT: dict[str, Any] = {
    "responses": {
        200: {"description": "The picture.", "content": {"image/*": {}}},
        206: {"description": "A part of the picture.", "content": {"image/*": {}}},
        403: {
            "description": "The link has expired or was changed.",
            "content": {"application/xml": {"schema": {"type": "string"}}},
        },
        404: _answer("The signature is valid, but the picture was deleted (the sandbox was reset)."),
    },
    "response_class": Response,
}
