"""Checks of text and labels: empty and odd sentences, languages, words that nothing can name."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from signbind_jax.data_pipelines.audit.finding import (
    NOTE,
    OK,
    WARNING,
    Finding,
    Limits,
    of_clips,
    of_total,
    percent,
    skipped,
)
from signbind_jax.data_pipelines.audit.survey import SplitSurvey, Survey

NO_TEXT = Limits(
    "a clip without words teaches the decoder to write nothing and scores 0", error=0.0
)
ONE_WORD = Limits(
    "normal in fingerspelling; in sentences it is a sign of cut-off text", warning=0.5
)
FASTEST = 10.0  # words a second: fast speech has about 5
SLOWEST = 0.1  # words a second, of a clip longer than LONG_S
LONG_S = 10.0
PACE = Limits(
    "the text does not belong to this span of the video: nothing true can be learnt from the pair",
    warning=0.01,
)
NO_TEXT_LANGUAGE = Limits(
    "pseudo-glosses and phonemes are derived by language; without one no "
    "word is lemmatised or pronounced",
    warning=0.0,
)
UNSEEN = Limits(
    "a token that train never shows cannot be read: no error rate can fall below this share",
    warning=0.1,
)
UNSPOKEN = Limits(
    "a word without a pronunciation is missing from the lipreading target though it is on the lips",
    warning=0.1,
)
UNSPELLED = Limits(
    "a character outside the 31-letter alphabet is missing from the fingerspelling target",
    warning=0.01,
)
_SHOWN = 8  # words in a sentence


def empty_text(survey: Survey) -> Finding:
    """Clips whose text holds no word."""
    bad = {name: (s.facts["words"] == 0, _every(s)) for name, s in survey.splits.items()}
    return of_clips(
        "empty_text",
        bad,
        NO_TEXT,
        "have a text without a word",
        "give these clips a text, or leave them out of the corpus",
    )


def one_word_text(survey: Survey) -> Finding:
    """Clips whose text is a single word."""
    bad = {name: (s.facts["words"] == 1, _every(s)) for name, s in survey.splits.items()}
    return of_clips(
        "one_word_text",
        bad,
        ONE_WORD,
        "have a text of one word",
        "check that the text column holds whole sentences",
    )


def text_pace(survey: Survey) -> Finding:
    """Clips much too short or much too long for their text."""
    splits = {}
    for name, split in survey.splits.items():
        seconds, words = split.seconds, split.facts["words"]
        pace = words / np.where(seconds > 0, seconds, np.nan)
        bad = (pace > FASTEST) | ((pace < SLOWEST) & (seconds > LONG_S))
        splits[name] = (bad, np.isfinite(pace) & (words > 0))
    return of_clips(
        "text_pace",
        splits,
        PACE,
        "are too short or too long for their text",
        "check the times of these clips: unaligned subtitles, or start and end of "
        "another version of the video",
        "no clip has text and a duration",
        f"{SLOWEST:g} to {FASTEST:g} words a second; slower only up to {LONG_S:g} s",
    )


def text_language(survey: Survey) -> Finding:
    """Clips that do not say in which language their text is."""
    return _language(survey, "text_language", NO_TEXT_LANGUAGE, "text's language", "en")


def signed_language(survey: Survey) -> Finding:
    """Clips that do not say which sign language they are in."""
    limits = Limits("nothing is derived from it yet")
    return _language(survey, "signed_language", limits, "sign language", "ase")


def _language(survey: Survey, field: str, limits: Limits, what: str, example: str) -> Finding:
    bad = {name: (~s.facts[f"has_{field}"], _every(s)) for name, s in survey.splits.items()}
    advice = f"state it in the corpus, such as {field}={example}"
    return of_clips(field, bad, limits, f"do not name their {what}", advice)


def unseen_tokens(survey: Survey, kind: str) -> Finding:
    """Tokens of the other splits that the training split does not hold."""
    check = f"unseen_{kind}"
    if "train" not in survey.splits or len(survey.splits) < 2:
        return skipped(check, "needs a split train and another one")
    known = survey.splits["train"].tally.tokens.get(kind)
    if not known:
        return skipped(check, f"the split train has no {kind} labels and none could be derived")
    parts, shares, unseen = [], [], {}
    for name, split in survey.splits.items():
        counts = split.tally.tokens.get(kind)  # of a stream that no clip of the split came with
        if name == "train" or not counts:
            continue
        unknown = {token: n for token, n in counts.items() if token not in known}
        unseen |= unknown
        shares.append(sum(unknown.values()) / counts.total())
        if unknown:
            parts.append(f"{name} {of_total(sum(unknown.values()), counts.total(), 'tokens')}")
    level = UNSEEN.level(max(shares, default=0))
    found = f"train has {len(known):,} kinds; not among them: {'; '.join(parts) or 'none'}"
    if unseen:
        found += f"; such as {_most(unseen)}"
    advice = (
        "merge rare variants of a label, or count with this ceiling" if level == WARNING else ""
    )
    return Finding(check, level, found, UNSEEN.told("tokens"), UNSEEN.why, advice)


def unspoken_words(survey: Survey) -> Finding:
    """Words of the text that the pronouncing dictionary lacks."""
    if "phonemes" in survey.labelled:
        return skipped("unspoken_words", "the corpus labels its phonemes: none is derived")
    tallies = [split.tally for split in survey.splits.values()]
    foreign = sum((tally.without_dictionary for tally in tallies), start=Counter())
    total = sum(tally.spoken_words for tally in tallies)
    unknown = sum((tally.unspoken_words for tally in tallies), start=Counter())
    level, parts = OK, []
    if total:
        level = UNSPOKEN.level(unknown.total() / total)
        parts.append(
            f"{of_total(unknown.total(), total, 'words')} have no pronunciation"
            + (f", such as {_most(unknown)}" if unknown else "")
        )
    if foreign:
        level = NOTE if level == OK else level
        named = [f"{language} ({n:,} clips)" for language, n in foreign.items()]
        parts.append(f"no dictionary for {', '.join(named)}")
    advice = "" if level == OK else "label the phonemes of these clips where lips are to be read"
    return Finding(
        "unspoken_words",
        level,
        "; ".join(parts) or "no words",
        f"warning above {percent(UNSPOKEN.warning)} of the words",
        UNSPOKEN.why,
        advice,
    )


def unspelled_letters(survey: Survey) -> Finding:
    """Characters of fingerspelled words that the alphabet lacks."""
    tallies = [split.tally for split in survey.splits.values()]
    total = sum(tally.spelled_letters for tally in tallies)
    if not total:
        return skipped("unspelled_letters", "no clip says what is fingerspelled")
    unknown = sum((tally.unspelled_letters for tally in tallies), start=Counter())
    level = UNSPELLED.level(unknown.total() / total)
    found = of_total(unknown.total(), total, "letters") + " are outside the alphabet"
    if unknown:
        found += f": {_most(unknown)}"
    advice = "" if level == OK else "write numbers and symbols as they are spelled"
    return Finding(
        "unspelled_letters",
        level,
        found,
        f"warning above {percent(UNSPELLED.warning)} of the letters",
        UNSPELLED.why,
        advice,
    )


def _every(split: SplitSurvey) -> np.ndarray:
    return np.ones(len(split), bool)


def _most(counts: Mapping[str, int]) -> str:
    """The most frequent words, and how many more there are."""
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    more = len(ordered) - _SHOWN
    return ", ".join(ordered[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
