"""The recording that a benchmark sends or translates: a file, or a clip of a dataset."""

import argparse
from pathlib import Path

SECONDS = 4.0  # that a clip of a dataset lasts, as near as there is one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what names the recording."""
    clip = parser.add_mutually_exclusive_group(required=True)
    clip.add_argument("--clip", type=Path, help="the recording")
    clip.add_argument("--data", type=Path, help="a dataset, of which a test clip is taken")


def recording(arguments: argparse.Namespace, directory: Path) -> Path:
    """The recording; that of a dataset is written to a directory, as `signbind extract` would."""
    if arguments.clip:
        return arguments.clip
    # What measures how long imports take has none before it is measured.
    from signbind_jax.data.dataset import open_dataset
    from signbind_jax.quickstart.examples import write_clip

    clips = open_dataset(arguments.data).split("test")
    found = min(
        (clip for clip in clips if {"pose", "lips"} <= clip.modalities.keys()),
        key=lambda clip: abs(clip.modalities["pose"].seconds - SECONDS),
    )
    path = directory / "clip.npz"
    write_clip(path, found)
    print(f"a clip of {found.modalities['pose'].seconds:.2f} seconds", flush=True)
    return path
