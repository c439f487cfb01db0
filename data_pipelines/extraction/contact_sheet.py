"""A picture of the mouth crops of many clips, to see at a glance what was cut."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from signbind_jax import files
from signbind_jax.data_pipelines.extraction.worker.mouth import INTERPOLATED, NO_FACE, SIZE
from signbind_jax.errors import SignBindError

COLUMNS = 12  # crops a clip, evenly spaced in time
MOST_CLIPS = 40
_MOST_BYTES = 2**29  # of a clip's crops: the most frames that are extracted
_GAP, _TITLE = 4, 14  # pixels between crops, and above a row


def write_contact_sheet(path: Path, paths: Mapping[str, Path]) -> None:
    """Draws a row of crops for each clip: interpolated ones framed, missing ones crossed out.

    Args:
      path: of the picture, such as `sheet.png`.
      paths: clip id -> what was extracted; of more than 40, 40 evenly spread.

    Raises:
      SignBindError: no clip; one that cannot be read; the picture cannot be written.
    """
    ids = list(paths)
    if not ids:
        raise SignBindError(f"{path}: found no extracted clip, wanted at least one")
    rows = []
    for i in np.unique(np.linspace(0, len(ids) - 1, MOST_CLIPS).astype(int)):
        clip_id = ids[i]
        rows.append((clip_id, *_crops(paths[clip_id])))
    height = SIZE + _TITLE + _GAP
    sheet = Image.new("L", (COLUMNS * (SIZE + _GAP) + _GAP, len(rows) * height), 255)
    draw = ImageDraw.Draw(sheet)
    for row, (clip_id, told, crops_thw, state_t) in enumerate(rows):
        top = row * height
        draw.text((_GAP, top + 1), clip_id[:80] + told, fill=0)
        for column, (crop_hw, state) in enumerate(zip(crops_thw, state_t, strict=True)):
            _draw_crop(sheet, draw, _GAP + column * (SIZE + _GAP), top + _TITLE, crop_hw, state)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, optimize=True)
    except (OSError, ValueError) as error:
        raise SignBindError(
            f"{path}: cannot be written as a picture ({error}): name a file such as sheet.png"
        ) from error


def _crops(path: Path) -> tuple[str, np.ndarray, np.ndarray]:
    """What to say of a clip's crops, some of them, and their states."""
    arrays = files.read_arrays(path, ("lips", "lip_state"), _MOST_BYTES)
    crops_thw, state_t = (arrays.get(name, np.zeros(0)) for name in ("lips", "lip_state"))
    is_stack = crops_thw.dtype == np.uint8 and crops_thw.shape[1:] == (SIZE, SIZE)
    if not is_stack or state_t.ndim != 1 or len(crops_thw) not in (0, len(state_t)):
        raise SignBindError(
            f"{path}: lips: found {crops_thw.dtype} {crops_thw.shape}, wanted what signbind "
            "extract writes"
        )
    missing = int((state_t == NO_FACE).sum())
    told = f": no face in {missing} of {len(state_t)} frames" if missing else ""
    chosen = np.linspace(0, len(crops_thw) - 1, min(COLUMNS, len(crops_thw))).astype(int)
    return told, crops_thw[chosen], state_t[chosen]


def _draw_crop(sheet, draw, x: int, y: int, crop_hw: np.ndarray, state: int) -> None:
    sheet.paste(Image.fromarray(crop_hw), (x, y))
    height, width = crop_hw.shape
    if state == NO_FACE:
        draw.line((x, y, x + width - 1, y + height - 1), fill=255, width=2)
        draw.line((x, y + height - 1, x + width - 1, y), fill=255, width=2)
    if state == INTERPOLATED:
        draw.rectangle((x + 2, y + 2, x + width - 3, y + height - 3), outline=255, width=2)
