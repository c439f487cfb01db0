"""What sentences are judged by, from texts alone: names, homonyms, contrasts.

Every value is a percentage, or None where nothing can be judged.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from signbind_jax.data.clip import Clip
from signbind_jax.errors import SignBindError
from signbind_jax.metrics import conventions, names, rouge, text, tokenizers
from signbind_jax.metrics.resampling import Resampling, Sums
from signbind_jax.metrics.sequence import edit_distance

_LEAST_JUDGED = 30  # clips: one resample in 10^13 holds none of them


@dataclass(frozen=True)
class Judgements:
    """Items of every clip, judged one by one.

    Attributes:
      right: for each clip, for each of its items in order: True or False, None where the
        item cannot be judged.
    """

    right: tuple[tuple[bool | None, ...], ...]

    @property
    def n(self) -> int:
        """How many items were judged."""
        return sum(item is not None for clip in self.right for item in clip)

    @property
    def resampling(self) -> Resampling | None:
        """Of `value`; None where so few clips are judged that some resamples hold none of them."""
        rows = [(sum(x is True for x in c), sum(x is not None for x in c)) for c in self.right]
        if sum(n > 0 for _, n in rows) < _LEAST_JUDGED:
            return None
        return Resampling(Sums(lambda sums: 100.0 * sums[0] / sums[1]), rows)

    @property
    def value(self) -> float | None:
        """Percentage of judged items that are right; None if there are none."""
        n_right = sum(item is True for clip in self.right for item in clip)
        return 100.0 * n_right / self.n if self.n else None


def name_recall(
    references: Sequence[str], hypotheses: Sequence[str], names: Sequence[Sequence[str]]
) -> Judgements:
    """Judges which of the spelled names the hypotheses hold, letter for letter.

    A name is found where it stands as a whole word, in any case: no letter or digit may touch
    it, nor a hyphen with a letter behind it ("Anna" is found in "Anna's", not in "Annabel" or
    "Anna-Lee"). Repeated names need as many occurrences, the first ones count as found. Where
    the reference itself lacks the name (or has it less often), it cannot be judged: None.
    The order of names is not looked at; `contrast_accuracy` does that.

    Args:
      references, hypotheses: one sentence a clip.
      names: the fingerspelled words of each clip.

    Raises:
      ValueError: the three differ in length.
    """
    rows = []
    for reference, hypothesis, spelled in zip(references, hypotheses, names, strict=True):
        seen: dict[str, int] = {}
        row: list[bool | None] = []
        folded = [name.casefold() for name in spelled]
        there = {
            name: (_occurrences(name, reference), _occurrences(name, hypothesis))
            for name in set(folded)
        }
        for name in folded:
            seen[name] = seen.get(name, 0) + 1
            wanted, found = (n >= seen[name] for n in there[name])
            row.append(found if wanted else None)
        rows.append(tuple(row))
    return Judgements(tuple(rows))


def text_name_recall(
    references: Sequence[str],
    hypotheses: Sequence[str],
    languages: Sequence[str],
    known: frozenset[str],
) -> Judgements:
    """Judges which names of the references the hypotheses hold, without any label of names.

    Names are those that `names.names_of` finds in the references. One is found where the
    hypothesis has the same word, in any case; repeated ones need as many occurrences.

    Args:
      references, hypotheses: one sentence a clip.
      languages: BCP-47 tags of the references.
      known: the words of the training text, see `names.known_words`.

    Raises:
      ValueError: the sides differ in length.
    """
    rows = []
    wanted = names.names_of(references, languages, known)
    for own, hypothesis in zip(wanted, hypotheses, strict=True):
        written = names.word_counts(hypothesis)
        row = []
        for name in map(str.casefold, own):
            row.append(written[name] > 0)
            written[name] -= 1
        rows.append(tuple(row))
    return Judgements(tuple(rows))


def homonym_accuracy(hypotheses: Sequence[str], pairs: Sequence[Sequence[str]]) -> Judgements:
    """Judges whether the hypotheses choose the right word of each pair of words that share hands.

    For each clip and each pair {a, b} the words a and b of the hypothesis are listed in order
    and compared, place by place, with the right words in the order of the reference: an item
    is right where the same word stands at its place. A missing word makes its place, and
    whatever shifts behind it, wrong; surplus words at the end change nothing. So a clip with
    both members of a pair needs them in the order of the reference, and whoever writes either
    word at chance is right half the time, hedging with both included.

    Args:
      hypotheses: one sentence a clip.
      pairs: for each clip "right/wrong" for every homonym of its text, in the order of the
        text.

    Raises:
      ValueError: the two differ in length.
      SignBindError: an item that is not "right/wrong".
    """
    return _judge_homonyms(hypotheses, pairs, lambda word, right, wrong: word == right)


def homonym_swapped(hypotheses: Sequence[str], pairs: Sequence[Sequence[str]]) -> Judgements:
    """Judges whether the other word of the pair stands where the right one should.

    As `homonym_accuracy`; what is neither right nor swapped was left out or is a third word.
    Whoever chooses blindly between the two has as many right as swapped.
    """
    return _judge_homonyms(hypotheses, pairs, lambda word, right, wrong: word == wrong)


def _judge_homonyms(hypotheses, pairs, judge) -> Judgements:
    """Applies `judge(word or None, right, wrong)` to what stands in each homonym's place."""
    rows = []
    for hypothesis, items in zip(hypotheses, pairs, strict=True):
        split = [_right_and_wrong(item) for item in items]
        words = re.findall(r"\w+(?:['’-]\w+)*", hypothesis.casefold())
        places: dict[frozenset[str], int] = {}
        row = []
        for right, wrong in split:
            pair = frozenset((right, wrong))
            place = places[pair] = places.get(pair, -1) + 1
            written = [word for word in words if word in pair]
            row.append(judge(written[place] if len(written) > place else None, right, wrong))
        rows.append(tuple(row))
    return Judgements(tuple(rows))


def contrast_accuracy(
    references: Sequence[str], hypotheses: Sequence[str], contrasts: Sequence[Sequence[str]]
) -> Judgements:
    """Judges whether the hypothesis is nearer to the reference than to every wrong sentence.

    Nearness is the character edit distance after case folding and with runs of spaces as
    one. It must be strictly smaller: a tie is wrong. A clip without contrasts has no item.
    Chance is 50 % for one contrast.

    Args:
      references, hypotheses: one sentence a clip.
      contrasts: for each clip the sentences that are wrong for it.

    Raises:
      ValueError: the three differ in length.
    """
    rows = []
    for reference, hypothesis, wrong in zip(references, hypotheses, contrasts, strict=True):
        written = _folded(hypothesis)
        distances = [edit_distance(_folded(other), written) for other in wrong]
        nearest = min(distances, default=None)
        is_right = nearest is not None and edit_distance(_folded(reference), written) < nearest
        rows.append((is_right,) if wrong else ())
    return Judgements(tuple(rows))


def translation_scores(
    clips: Sequence[Clip], hypotheses: Sequence[str], known: frozenset[str] | None = None
) -> dict:
    """Computes all translation scores of a data set, JSON-ready.

    BLEU-4 and chrF are sacrebleu's defaults (13a, cased, exponential smoothing), ROUGE-L is
    that of the `unisign` convention with the words of the `rouge_score` library. The word error
    rate is that of the `wer` convention: words as they stand between spaces, in their case.

    Args:
      clips: what was signed; `text`, `spelled`, `homonym_pairs` and `contrasts` are read.
      hypotheses: what was written, one sentence a clip.
      known: the words of the training text, see `names.known_words`; None: nobody knows.

    Returns:
      n, bleu4, bleu_signature, chrf, chrf_signature, rouge_l, rouge_l_signature,
      word_error_rate, word_error_rate_signature; and
      name_recall (of the words that labels call spelled), text_name_recall (of the names that
      the references alone tell), homonym_accuracy and homonym_swapped, contrast_accuracy, with
      how many items were judged as n_names, n_text_names, n_homonyms, n_contrasts. Values are
      percentages, None where there is nothing to judge.

    Raises:
      ValueError: clips and hypotheses differ in number.
    """
    if len(clips) != len(hypotheses):
        raise ValueError(f"{len(clips)} clips, {len(hypotheses)} hypotheses")
    references = [clip.text for clip in clips]
    spelled = name_recall(references, hypotheses, [clip.spelled for clip in clips])
    languages = [clip.text_language for clip in clips]
    told = (references, hypotheses, languages) if known is not None else ((), (), ())
    in_text = text_name_recall(*told, known or frozenset())
    homonyms = homonym_accuracy(hypotheses, [clip.homonym_pairs for clip in clips])
    contrasts = contrast_accuracy(references, hypotheses, [clip.contrasts for clip in clips])
    return {
        "n": len(clips),
        **_corpus_scores(references, hypotheses),
        "name_recall": spelled.value,
        "n_names": spelled.n,
        "text_name_recall": in_text.value,
        "n_text_names": in_text.n,
        "homonym_accuracy": homonyms.value,
        "homonym_swapped": homonym_swapped(hypotheses, [c.homonym_pairs for c in clips]).value,
        "n_homonyms": homonyms.n,
        "contrast_accuracy": contrasts.value,
        "n_contrasts": contrasts.n,
    }


def _corpus_scores(references: Sequence[str], hypotheses: Sequence[str]) -> dict:
    scores = {}
    if references:
        words = [
            [tokenizers.rouge_score_tokens(line) for line in side]
            for side in (references, hypotheses)
        ]
        scores = {
            "bleu": text.bleu(references, hypotheses, orders=(4,))[0],
            "chrf": text.chrf(references, hypotheses),
            "rouge_l": rouge.rouge_l(*words, beta=1.0, note="tok:rouge_score|case:lc"),
            "word_error_rate": conventions.wer(references, hypotheses)[0],
        }
    result = {}
    for key in ("bleu", "chrf", "rouge_l", "word_error_rate"):
        name = "bleu4" if key == "bleu" else key
        result[name] = scores[key].value if scores else None
        result[f"{key}_signature"] = scores[key].signature if scores else None
    return result


def _occurrences(name: str, sentence: str) -> int:
    """Counts how often the case-folded `name` stands in `sentence` as a whole word."""
    pattern = rf"(?<!\w)(?<!\w-){re.escape(name)}(?!\w|-\w)"
    return len(re.findall(pattern, sentence.casefold()))


def _right_and_wrong(item: str) -> tuple[str, str]:
    right, slash, wrong = item.casefold().partition("/")
    if not (right and slash and wrong) or "/" in wrong or right == wrong:
        raise SignBindError(f"homonym pair: found {item!r}, wanted two words as 'right/wrong'")
    return right, wrong


def _folded(sentence: str) -> str:
    return " ".join(sentence.casefold().split())
