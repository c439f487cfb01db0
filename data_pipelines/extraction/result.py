"""What `signbind extract` wrote of a clip beside what `readers.extracted` reads of it."""

from dataclasses import dataclass, field
from pathlib import Path

from signbind_jax import files
from signbind_jax.errors import SignBindError


@dataclass(frozen=True)
class Result:
    """The summary of an extracted clip.

    Attributes:
      frames: how many.
      found: share of the frames in which a part was found, for `body`, `face`, `left_hand` and
        `right_hand`.
      missing_crops, interpolated_crops: frames whose mouth crop is the clip's mean, or lies where
        neighbouring frames say.
      eye_distance: between the outer corners of the eyes in pixels, median; 0 without a face.
      notes: what was not as it should be -> how many times.
      video, start_s, end_s: what it was extracted from.
      video_bytes: size of that video; 0 for a directory, and where a file does not say.
    """

    frames: int
    found: dict[str, float]
    missing_crops: int = 0
    interpolated_crops: int = 0
    eye_distance: float = 0.0
    notes: dict[str, int] = field(default_factory=dict)
    video: str = ""
    start_s: float = 0.0
    end_s: float | None = None
    video_bytes: int = 0

    @classmethod
    def from_json(cls, record: dict) -> "Result":
        """Of a worker's summary or a file's field `about`; what it does not know is left out."""
        return cls(**{name: record[name] for name in cls.__dataclass_fields__ if name in record})


def read_result(path: Path) -> Result | None:
    """The summary in an extracted file; None where the file is broken.

    Raises:
      SignBindError: the file is whole, and not of `signbind extract`.
    """
    try:
        arrays = files.read_arrays(path, ("about",))
        if "about" in arrays:
            return Result.from_json(files.parse_json(str(arrays["about"]), str(path)))
    except (SignBindError, TypeError):  # a torn file, another record
        return None
    raise SignBindError(
        f"{path}: found a file that signbind extract did not write: choose another "
        "--out, or --overwrite"
    )
