"""Checks between splits: sentences, signers and recordings that occur in more than one."""

from collections.abc import Iterator

import numpy as np

from signbind_jax.data_pipelines.audit.finding import (
    ERROR,
    NOTE,
    OK,
    WARNING,
    Finding,
    Ref,
    of_total,
    skipped,
)
from signbind_jax.data_pipelines.audit.survey import Survey

WHY_RECORDINGS = "the same recording in training and in a scored split: the score measures memory"
WHY_REPEATED = "one recording under two names counts twice, or one of its texts is wrong"
WHY_SENTENCES = (
    "a decoder can learn such a sentence by heart; greetings recur in every corpus, "
    "so this alone is no fault"
)
WHY_SIGNERS = (
    "scores then say nothing about signers who were never seen; many corpora are split that way"
)
_SHOWN = 5  # signers in a sentence


def shared_recordings(survey: Survey) -> Finding:
    """Identical poses or mouth crops in different splits."""
    advice = (
        "leave these clips out of one of the splits, or find out which of the two names has the "
        "other's files"
    )
    twins = [twin for column in ("pose", "lips") for twin in _across(survey, column)]
    what = "another split has too"
    return _recordings("shared_recordings", survey, twins, ERROR, what, WHY_RECORDINGS, advice)


def repeated_recordings(survey: Survey) -> Finding:
    """Identical poses or mouth crops in one split."""
    twins = [twin for column in ("pose", "lips") for twin in _within(survey, column)]
    what, advice = "another clip of their split has too", "keep one of them, with its own text"
    return _recordings("repeated_recordings", survey, twins, WARNING, what, WHY_REPEATED, advice)


def _recordings(
    check: str, survey: Survey, twins: list, level: str, what: str, why: str, advice: str
) -> Finding:
    if not survey.n_read:
        return skipped(check, "no clip was read")
    clips = {clip for twin in twins for clip in twin}
    return Finding(
        check,
        level if twins else OK,
        f"{of_total(len(clips), survey.n_read)} have a pose or mouth crops, byte for byte, that "
        + what,
        f"{level} from the first on",
        why,
        advice if twins else "",
        tuple(dict.fromkeys(twins)),
    )


def shared_sentences(survey: Survey) -> Finding:
    """Sentences that occur, letter for letter, in more than one split."""
    twins = tuple(_one_a_split(group) for group in _across(survey, "text"))
    same_signer = len(_across(survey, "text_and_signer"))
    found = f"sentences in more than one split: {len(twins):,}, by the same signer: {same_signer:,}"
    advice = "report scores with and without them" if twins else ""
    return Finding(
        "shared_sentences",
        NOTE if twins else OK,
        found,
        "a note at most",
        WHY_SENTENCES,
        advice,
        twins,
    )


def shared_signers(survey: Survey) -> Finding:
    """Signers of the training split who occur in another one."""
    if "train" not in survey.splits or len(survey.splits) < 2:
        return skipped("shared_signers", "needs a split train and another one")
    tallies = {name: split.tally.signers for name, split in survey.splits.items()}
    trained = {signer for signer in tallies.pop("train") if signer}
    scored = {signer for signers in tallies.values() for signer in signers if signer}
    if not trained or not scored:
        return skipped("shared_signers", "the clips name no signers")
    shared = sorted(trained & scored)
    found = f"{len(shared):,} of {len(scored):,} signers of the other splits are in train too"
    if shared:
        some = [
            f"{signer} ({', '.join(name for name in tallies if signer in tallies[name])})"
            for signer in shared[:_SHOWN]
        ]
        found += f": {'; '.join(some)}" + ("; ..." if len(shared) > _SHOWN else "")
    unknown = sum(split.tally.signers[""] for split in survey.splits.values())
    if unknown:
        found += f"; {unknown:,} clips name no signer"
    return Finding(
        "shared_signers",
        NOTE if shared else OK,
        found,
        "a note at most",
        WHY_SIGNERS,
        "call the scores signer-dependent" if shared else "",
    )


def _across(survey: Survey, column: str) -> list[tuple[Ref, ...]]:
    """The groups of equal clips that several splits share."""
    return [group for group in _groups(survey, column) if len(_one_a_split(group)) > 1]


def _within(survey: Survey, column: str) -> Iterator[tuple[Ref, ...]]:
    """The clips of one split in each group, where they are several."""
    for group in _groups(survey, column):
        for split in dict.fromkeys(split for split, _ in group):
            clips = tuple(ref for ref in group if ref[0] == split)
            if len(clips) > 1:
                yield clips


def _one_a_split(group: tuple[Ref, ...]) -> tuple[Ref, ...]:
    return tuple({split: (split, i) for split, i in reversed(group)}.values())[::-1]


def _groups(survey: Survey, column: str) -> Iterator[tuple[Ref, ...]]:
    """Clips of equal digest, two or more each, in their order."""
    names = list(survey.splits)
    sizes = [len(split) for split in survey.splits.values()]
    if not sizes:
        return
    digests = np.concatenate([split.facts[column] for split in survey.splits.values()])
    split_of = np.repeat(np.arange(len(names)), sizes)
    place = np.concatenate([np.arange(size) for size in sizes])
    order = np.argsort(digests, kind="stable")
    order = order[digests[order] > 0]
    starts = np.flatnonzero(np.diff(digests[order], prepend=np.uint64(0)) != 0)
    sizes = np.diff(starts, append=len(order))
    groups = [
        order[start : start + size]
        for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True)
    ]
    for group in sorted(groups, key=lambda group: group[0]):
        yield tuple((names[split_of[i]], int(place[i])) for i in group)
