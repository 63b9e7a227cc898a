# SPDX-License-Identifier: Apache-2.0
"""Draw the outcomes as pages of pictures for a person to look at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from .measure import Outcome

SIDE, TEXT, ROWS, COLUMNS = 150, 14, 8, 3
_COLOURS = {"good": (0, 120, 0), "refused": (0, 0, 170), "faulty": (190, 110, 0)}


def pages(outcomes: list[Outcome], folder: Path) -> list[Path]:
    """Write the pages: in each cell the damaged picture, the result, and what the result should look like."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    each = ROWS * COLUMNS
    for start in range(0, len(outcomes), each):
        sheet = Image.new("RGB", (COLUMNS * (3 * SIDE + 8), ROWS * (SIDE + TEXT)), "white")
        draw = ImageDraw.Draw(sheet)
        for number, outcome in enumerate(outcomes[start : start + each]):
            x, y = (number % COLUMNS) * (3 * SIDE + 8), (number // COLUMNS) * (SIDE + TEXT)
            case = outcome.case
            words = f"{case.role}: {case.kind.name}: {outcome.verdict} ({outcome.note})"
            draw.text((x + 2, y + 1), words, fill=_COLOURS.get(outcome.verdict, (200, 0, 0)))
            for column, rgb in enumerate((case.given, outcome.result, case.ideal)):
                if rgb is not None:
                    sheet.paste(_fit(rgb), (x + column * SIDE, y + TEXT))
        paths.append(folder / f"page-{start // each + 1:02}.png")
        sheet.save(paths[-1])
    return paths


def _fit(rgb: np.ndarray) -> Image.Image:
    scale = SIDE / max(rgb.shape[:2])
    fit = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return Image.fromarray(cv2.resize(rgb, fit, interpolation=cv2.INTER_AREA))
