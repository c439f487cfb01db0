"""Test clips to look at: a dozen in full for the report, and some as files to be translated."""

import json
from pathlib import Path

import numpy as np

from signbind_jax import files, keypoints
from signbind_jax.data.clip import Clip
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.lips import decode_mosaic
from signbind_jax.hf.export import new_directory
from signbind_jax.report.clip_moments import duration_s, mouth_moments, skeleton_moments
from signbind_jax.streams import specs
from signbind_jax.use.translator import Translator

N_EXAMPLES = 12  # in the report
N_FILES = 6
FILES = "examples"  # their directory
_SCHEME = "coco_wholebody_133"  # a layout that every reader of ours knows


def write_examples(workdir: Path, clips: ClipDataset, sentences: dict[str, list[str]]) -> Path:
    """Writes `examples.json` for evenly spaced clips of a split, whatever their scores."""
    system = Translator(workdir / "translation")
    streams = system.read(clips)
    fused = system.fused(streams)
    records = []
    for i in _spaced(len(clips), N_EXAMPLES):
        clip = clips[i]
        tokens = system.tokens(streams, i, unread=True)
        records.append(
            {
                "id": clip.id,
                "split": clips.name,
                "signer": clip.signer,
                "duration_s": duration_s(clip),
                "reference": clip.text,
                "hypotheses": {variant: rows[i] for variant, rows in sentences.items()},
                "names": list(clip.spelled),
                "streams": {name: [t._asdict() for t in row] for name, row in tokens.items()},
                "true": {
                    s.true_field: list(getattr(clip, s.true_field)) for s in specs() if s.true_field
                },
                "fused": fused[i],
                "skeleton": skeleton_moments(clip),
                "mouths": mouth_moments(clip),
            }
        )
    path = workdir / "examples.json"
    files.write(path, json.dumps(records, ensure_ascii=False) + "\n")
    return path


def _spaced(n: int, most: int) -> list[int]:
    """At most so many places of n, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, most).astype(int)).tolist()


def write_example_files(workdir: Path, clips: ClipDataset) -> Path:
    """Writes evenly spaced clips of a split as a folder corpus, an `.npz` file each.

    The directory appears when all is written; the same clips give the same bytes.
    """
    with new_directory(workdir / FILES) as directory:
        _write_files(directory, clips)
    return workdir / FILES


def _write_files(directory: Path, clips: ClipDataset) -> None:
    rows = ["id\tsplit\ttext\ttext_language\tsigner\tpose"]
    for i in _spaced(len(clips), N_FILES):
        clip = clips[i]
        name = f"{clip.id}.npz"
        write_clip(directory / name, clip)
        rows.append(
            "\t".join((clip.id, clips.name, clip.text, clip.text_language, clip.signer, name))
        )
    files.write(directory / "manifest.tsv", "\n".join(rows) + "\n")


def write_clip(path: Path, clip: Clip) -> None:
    """Writes a clip's pose and mouth crops as `signbind extract` would have written them."""
    pose, crops = clip.modalities["pose"], clip.modalities["lips"]
    points_tnc = keypoints.from_canonical(np.asarray(pose.data, np.float16), _SCHEME)
    np.savez_compressed(
        path,
        keypoints=points_tnc[..., :2],
        scores=points_tnc[..., 2],
        scheme=_SCHEME,
        fps=pose.fps,
        lips=decode_mosaic(crops.data, crops.n),
        lip_fps=crops.fps,
    )
