import pytest

from signbind_jax.data.clip import Clip
from signbind_jax.data.labels import (
    fusion_tokens,
    letters,
    phonemes,
    pseudo_glosses,
    targets,
    unknown_letters,
)
from signbind_jax.data.vocabulary import Vocabulary


@pytest.mark.parametrize(
    ("text", "language", "glosses"),
    [
        ("The children were reading two books.", "en", "child read two book"),
        ("I couldn‘t find a job.", "en-US", "i could not find job"),
        ("Don't go; it's Anna's!", "en", "not go it anna"),
        ("Die Kinder haben gestern drei Bücher gelesen.", "de-CH", "kind gestern drei buch lesen"),
        ("Les enfants ont lu trois livres", "fr", "enfant lire trois livre"),
        ("我去学校", "zh", "我 去 学 校"),
        ("Wörter bleiben, words stay", "", "wörter bleiben words stay"),
        ("…?!", "en", ""),
    ],
)
def test_pseudo_glosses_are_the_lemmas_of_the_content_words(text, language, glosses):
    assert " ".join(pseudo_glosses(text, language)) == glosses


def test_phonemes_carry_no_stress_and_unknown_words_are_told():
    spoken, unknown = phonemes("Anna’s water, Xyzzyx.", "en-GB")
    assert " ".join(spoken) == "AE N AH Z W AO T ER"
    assert unknown == ("xyzzyx",)


def test_a_language_without_a_dictionary_has_no_phonemes():
    assert phonemes("Guten Tag", "de") == ((), ("guten", "tag"))


def test_spelled_words_become_letters_of_the_alphabet():
    words = ("Zoë", "o’neil", "at&t")
    assert "".join(letters(words)) == "zoeo'neilat&t"
    assert not Vocabulary.letters().unknown(letters(words))
    assert letters(("b2b",)) == ("b", "b") and unknown_letters(("b2b", "a")) == ("2",)


def test_a_spelled_name_is_letters_in_fusion_and_a_short_lemma_is_no_letter():
    assert fusion_tokens(("a", "meet", "fs-anna")) == ("a_", "meet", "fs-", "a", "n", "n", "a")


def test_given_labels_win():
    clip = Clip(
        "c",
        "We met.",
        "en",
        gloss=("MEET",),
        phonemes=("M",),
        fusion_targets=("we", "fs-bo"),
        spelled=("bo",),
    )
    assert targets(clip) == {
        "gloss": ("MEET",),
        "letters": ("b", "o"),
        "phonemes": ("M",),
        "fusion_targets": ("we", "fs-", "b", "o"),
    }


def test_targets_are_derived_where_labels_are_absent():
    found = targets(Clip("c", "We visited James.", "en", spelled=("james",)))
    assert found["gloss"] == ("we", "visit")
    assert found["fusion_targets"] == ("we", "visit", "fs-", *"james")
    assert found["phonemes"][:2] == ("W", "IY")
    glossed = targets(Clip("c", "We visited.", "en", gloss=("VISIT",), spelled=("bo",)))
    assert glossed["fusion_targets"] == ("VISIT", "fs-", "b", "o")


@pytest.mark.parametrize(
    ("text", "spelled", "fused"),
    [
        ("James visited her in Leeds.", ("james", "leeds"), "fs-james visit her fs-leeds"),
        ("Leeds is where James lives.", ("james", "leeds"), "fs-leeds where fs-james live"),
        ("Anna's sister Anna-Lee saw Anna.", ("anna-lee",), "sister fs-anna-lee see"),
        ("Anna met Anna.", ("anna", "anna"), "fs-anna meet fs-anna"),
        ("We met Anna; Anna smiled.", ("anna",), "we meet fs-anna smile"),
        ("We met her.", ("anna",), "we meet her fs-anna"),
        ("", ("anna",), "fs-anna"),
    ],
)
def test_derived_fusion_targets_have_the_spelled_words_where_the_text_has_them(
    text, spelled, fused
):
    found = targets(Clip("c", text, "en", spelled=spelled))["fusion_targets"]
    assert found == fusion_tokens(tuple(fused.split()))


def test_a_clip_without_any_label_has_empty_targets():
    assert targets(Clip("c", "?", "en")) == dict.fromkeys(
        ("gloss", "letters", "phonemes", "fusion_targets"), ()
    )


def test_a_clip_that_is_spelled_and_nothing_else_has_letters_alone():
    found = targets(Clip("c", "Dr Dona o'neil", "en", spelled=("dr", "dona", "o'neil")))
    assert "".join(found["letters"]) == "dr dona o'neil"  # its spaces count
    assert found["gloss"] == found["phonemes"] == ()
    assert found["fusion_targets"] == fusion_tokens(("fs-dr", "fs-dona", "fs-o'neil"))
