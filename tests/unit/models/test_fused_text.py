"""What fusion read reaches the LLM as the text it was trained on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from signbind_jax.data.labels import fusion_tokens
from signbind_jax.data.vocabulary import FUSION_TARGETS, Vocabulary
from signbind_jax.hf.tokenizer import train_bpe
from signbind_jax.models.fused_text import NONE, fused_text, piece_table
from signbind_jax.stages.language_model import encode_prompt, stream_words

SENTENCES = [
    (("house", "fs-anna", "visit"), ("anna",)),
    (("fs-otto", "fs-al", "i", "next-week"), ("otto", "al")),
    (("weekend",), ()),
]
TEXTS = ["house anna visit", "otto al i next-week", "weekend house visit next-week"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe(TEXTS * 3, 320, ("anna", "otto", "al"))


@pytest.fixture(scope="module")
def fusion_targets():
    return Vocabulary.from_sequences(FUSION_TARGETS, [fusion_tokens(s) for s, _ in SENTENCES])


def batch(fusion_targets, n=16):
    ids = np.zeros((len(SENTENCES), n), np.int32)
    for row, (words, _) in zip(ids, SENTENCES):
        own = fusion_targets.encode(fusion_tokens(words))
        row[: len(own)] = own
    return ids, ids > 0


def test_text_is_the_prompt_the_decoder_was_trained_on(tokenizer, fusion_targets):
    pieces = piece_table(fusion_targets, tokenizer.encode)
    ids, mask, place, lost = jax.jit(fused_text, static_argnums=3)(
        *batch(fusion_targets), pieces, 40
    )
    for row, (words, _) in enumerate(SENTENCES):
        text = " ".join(word.removeprefix("fs-") for word in words)
        found = np.asarray(ids[row])[np.asarray(mask[row])].tolist()
        prompt = encode_prompt(tokenizer, stream_words(fusion_tokens(words)))
        assert found == prompt[:-1]
        assert tokenizer.decode(found) == " " + text
        places = np.asarray(place[row])[np.asarray(mask[row])].tolist()
        own = fusion_targets.encode(fusion_tokens(words))
        assert places == [
            n for n, token in enumerate(own) for piece in pieces[token] if piece != NONE
        ]
    assert lost.tolist() == [0, 0, 0]


def test_what_does_not_fit_is_counted(tokenizer, fusion_targets):
    pieces = piece_table(fusion_targets, tokenizer.encode)
    whole, mask, _, _ = fused_text(*batch(fusion_targets), pieces, 40)
    short, short_mask, _, lost = fused_text(*batch(fusion_targets), pieces, 6)
    np.testing.assert_array_equal(short[:, :6], whole[:, :6])
    assert (np.asarray(lost) + np.asarray(short_mask).sum(axis=1)).tolist() == (
        np.asarray(mask).sum(axis=1).tolist()
    )


def test_nothing_read_is_no_text(tokenizer, fusion_targets):
    pieces = piece_table(fusion_targets, tokenizer.encode)
    nothing = jnp.zeros((1, 4), jnp.int32), jnp.zeros((1, 4), bool)
    ids, mask, _, lost = fused_text(*nothing, pieces, 8)
    assert not mask.any() and not ids.any() and lost.tolist() == [0]
