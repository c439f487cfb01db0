"""Small datasets for the audit: clean ones, in which a test plants its fault."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np

from signbind_jax import keypoints
from signbind_jax.data.clip import Clip, pose_frames
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data.lips import lip_frames
from signbind_jax.data_pipelines.audit.feasibility import load_configs
from signbind_jax.data_pipelines.audit.finding import OK, SKIPPED, Finding
from signbind_jax.data_pipelines.audit.result import Result, judge
from signbind_jax.data_pipelines.audit.survey import survey
from signbind_jax.data_pipelines.corpus import corpus_of_clips
from signbind_jax.data_pipelines.writing.writer import write_dataset
from signbind_jax.streams import SHIPPED

SIZES = {"train": 24, "validation": 8, "test": 8}
FRAMES, FPS = 75, 25.0
_ADJECTIVES = ("old", "young", "small", "happy")
_NOUNS = ("teacher", "friend", "doctor", "farmer", "cook")


def moving_pose(seed: int, n_frames: int = FRAMES) -> np.ndarray:
    """Keypoints on a random walk within reach, every one of them seen and sure."""
    rng = np.random.default_rng(seed)
    walk = rng.normal(0, 0.02, (n_frames, keypoints.K, 2)).cumsum(axis=0)
    places = rng.uniform(-1, 1, (1, keypoints.K, 2)) + np.tanh(walk)
    return np.concatenate([places, np.full((n_frames, keypoints.K, 1), 0.9)], -1).astype(np.float16)


def moving_lips(seed: int, n_frames: int = FRAMES, size: int = 32) -> np.ndarray:
    """Crops of a dark mouth that opens and closes."""
    rng = np.random.default_rng(seed)
    openness_f = 4 + 3 * np.sin(np.arange(n_frames) * 0.4 + rng.uniform(0, 6))
    rows_h = np.abs(np.arange(size) - size / 2)
    inside_fh = rows_h < openness_f[:, None] * size / 32
    crops_fhw = np.where(inside_fh[:, :, None], 40, 160) + rng.integers(0, 8, (1, size, size))
    return crops_fhw.astype(np.uint8)


def with_lips(clip: Clip, crops_fhw: np.ndarray, fps: float = FPS) -> Clip:
    modalities = {**clip.modalities, "lips": lip_frames(crops_fhw, fps)}
    return dataclasses.replace(clip, modalities=modalities)


def pose_alone(clip: Clip, pose_tkc: np.ndarray, fps: float = FPS) -> Clip:
    return dataclasses.replace(clip, modalities={"pose": pose_frames(pose_tkc, fps)})


def clean_clips(sizes: dict[str, int] = SIZES) -> dict[str, list[Clip]]:
    """Clips in which there is nothing to find: no two sentences alike, no signer in two splits,
    every token and word of the other splits in the training split as well."""
    pairs = itertools.product(_ADJECTIVES, _NOUNS)
    sentences = [
        (adjective, noun, other, whom)
        for (adjective, noun), (other, whom) in itertools.permutations(pairs, 2)
    ]
    # Spread over all combinations, so that the training split shows every word.
    order = np.random.default_rng(0).permutation(len(sentences))
    splits, n = {}, 0
    for split, size in sizes.items():
        splits[split] = []
        for i in range(size):
            words = sentences[order[n]]
            clip = Clip(
                id=f"{split}-{i}",
                text="The {} {} sees a {} {}.".format(*words),
                text_language="en",
                signed_language="ase",
                signer=f"{split} signer {i % 2}",
                modalities={"pose": pose_frames(moving_pose(n), FPS)},
                gloss=tuple(word.upper() for word in words),
                spelled=("anna",),
                fusion_targets=words,
            )
            splits[split].append(with_lips(clip, moving_lips(n)))
            n += 1
    return splits


def write(out: Path, splits: dict[str, list[Clip]], clips_per_shard: int = 1000, **corpus) -> Path:
    """A dataset of clips; `corpus` are fields of `Corpus` beside them."""
    made = dataclasses.replace(corpus_of_clips(splits, {"corpus": "test"}), **corpus)
    write_dataset(out, made, clips_per_shard=clips_per_shard, progress=False)
    return out


def audited(dataset: Path, n_clips: int | None = None, configs=SHIPPED, workers=1) -> Result:
    return judge(
        survey(open_dataset(dataset), n_clips, workers, progress=False), load_configs(configs)
    )


def told(result: Result) -> dict[str, str]:
    """check -> level, of everything that was found."""
    return {f.check: f.level for f in result.findings if f.level not in (OK, SKIPPED)}


def finding(result: Result, check: str) -> Finding:
    return next(f for f in result.findings if f.check == check)
