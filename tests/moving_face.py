"""Clips of a face that moves, made of one photograph: directories of pictures to extract from.

python -m tests.moving_face --out=DIR

The photograph is the one that the models are checked with (NASA, public domain). In `moves` it
wanders, in `turns` it leans to both sides and comes nearer, in `leaves` it is gone for a moment and
later for longer. What a mouth crop shows must not change.
"""

import argparse
import math
from pathlib import Path

from PIL import Image

from signbind_jax.data_pipelines.extraction.environment import WORKER

FRAMES = 50
GREY = (128, 128, 128)
SIDE = 320


def pose(clip: str, t: int) -> tuple[float, float, float, float]:
    """Right and down in pixels, degrees, size of the photograph in a frame."""
    if clip == "turns":
        return 0, 0, 15 * math.sin(t / 6), 1.15 + 0.2 * math.sin(t / 9)
    return 30 * math.sin(t / 7), 20 * math.sin(t / 5), 0, 1.1


def is_gone(clip: str, t: int) -> bool:
    """Whether the face is not in the frame."""
    return clip == "leaves" and (10 <= t < 16 or 25 <= t < 40)


def write_clip(out: Path, clip: str) -> Path:
    """Writes the pictures of a clip; their directory."""
    with Image.open(WORKER / "known_face.jpg") as image:
        photograph = image.convert("RGB")
    directory = out / clip
    directory.mkdir(parents=True, exist_ok=True)
    for t in range(FRAMES):
        frame = Image.new("RGB", (SIDE, SIDE), GREY)
        if not is_gone(clip, t):
            right, down, degrees, size = pose(clip, t)
            side = round(size * photograph.width)
            face = photograph.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=GREY)
            face = face.resize((side, side), Image.Resampling.BICUBIC)
            frame.paste(face, (round((SIDE - side) / 2 + right), round((SIDE - side) / 2 + down)))
        frame.save(directory / f"{t}.png")
    return directory


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    for clip in ("moves", "turns", "leaves"):
        print(write_clip(arguments.out, clip))


if __name__ == "__main__":
    main()
