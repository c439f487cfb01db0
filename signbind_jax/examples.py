"""A dozen test clips in full, for the report: skeletons, mouths, streams, translations."""

import base64
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from signbind_jax.data.clip import Clip
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.lips import decode_mosaic
from signbind_jax.translate import Translator

N_EXAMPLES = 12
N_PICTURES = 10


def write_examples(workdir: Path, clips: ClipDataset, sentences: dict[str, list[str]]) -> Path:
    """Writes `examples.json` for evenly spaced clips of a split, whatever their scores."""
    system = Translator(workdir / "translation")
    streams = system.read(clips)
    fused = system.fused(streams)
    chosen = np.unique(np.linspace(0, len(clips) - 1, N_EXAMPLES).astype(int))
    records = []
    for i in chosen.tolist():
        clip = clips[i]
        tokens = system.tokens(streams, i)
        records.append({
            "id": clip.id, "split": clips.name, "signer": clip.signer,
            "duration_s": duration_s(clip), "reference": clip.text,
            "hypotheses": {variant: rows[i] for variant, rows in sentences.items()},
            "names": list(clip.spelled),
            "streams": {name: [vars(t) for t in row] for name, row in tokens.items()},
            "true": {"gloss": list(clip.gloss), "spelled": list(clip.spelled),
                     "phonemes": list(clip.phonemes)},
            "fused": fused[i], "skeleton": _skeleton(clip), "mouths": _mouths(clip),
        })  # fmt: skip
    path = workdir / "examples.json"
    path.write_text(json.dumps(records, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def duration_s(clip: Clip) -> float:
    """Length of a clip in seconds, by its pose or else by its lips."""
    if clip.pose is not None:
        return round(clip.n_pose_frames / clip.pose_fps, 3)
    return round(clip.n_lip_frames / clip.lip_fps, 3) if clip.n_lip_frames else 0.0


def _pictured(n_frames: int) -> list[int]:
    return np.unique(np.linspace(0, n_frames - 1, N_PICTURES).astype(int)).tolist()


def _skeleton(clip: Clip) -> dict:
    if clip.pose is None:
        return {"times": [], "frames": []}
    frames = _pictured(clip.n_pose_frames)
    points = clip.pose[frames].astype(float).round(3)
    return {"times": [round(i / clip.pose_fps, 3) for i in frames], "frames": points.tolist()}


def _mouths(clip: Clip) -> dict:
    if not clip.n_lip_frames:
        return {"times": [], "png_base64": []}
    crops_fhw = decode_mosaic(clip.lips, clip.n_lip_frames)
    frames = _pictured(clip.n_lip_frames)
    return {"times": [round(i / clip.lip_fps, 3) for i in frames],
            "png_base64": [_png(crops_fhw[i]) for i in frames]}  # fmt: skip


def _png(image_hw: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image_hw).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
