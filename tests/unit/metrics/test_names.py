"""Names that no label tells of: in the text alone."""

import pytest

from signbind_jax.metrics import names, translation

KNOWN = names.known_words(["We met her there.", "The well-known dog of the house", "will come may"])


def found(texts, language="en", known=KNOWN):
    return names.names_of(texts, [language] * len(texts), known)


def test_a_name_is_a_word_training_never_had_or_one_with_a_capital_inside():
    assert found(["We met Anna’s dog.", "there I'm the Will of 3D"]) == [("Anna",), ("Will",)]
    # Nobody capitalised it: training never had it.
    assert found(["we met oleander there"]) == [("oleander",)]
    assert found(["We met the well-known and Well-Made dog."]) == [("and", "Well-Made")]


def test_the_first_word_of_a_sentence_needs_the_same_capital_elsewhere_and_nowhere_without():
    known = KNOWN | {"anna", "may", "mr", "smith", "hello", "and"}
    texts = [
        "Anna met her. May we come?",
        'We met Anna. "Hello there"',
        "we met May and we may come",
    ]
    assert found(texts, known=known) == [("Anna",), ("Anna",), ("May",)]
    assert found(["we met Mr. Smith there, and we met her"], known=known) == [("Mr", "Smith")]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Wir sehen das Haus", "de-DE"),
        ("WE MET HER THERE", "en"),
        ("We Met Her There", "en"),
        ("我们见到她", "zh"),
        ("we met 42 there", "en"),
    ],
)
def test_capitals_that_tell_nothing_and_scripts_without_spaces_name_nobody(text, language):
    known = KNOWN | names.known_words(["Wir sehen das Haus"])
    assert found([text], language, known) == [()]


def test_recall_counts_names_in_whatever_case_and_with_whichever_apostrophe():
    references = ["We met O’Neil there.", "We met Anna and Anna.", "We met Ann"]
    hypotheses = ["o'neil", "ANNA's dog", "Ann-Lee, Annabel"]
    judged = translation.text_name_recall(references, hypotheses, ["en"] * 3, KNOWN | {"and"})
    assert judged.right == ((True,), (True, False), (False,))
    assert (judged.value, judged.n) == (50.0, 4)


def test_a_changed_list_of_known_words_is_refused(tmp_path):
    assert names.read_known_words(tmp_path) is None
    names.write_known_words(tmp_path, KNOWN)
    assert names.read_known_words(tmp_path) == KNOWN
    path = tmp_path / names.KNOWN_WORDS
    path.write_text(path.read_text().replace("dog", "cat"))
    with pytest.raises(Exception, match="known_words.json: digest: found"):
        names.read_known_words(tmp_path)
