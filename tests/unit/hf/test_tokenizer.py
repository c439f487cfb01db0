"""TextTokenizer: exact round trips, spelled words, special tokens, files."""

import json

import pytest
import tokenizers

from signbind_jax.errors import SignBindError
from signbind_jax.hf.tokenizer import TextTokenizer, train_bpe

NAMES = ("anna", "zoë", "o'neil", "new york", "york")
TEXTS = [
    "Anna visited the house yesterday.",
    "The house that Anna visited is Zoë's house.",
    "They visited New York yesterday and the house of O'Neil.",
] * 4


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe(TEXTS, 400, NAMES)


def letter(tokenizer: TextTokenizer, char: str) -> int:
    """The one id that a spelled character becomes."""
    (token_id,) = tokenizer.encode(char, [char])
    return token_id


@pytest.mark.parametrize(
    "text",
    [
        "Anna visited us yesterday.",
        "We visited  Anna's house\n",
        "  anna",
        "ANNA",
        "Annas anna",
        "Zoë and O'Neil: New York!",
        "",
        " ",
        "\x00\t\r\n",
        "Grüße, 日本語 🙂‍↔️ e\u0301 \u200d",
        "<eos><pad> <bos>",
        "anna" * 3,
        "(anna)-anna_anna.anna",
    ],
)
def test_any_text_comes_back_exactly(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text, NAMES)) == text
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_ordinary_words_are_merged_and_names_are_spelled(tokenizer):
    ids = tokenizer.encode("They visited Anna", NAMES)
    *words, a, n1, n2, a2 = ids
    assert [letter(tokenizer, c) for c in "Anna"] == [a, n1, n2, a2]
    # "They" may be in pieces; " visited" is one token; the space before the name is its own.
    assert tokenizer.decode(words[-2:-1]) == " visited"
    assert words[-1] == letter(tokenizer, " ")


@pytest.mark.parametrize("name", ["Anna", "anna", "ANNA", "york", "New York"])
@pytest.mark.parametrize("frame", ["{}", "the {} house", "{}'s house", "({})", "house,{}."])
def test_a_whole_word_is_spelled_in_any_surrounding(tokenizer, name, frame):
    ids = tokenizer.encode(frame.format(name), NAMES)
    letters = [letter(tokenizer, c) for c in name]
    assert any(ids[i : i + len(letters)] == letters for i in range(len(ids)))


def test_a_word_inside_another_word_is_not_spelled(tokenizer):
    assert tokenizer.encode("houses", ["house"]) == tokenizer.encode("houses")
    assert tokenizer.encode("house", ["house"]) != tokenizer.encode("house")


def test_spelling_does_not_depend_on_what_was_merged():
    often = train_bpe(["Anna Anna Anna anna anna anna"] * 50, 400)
    assert len(often.encode("Anna")) < 4
    assert often.encode("Anna", ["anna"]) == [letter(often, c) for c in "Anna"]


def test_merges_are_not_learned_from_spelled_words():
    with_names = ["Anna saw it", "it saw Anna", "Anna's"] * 20
    without = ["Bo saw it", "it saw Bo", "Bo's"] * 20
    assert train_bpe(with_names, 400, ["anna"]).digest == train_bpe(without, 400, ["bo"]).digest
    assert train_bpe(with_names, 400).digest != train_bpe(without, 400).digest


def test_special_tokens_never_come_from_text_nor_show_in_it(tokenizer):
    special = {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.sep_id}
    assert len(special) == 4
    assert not special & set(tokenizer.encode("<pad><bos><eos><sep>"))
    ids = tokenizer.encode("the house")
    framed = [tokenizer.bos_id, *ids, tokenizer.eos_id, tokenizer.pad_id]
    assert tokenizer.decode(framed) == "the house"


def test_a_model_may_have_more_rows_than_there_are_tokens(tokenizer):
    assert tokenizer.model_vocab_size % 64 == 0
    assert 0 <= tokenizer.model_vocab_size - tokenizer.vocab_size < 64
    past = range(tokenizer.vocab_size, tokenizer.model_vocab_size)
    assert tokenizer.decode([*past, *tokenizer.encode("house"), *past]) == "house"


def test_saved_and_loaded_is_the_same(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer")
    loaded = TextTokenizer.load(tmp_path / "tokenizer")
    assert loaded.digest == tokenizer.digest
    assert loaded.pad_id == tokenizer.pad_id and loaded.eos_id == tokenizer.eos_id
    for text in (*TEXTS, "<eos>"):
        assert loaded.encode(text, NAMES) == tokenizer.encode(text, NAMES)


def test_the_digest_tells_vocabularies_apart(tokenizer):
    assert train_bpe(TEXTS, 400, NAMES).digest == tokenizer.digest
    assert train_bpe([*TEXTS, "kitchen kitchen"], 400, NAMES).digest != tokenizer.digest


@pytest.mark.parametrize("damage", ["missing", "not json", "no pad"])
def test_a_damaged_directory_is_named(tokenizer, tmp_path, damage):
    tokenizer.save(tmp_path)
    if damage == "missing":
        (tmp_path / "tokenizer.json").unlink()
    elif damage == "not json":
        (tmp_path / "tokenizer.json").write_text("{")
    else:
        path = tmp_path / "text_tokenizer.json"
        settings = json.loads(path.read_text())
        del settings["special_tokens"]["pad"]
        path.write_text(json.dumps(settings))
    with pytest.raises(SignBindError, match="'pad'" if damage == "no pad" else "tokenizer.json"):
        TextTokenizer.load(tmp_path)


def test_a_foreign_tokenizer_needs_its_special_tokens():
    foreign = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "[UNK]": 1}, "[UNK]"))
    with pytest.raises(SignBindError, match="'pad': found '\\[PAD\\]'"):
        TextTokenizer(foreign, {"pad": "[PAD]", "bos": "a", "eos": "a", "sep": "a"})


def test_too_small_a_vocabulary_is_refused():
    with pytest.raises(SignBindError, match="found 259, wanted at least 260"):
        train_bpe(TEXTS, 259)
