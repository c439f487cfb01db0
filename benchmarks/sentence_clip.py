"""A recording to send or translate: a clip of a dataset as `signbind extract` writes it."""

from pathlib import Path

from signbind_jax.data.dataset import open_dataset
from signbind_jax.quickstart.examples import write_clip


def write_recording(data: Path, seconds: float, path: Path) -> float:
    """Writes the clip of a dataset's test split that is nearest to so many seconds as `.npz`:
    landmarks and mouth crops; gives the seconds it lasts."""
    clips = open_dataset(data).split("test")
    found = min(
        (clip for clip in clips if {"pose", "lips"} <= clip.modalities.keys()),
        key=lambda clip: abs(clip.modalities["pose"].seconds - seconds),
    )
    write_clip(path, found)
    return found.modalities["pose"].seconds
