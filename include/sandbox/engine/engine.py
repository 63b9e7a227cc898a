# SPDX-License-Identifier: Apache-2.0
"""The face swap engine: decode, find, warp, blend, encode, in that order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .errors import EngineError

if TYPE_CHECKING:
    from .decode import Photo
    from .errors import Picture
    from .fitness import Look
    from .mesh import Face

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Swap:
    """
    A finished picture.

    :param data: the file's bytes
    :param media_type: ``image/jpeg``, ``image/png`` or ``image/webp``
    :param extension: with its dot, e.g. ``.jpg``
    :param faces: left, top, right, bottom of each replaced face, in pixels
    """

    data: bytes
    media_type: str
    extension: str
    faces: list[Box] = field(default_factory=list)


class FaceSwapEngine:
    """
    Replaces faces of one picture with the face of another.

    Thread-safe; the networks run one call at a time. OpenCV, NumPy and Pillow are imported here, not on module import.

    :param faces: which faces of the reference image are replaced: the ``largest`` or ``all``
    :param opencv_threads: threads that OpenCV may use in this process; ``None`` keeps the current number
    :raises RuntimeError: the model files are missing or have been changed
    """

    def __init__(
        self, faces: Literal["largest", "all"] = "largest", *, opencv_threads: int | None = None
    ) -> None:
        if faces not in {"largest", "all"}:
            raise ValueError(f"faces must be 'largest' or 'all', not {faces!r}.")
        import cv2

        from airflow_provider_goenhance.detection.nets import short_range_net

        from .nets import mesh_net, triangles

        if opencv_threads is not None:
            cv2.setNumThreads(opencv_threads)
        self.faces = faces
        self._detector = short_range_net()
        self._mesh = mesh_net()
        triangles()

    def swap(self, source: bytes, reference: bytes) -> Swap:
        """
        Replace the reference image's face with the source image's.

        :param source: a JPEG, PNG or WebP file with a face; the largest face is used
        :param reference: a JPEG, PNG or WebP file; the result has its scene, size and format
        :raises EngineError: a picture cannot be used; ``code`` and ``picture`` identify the cause and the picture
        """
        from .blend import replace_face
        from .decode import decode
        from .encode import encode
        from .fitness import Look, check
        from .warp import FaceTexture

        giver = decode(source, "source_img")
        look = Look.at(giver.flat(), self._find(giver, "source_img", only_largest=True)[0])
        check(look, "source_img")
        texture = FaceTexture.cut(giver.flat(), look, grey=giver.grey)
        del giver
        scene = decode(reference, "reference_img")
        faces = self._find(scene, "reference_img", only_largest=self.faces == "largest")
        looks = self._fit(scene, faces, look)
        # Small (distant) faces first, so that of two overlapping faces the nearer one is in front.
        changed = [one.face for one in reversed(looks) if replace_face(scene, one, texture)]
        if not changed:
            raise EngineError(
                "no_face",
                "reference_img",
                "reference_img shows too little of a face; send one that shows it whole.",
            )
        data, media_type, extension = encode(scene)
        return Swap(data, media_type, extension, [_inside(face.box, scene) for face in reversed(changed)])

    def _find(self, photo: Photo, picture: Picture, *, only_largest: bool) -> list[Face]:
        from .fitness import refusal_of_unread
        from .mesh import find_faces, unread_face

        rgb = photo.flat()
        faces = find_faces(self._detector, self._mesh, rgb, only_largest=only_largest)
        if not faces:
            raise refusal_of_unread(rgb, unread_face(self._detector, self._mesh, rgb), picture)
        return faces

    def _fit(self, scene: Photo, faces: list[Face], giver: Look) -> list[Look]:
        """Return the faces that the engine can replace; raise the reason of the largest if there are none."""
        from .fitness import Look, check, check_pair

        fit, refused = [], []
        for face in faces:
            look = Look.at(scene.flat(), face)
            try:
                check(look, "reference_img")
                check_pair(giver, look)
            except EngineError as error:
                refused.append(error)
            else:
                fit.append(look)
        if not fit:
            raise refused[0]
        return fit


def _inside(box: Box, photo: Photo) -> Box:
    height, width = photo.rgb.shape[:2]
    left, top, right, bottom = box
    return max(left, 0), max(top, 0), min(right, width), min(bottom, height)
