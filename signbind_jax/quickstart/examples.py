"""A dozen test clips in full, for the report: skeletons, mouths, streams, translations."""

import json
from pathlib import Path

import numpy as np

from signbind_jax import files
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.report.clip_moments import duration_s, mouth_moments, skeleton_moments
from signbind_jax.streams import specs
from signbind_jax.use.translator import Translator

N_EXAMPLES = 12


def write_examples(workdir: Path, clips: ClipDataset, sentences: dict[str, list[str]]) -> Path:
    """Writes `examples.json` for evenly spaced clips of a split, whatever their scores."""
    system = Translator(workdir / "translation")
    streams = system.read(clips)
    fused = system.fused(streams)
    chosen = np.unique(np.linspace(0, len(clips) - 1, N_EXAMPLES).astype(int))
    records = []
    for i in chosen.tolist():
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
