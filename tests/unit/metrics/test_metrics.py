"""Metrics against hand counts and against what the peers' own public tools print."""

import math
import random

import pytest

from signbind_jax.data.clip import Clip
from signbind_jax.errors import SignBindError
from signbind_jax.metrics import cider, conventions, rouge, sequence, tokenizers, translation

REFERENCES = (
    "Hi, I'm Anna from Expert Village, and today we're going to talk about yoga.",
    "You don't want to put too much glue on it.",
    "In this clip, I'm going to show you how to trim the hooves.",
    "So let's go over the steps one more time.",
    "It's a 20-minute walk from the U.S. Embassy.",
    "Mr. Ortega didn't use salt; he used lemon instead.",
    "The kids' bikes cost about £45 (or less) in April.",
    "That's what makes it a well-balanced breakfast.",
)
HYPOTHESES = (
    "Hi, I'm Anna from Expert Village, and today I'm going to talk about yoga!",
    "you don't want to put too much paint on it",
    "In this clip, I'm going to show you how to cut the hoof.",
    "So, let's go over these steps one more time.",
    "It's a twenty minute walk from the US embassy.",
    "Mr. Ortiz didn't use salt, he used lemon instead.",
    "The kids' bike costs about £45 in April.",
    "That is what makes it a well balanced breakfast.",
)

# Printed by other people's programs for the sentences above: sacrebleu 1.4.2 as Uni-Sign and
# signjoey carry it, rouge_score 0.1.2, rouge 1.0.1, signjoey's and coco-caption's ROUGE-L, and
# pycocoevalcap 1.2 with the Stanford tokenizer it ships.
PEERS = {
    ("unisign", "BLEU-1"): 74.853564,
    ("unisign", "BLEU-2"): 66.403877,
    ("unisign", "BLEU-3"): 58.110912,
    ("unisign", "BLEU-4"): 51.136602,
    ("unisign", "chrF"): 77.026830,
    ("unisign", "ROUGE-L"): 84.483676,
    ("unisign", "ROUGE-L distinct"): 74.062500,
    ("phoenix", "BLEU-1"): 74.074074,
    ("phoenix", "BLEU-4"): 49.736935,
    ("phoenix", "chrF"): 77.026830,
    ("phoenix", "ROUGE-L"): 73.079732,
    ("csl_daily", "BLEU-1"): 88.938260,
    ("csl_daily", "BLEU-4"): 81.123278,
    ("csl_daily", "ROUGE-L distinct"): 92.424569,
    ("bobsl", "BLEU-4"): 60.476638,
    ("bobsl", "exchanged BLEU-4"): 60.264422,
    ("bobsl", "ROUGE-L"): 81.434351,
    ("bobsl", "CIDEr-D"): 579.638404,
}


@pytest.mark.parametrize("convention", ["unisign", "phoenix", "csl_daily", "bobsl"])
def test_conventions_print_what_the_peers_programs_print(convention):
    scores = conventions.CONVENTIONS[convention].scores(REFERENCES, HYPOTHESES)
    values = {(convention, score.name): score.value for score in scores}
    wanted = {key: value for key, value in PEERS.items() if key[0] == convention}
    assert {key: values[key] for key in wanted} == pytest.approx(wanted, abs=2e-6)


def test_every_score_of_a_convention_is_told_apart_and_signed():
    for name, convention in conventions.CONVENTIONS.items():
        scores = convention.scores(REFERENCES, HYPOTHESES)
        assert len({score.name for score in scores}) == len(scores), name
        assert all("version:" in score.signature for score in scores), name


def test_a_system_that_writes_nothing_scores_zero_everywhere():
    for name, convention in conventions.CONVENTIONS.items():
        for score in convention.scores(REFERENCES, [""] * len(REFERENCES)):
            is_error_rate = name in ("wer", "per")
            assert score.value == (100.0 if is_error_rate else 0.0), (name, score.name)


def test_rbleu_takes_the_listed_words_and_punctuation_out_of_both_sides():
    references = ["The small red house, on the old hill.", "We ARE going."]
    hypotheses = ["Small red house and old hill", "we are not going"]
    words = ["the", "The", "on", "and", "we", "We", "are", "ARE", "not", "going"]
    rows = {s.name: s for s in conventions.how2sign(references, hypotheses, words)}
    # Only the first pair has words left; lower-cased, both sides read "small red house old hill".
    assert rows["lc rBLEU-4"].value == pytest.approx(100.0)
    assert rows["rBLEU-4"].value < 100.0
    assert "pairs:1/2" in rows["rBLEU-4"].signature


def test_reduced_bleu_with_our_list_is_not_called_rbleu_and_the_list_shows():
    own = [score for score in conventions.how2sign(REFERENCES, HYPOTHESES) if "red" in score.name]
    first, second = (
        conventions.how2sign(REFERENCES, HYPOTHESES, words)[-2].signature
        for words in (["the"], ["the", "a"])
    )
    assert [score.name for score in own] == ["lc reduced BLEU-4", "reduced BLEU-4"]
    assert first != second


def test_nothing_left_after_the_word_list_has_no_rbleu():
    scores = conventions.how2sign(["So it is."], ["So it is."], ["so", "So", "it", "is"])
    assert [score.value for score in scores if "rBLEU" in score.name] == [None, None]


def test_chinese_is_scored_by_characters_whatever_its_spaces_and_commas():
    spaced, tight = ["今天 天气 很 好，我们 走 吧"], ["今天天气很好,我们走吧"]
    assert all(s.value == pytest.approx(100) for s in conventions.csl_daily(spaced, tight))
    assert conventions.unisign(spaced, tight)[3].value < 50


def test_rouge_l_weighs_recall_by_beta():
    pair = [["a", "b", "c", "d"]], [["a", "c"]]
    assert rouge.rouge_l(*pair, beta=1.0, note="").value == pytest.approx(100 * 2 / 3)
    # R = 0.5, P = 1: (1 + 1.44) 0.5 / (0.5 + 1.44)
    assert rouge.rouge_l(*pair, beta=1.2, note="").value == pytest.approx(100 * 1.22 / 1.94)


def test_rouge_l_wants_the_order_of_the_words():
    assert rouge.rouge_l([["a", "b"]], [["b", "a"]], beta=1.0, note="").value == pytest.approx(50)


def test_cider_d_by_hand():
    references = [["a", "b"], ["c", "d"]]
    exact = cider.cider_d(references, references, note="").value
    # Cosine 1 for 1- and 2-grams, none longer: 10 (1 + 1 + 0 + 0) / 4.
    assert exact == pytest.approx(500)
    repeated = cider.cider_d(references, [["a", "b", "a", "b"], ["c", "d"]], note="").value
    # 1-grams clipped 2 of norms sqrt 8 and sqrt 2; 2-grams 1 of sqrt 5; 3 against 1 2-grams.
    first = 10 / 4 * math.exp(-4 / 72) * (2 / 4 + 1 / math.sqrt(5))
    assert repeated == pytest.approx(100 * (first + 5) / 2)


def test_ptb_words_of_broadcast_sentences():
    def tokens(sentence):
        return " ".join(tokenizers.ptb_tokens(sentence))

    assert tokens("We can't stay, it's 5% off!") == "we ca n't stay it 's 5 % off"
    assert tokens("Don’t – “really”…") == "do n't really"
    assert tokens("A well-known (old) hat.") == "a well-known -lrb- old -rrb- hat"
    assert tokens("The U.S. cannot pay £1,000.") == "the u.s. can not pay # 1,000"


def test_error_counts_by_hand():
    counts = sequence.error_counts(["kitten"], ["sitting"])
    assert (counts.s, counts.d, counts.i, counts.n) == (2, 0, 1, 6)
    assert counts.accuracy == pytest.approx(50) and counts.rate == pytest.approx(50)


def test_letter_accuracy_counts_spaces_and_can_be_negative():
    assert sequence.error_counts(["new york"], ["newyork"]).d == 1
    assert sequence.error_counts(["a"], ["bcde"]).accuracy == pytest.approx(-300)


def test_errors_are_pooled_over_the_corpus_not_averaged():
    counts = sequence.error_counts(["a", "bbbb"], ["x", "bbbb"])
    assert counts.accuracy == pytest.approx(80)


def test_htk_costs_choose_another_alignment():
    # Three substitutions (3 or 30) against keeping the m: four indels (4 or 28).
    assert sequence.error_counts(["mab"], ["cdm"], "unit").accuracy == pytest.approx(0)
    assert sequence.error_counts(["mab"], ["cdm"], "htk").accuracy == pytest.approx(-100 / 3)


@pytest.mark.parametrize("costs", list(sequence.EDIT_COSTS))
def test_alignments_add_up_for_random_sequences(costs):
    rng = random.Random(3)
    for _ in range(100):
        left = [rng.choice("abc") for _ in range(rng.randrange(9))]
        right = [rng.choice("abc") for _ in range(rng.randrange(9))]
        counts = sequence.error_counts([left], [right], costs)
        assert counts.n == len(left) and counts.n - counts.d + counts.i == len(right)
        errors = counts.s + counts.d + counts.i
        assert (errors == 0) == (left == right)
        assert sequence.edit_distance(left, right) <= errors <= len(left) + len(right)
        back = sequence.error_counts([right], [left], "unit")
        assert back.s + back.d + back.i == sequence.edit_distance(left, right)


@pytest.mark.parametrize("costs", sequence.EDIT_COSTS)
def test_pairs_of_all_lengths_together_are_aligned_as_each_alone(costs):
    rng = random.Random(7)
    sides = [["".join(rng.choices("abc", k=rng.randrange(12))) for _ in range(300)] for _ in "rh"]
    each = [sequence.error_counts([r], [h], costs) for r, h in zip(*sides, strict=True)]
    assert sequence.error_counts(*sides, costs) == sum(each, sequence.ErrorCounts(0, 0, 0, 0))


def test_the_longest_common_subsequence_is_that_of_the_recursion():
    def longest(a, b):
        if not a or not b:
            return 0
        return (
            1 + longest(a[1:], b[1:]) if a[0] == b[0] else max(longest(a[1:], b), longest(a, b[1:]))
        )

    rng = random.Random(7)
    for _ in range(200):
        a, b = ("".join(rng.choices("abc", k=rng.randrange(7))) for _ in "ab")
        assert rouge.longest_common_subsequence(a, b) == longest(a, b)


def test_no_reference_tokens_give_no_rate():
    counts = sequence.error_counts([[]], [["a"]])
    assert (counts.i, counts.rate, counts.accuracy) == (1, None, None)


def test_unknown_costs_name_the_known_ones():
    with pytest.raises(SignBindError, match="'levenshtein'.*unit, htk, signjoey"):
        sequence.error_counts(["a"], ["a"], "levenshtein")


def test_a_name_is_found_as_a_whole_word_in_any_case():
    found = translation.name_recall(
        ["We met Anna."] * 5,
        ["ANNA's here", "Annabel is here", "Anna-Lee is here", "Ana is here", "so, anna"],
        [["anna"]] * 5,
    )
    assert found.right == ((True,), (False,), (False,), (False,), (True,))
    assert found.value == pytest.approx(40)


def test_repeated_names_need_as_many_occurrences():
    names = [["anna", "ben", "anna"]]
    found = translation.name_recall(["Anna, Ben and Anna"], ["Ben and Anna"], names)
    assert found.right == ((True, True, False),)


def test_a_name_the_reference_lacks_is_not_judged():
    found = translation.name_recall(["In New York with Ben"], ["ben nyc"], [["nyc", "ben"]])
    assert found.right == ((None, True),)
    assert (found.value, found.n) == (100, 1)


def test_homonyms_are_judged_each():
    judged = translation.homonym_accuracy(
        ["The shop sells Bread and milk.", "The jam is cold."],
        [("bread/butter", "milk/juice"), ("butter/bread",)],
    )
    assert judged.right == ((True, True), (False,))


def test_a_third_word_is_neither_right_nor_swapped():
    pairs = [("bread/butter",)] * 4
    hypotheses = ["the bread", "the butter", "the jam", "the"]
    assert translation.homonym_accuracy(hypotheses, pairs).value == pytest.approx(25)
    assert translation.homonym_swapped(hypotheses, pairs).value == pytest.approx(25)


def test_a_lonely_twin_needs_the_order_of_the_reference():
    pairs = [("shore/bank", "bank/shore")] * 4
    hypotheses = ["shore then bank", "bank then shore", "shore then shore", "the bank"]
    judged = translation.homonym_accuracy(hypotheses, pairs)
    assert judged.right == ((True, True), (False, False), (True, False), (False, False))


@pytest.mark.parametrize("habit", ["bank", "bank shore", "shore bank bank"])
def test_a_fixed_habit_gets_half_the_homonyms(habit):
    judged = translation.homonym_accuracy([habit] * 2, [("bank/shore",), ("shore/bank",)])
    assert judged.value == pytest.approx(50)


@pytest.mark.parametrize("item", ["bank", "bank/", "a/b/c", "bank/Bank"])
def test_a_malformed_homonym_pair_is_named(item):
    with pytest.raises(SignBindError, match=f"'{item}'.*right/wrong"):
        translation.homonym_accuracy(["bank"], [(item,)])


def test_contrasts_want_the_reference_strictly_nearest():
    reference, contrast = "Anna visited us.", "We visited Anna."
    judged = translation.contrast_accuracy(
        [reference] * 4,
        ["anna  visited us", "we visited Anna", "", "Anna visited us."],
        [[contrast], [contrast], [contrast], []],
    )
    # Reference and contrast have the same length, so an empty hypothesis ties: wrong.
    assert judged.right == ((True,), (False,), (False,), ())
    assert judged.value == pytest.approx(100 / 3)


def test_translation_scores_of_a_perfect_and_of_a_careless_system():
    clips = [
        Clip(
            "1",
            "Anna visited the old bank.",
            spelled=("anna",),
            homonym_pairs=("bank/shore",),
            contrasts=("The old bank visited Anna.",),
        ),
        Clip("2", "The boat lies at the shore.", homonym_pairs=("shore/bank",)),
    ]
    perfect = translation.translation_scores(clips, [clip.text for clip in clips])
    for key in ("bleu4", "chrf", "rouge_l", "name_recall", "homonym_accuracy", "contrast_accuracy"):
        assert perfect[key] == pytest.approx(100), key
    assert (perfect["n"], perfect["n_names"], perfect["n_homonyms"]) == (2, 1, 2)
    assert "tok:13a" in perfect["bleu_signature"] and perfect["word_error_rate"] == 0
    careless = translation.translation_scores(clips, ["The old bank visited Ana.", "The bank."])
    assert careless["name_recall"] == 0 and careless["contrast_accuracy"] == 0
    assert careless["homonym_accuracy"] == pytest.approx(50)
    # Five of five words replaced; one of six replaced, four left out.
    assert careless["word_error_rate"] == pytest.approx(100 * 10 / 11)
    assert "S:6|D:4|I:0|N:11" in careless["word_error_rate_signature"]


def test_what_cannot_be_judged_is_none():
    scores = translation.translation_scores([Clip("1", "Hello there.")], ["Hello there."])
    assert (
        scores["name_recall"] is scores["homonym_accuracy"] is scores["contrast_accuracy"] is None
    )
    assert translation.translation_scores([], [])["bleu4"] is None
