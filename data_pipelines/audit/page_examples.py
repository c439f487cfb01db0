"""Example clips of an audit's page: evenly spaced ones, and one for each finding about arrays."""

from xml.etree.ElementTree import Element

import numpy as np

from signbind_jax.data.clip import Clip
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data_pipelines.audit.finding import ERROR, WARNING, Ref
from signbind_jax.data_pipelines.audit.result import Result
from signbind_jax.errors import SignBindError
from signbind_jax.report import strip
from signbind_jax.report.clip_moments import duration_s, mouth_moments, skeleton_moments
from signbind_jax.report.markup import tag
from signbind_jax.report.skeleton import REACH
from signbind_jax.report.wording import figure

N_SPACED = 6
N_FLAGGED = 10


def examples(result: Result) -> list:
    """An article a clip: pictures, text and labels, and which findings name it."""
    flagged = _flagged(result)
    spaced = [ref for ref in _spaced(result) if ref not in flagged]
    if not flagged and not spaced:
        return [tag("p", "No clip could be read.", class_="note")]
    content = [
        tag(
            "p",
            "Each strip shows ten moments of a clip as the computer sees it. Points "
            f"further than {figure(REACH)} shoulder widths from the neck are not "
            "drawn.",
        )
    ]
    if flagged:
        content.append(tag("h3", "Clips that errors and warnings name"))
        content += [_article(result, f"flagged{i}", ref) for i, ref in enumerate(flagged)]
        content.append(tag("h3", "Evenly spaced clips") if spaced else None)
    return content + [_article(result, f"spaced{i}", ref) for i, ref in enumerate(spaced)]


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


def _article(result: Result, key: str, ref: Ref) -> Element:
    split, i = ref
    try:
        clip = ClipDataset(result.survey.info, split)[i]
        picture = _picture(key, clip)
    except SignBindError as error:
        note = tag("p", str(error), class_="note")
        return tag("article", tag("h3", f"clip {i} of {split}"), note, class_="clip", id=key)
    pose, lips = map(clip.modalities.get, ("pose", "lips"))
    facts = [
        f"split: {split}",
        f"signer: {clip.signer}" if clip.signer else None,
        f"{figure(duration_s(clip))} s long",
        f"pose at {figure(pose.fps)} frames a second" if pose else None,
        f"mouth crops at {figure(lips.fps)}" if lips else None,
    ]
    named = [
        finding.title for finding in result.findings if any(ref in group for group in finding.clips)
    ]
    lines = [("text", clip.text)]
    lines += [(name, " ".join(getattr(clip, name))) for name in ("gloss", "spelled", "phonemes")]
    return tag(
        "article",
        tag("h3", clip.id, tag("small", " · ".join(fact for fact in facts if fact))),
        tag("div", picture, class_="scroll"),
        tag(
            "dl",
            [[tag("dt", name), tag("dd", value, dir="auto")] for name, value in lines if value],
            [tag("dt", "named by"), tag("dd", ", ".join(named))] if named else None,
            class_="lines",
        ),
        class_="clip",
        id=key,
    )


def _picture(key: str, clip: Clip) -> Element:
    skeletons, mouths = skeleton_moments(clip), mouth_moments(clip)
    poses = list(zip(skeletons["times"], skeletons["frames"], strict=True))
    crops = list(zip(mouths["times"], mouths["png_base64"], strict=True))
    return strip.draw(f"strip-{key}", clip.id, poses, crops, duration_s(clip) or 1.0)
