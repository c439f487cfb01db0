"""Example clips of an audit's page: evenly spaced ones, and one for each finding about arrays."""

import numpy as np

from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data_pipelines.audit.finding import ERROR, WARNING, Ref
from signbind_jax.data_pipelines.audit.result import Result
from signbind_jax.errors import SignBindError
from signbind_jax.report import timeline
from signbind_jax.report.clip_moments import duration_s, mouth_moments, skeleton_moments

N_SPACED = 6
N_FLAGGED = 10


def examples(result: Result) -> tuple[list[dict], list[dict]]:
    """What audit.html draws of the clips that findings name, and of evenly spaced ones."""
    flagged = _flagged(result)
    spaced = [ref for ref in _spaced(result) if ref not in flagged]
    return [_clip(result, ref) for ref in flagged], [_clip(result, ref) for ref in spaced]


def _flagged(result: Result) -> list[Ref]:
    """The first clip, or the first two twins, of each error and warning; every clip once."""
    refs = [
        ref
        for finding in result.findings
        if finding.level in (ERROR, WARNING)
        for group in finding.clips[:1]
        for ref in group[:2]
    ]
    return list(dict.fromkeys(refs))[:N_FLAGGED]


def _spaced(result: Result) -> list[Ref]:
    every = [(name, len(split)) for name, split in result.survey.splits.items()]
    total = sum(n for _, n in every)
    chosen = np.unique(np.linspace(0, total - 1, N_SPACED).astype(int)) if total else ()
    refs = []
    for i in chosen:
        for name, n in every:
            if i < n:
                refs.append((name, int(i)))
                break
            i -= n
    return refs


def _clip(result: Result, ref: Ref) -> dict:
    split, i = ref
    try:
        clip = ClipDataset(result.survey.info, split)[i]
        poses, mouths = skeleton_moments(clip), mouth_moments(clip)
    except SignBindError as error:
        return {"id": f"clip {i} of {split}", "error": str(error)}
    return {
        "id": clip.id,
        "error": "",
        "clip": clip,
        "split": split,
        "seconds": duration_s(clip),
        "timeline": timeline.of_clip(
            clip,
            list(zip(poses["times"], poses["frames"], strict=True)),
            list(zip(mouths["times"], mouths["png_base64"], strict=True)),
        ),
        "named_by": [f.title for f in result.findings if any(ref in group for group in f.clips)],
    }
