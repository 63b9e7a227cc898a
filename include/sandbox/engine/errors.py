# SPDX-License-Identifier: Apache-2.0
"""What the engine says when a picture cannot be used."""

from __future__ import annotations

from typing import Literal

Picture = Literal["source_img", "reference_img"]


class EngineError(ValueError):
    """
    A picture that cannot be swapped; the message says what its owner can change.

    :param code: which fault, in one word of code, e.g. ``no_face`` or ``truncated_image``
    :param picture: which of the two pictures, by the API's field name
    :param message: the sentence for a person
    """

    def __init__(self, code: str, picture: Picture, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.picture: Picture = picture
        self.message = message

    def __reduce__(self) -> tuple[type[EngineError], tuple[str, Picture, str]]:
        return (type(self), (self.code, self.picture, self.message))
