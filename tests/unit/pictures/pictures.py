# SPDX-License-Identifier: Apache-2.0
"""Pictures of the three formats, drawn and not photographed, for the tests of package pictures."""

from __future__ import annotations

import io
import zlib
from typing import Any

from PIL import Image, ImageChops, PngImagePlugin

from airflow_provider_goenhance.pictures.formats import jpeg, png, webp
from airflow_provider_goenhance.pictures.formats.xmp import DIGITAL_SOURCE_TYPE

FORMATS = {"jpeg": ("JPEG", ".jpg"), "png": ("PNG", ".png"), "webp": ("WEBP", ".webp")}
PILLOW_NAMES = {kind: name for kind, (name, _) in FORMATS.items()} | {
    "avif": "AVIF",
    "tiff": "TIFF",
    "bmp": "BMP",
    "jp2": "JPEG2000",
    "ico": "ICO",
}
READERS = {"jpeg": jpeg, "png": png, "webp": webp}
MARK = {"DigitalSourceType": DIGITAL_SOURCE_TYPE, "AISystemUsed": "GoEnhance"}

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("jpeg", {}),
    ("jpeg", {"progressive": True}),
    ("jpeg", {"mode": "L"}),
    ("jpeg", {"mode": "CMYK"}),
    ("png", {}),
    ("png", {"mode": "RGBA"}),
    ("png", {"mode": "P"}),
    ("webp", {}),
    ("webp", {"lossless": True}),
    ("webp", {"mode": "RGBA"}),
    ("webp", {"mode": "RGBA", "lossless": True}),
    ("webp", {"size": (97, 63)}),
]

# As a photographer's program writes it: attributes and elements, lists, a comment, padding, another prefix.
PHOTO = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><!-- kept -->\n'
    b'<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
    b'<r:Description r:about="uuid:1" xmlns:dc="http://purl.org/dc/elements/1.1/"\n'
    b'  xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:Credit="A &amp; B&#xA;second line">\n'
    b"<dc:creator><r:Seq><r:li>Ada &lt;L&gt;</r:li></r:Seq></dc:creator>\n"
    b"</r:Description>\n</r:RDF></x:xmpmeta>\n" + b" " * 200 + b'\n<?xpacket end="w"?>'
)


def drawing(mode: str = "RGB", size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Draw something with slopes and edges in every channel."""
    bands = [
        Image.linear_gradient("L").resize(size),
        Image.radial_gradient("L").resize(size),
        ImageChops.invert(Image.linear_gradient("L").rotate(90).resize(size)),
    ]
    image = Image.merge("RGB", bands)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(size))
        return image
    return image.convert(mode)


def encoded(kind: str, mode: str = "RGB", size: tuple[int, int] = (96, 64), **options: Any) -> bytes:
    """Return a drawing as a file of this kind."""
    buffer = io.BytesIO()
    drawing(mode, size).save(buffer, PILLOW_NAMES[kind], **options)
    return buffer.getvalue()


def pixels(data: bytes) -> tuple[str, tuple[int, int], bytes]:
    """Decode a picture to what is compared: mode, size and every sample."""
    with Image.open(io.BytesIO(data)) as image:
        return image.mode, image.size, image.tobytes()


def gif() -> bytes:
    """Return a drawing as a GIF file."""
    buffer = io.BytesIO()
    drawing("P").save(buffer, "GIF")
    return buffer.getvalue()


def with_metadata(kind: str) -> bytes:
    """Return a picture with Exif, an ICC profile and a packet of its own."""
    from PIL import ImageCms

    exif = Image.Exif()
    exif[0x010F] = "Maker"
    options: dict[str, Any] = {
        "exif": exif.tobytes(),
        "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    }
    if kind == "png":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", PHOTO.decode(), zip=True)
        options["pnginfo"].add_text("Comment", "kept")
    else:
        options["xmp"] = PHOTO
    return encoded(kind, **options)


def jpeg_segment(marker: int, payload: bytes) -> bytes:
    """Return a JPEG segment."""
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def with_manifest(kind: str) -> bytes:
    """Return a picture with the container part in which C2PA manifests travel."""
    data = encoded(kind)
    if kind == "jpeg":
        box = b"JP\x00\x01\x00\x00\x00\x01\x00\x00\x00\x40jumb\x00\x00\x00\x20jumdc2pa" + bytes(20)
        return data[:2] + jpeg_segment(0xEB, box) + data[2:]
    if kind == "png":
        content = b"\x00\x00\x00\x40jumbc2pa" + bytes(40)
        chunk = len(content).to_bytes(4, "big") + b"caBX" + content
        chunk += zlib.crc32(b"caBX" + content).to_bytes(4, "big")
        return data[:33] + chunk + data[33:]
    body = data[8:] + webp.Chunk(b"C2PA", b"jumbc2pa").encode()
    return b"RIFF" + len(body).to_bytes(4, "little") + body
