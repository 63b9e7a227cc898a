# SPDX-License-Identifier: Apache-2.0
"""The error of the engine."""

from __future__ import annotations

from typing import Literal

Picture = Literal["source_img", "reference_img"]


class EngineError(ValueError):
    """
    A picture cannot be used for a swap.

    :param code: error code, e.g. ``no_face`` or ``truncated_image``
    :param picture: the field name of the picture in the API
    :param message: what is wrong and how to fix it
    """

    def __init__(self, code: str, picture: Picture, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.picture: Picture = picture
        self.message = message

    def __reduce__(self) -> tuple[type[EngineError], tuple[str, Picture, str]]:
        return (type(self), (self.code, self.picture, self.message))
