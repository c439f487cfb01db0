"""Letters that were read surely reach the LLM as text, whatever fusion has a word for."""

import jax
import numpy as np
import pytest

from signbind_jax.config import load_config
from signbind_jax.data.vocabulary import Vocabulary
from signbind_jax.errors import SignBindError
from signbind_jax.hf.tokenizer import train_bpe
from signbind_jax.models.fusion import StreamTokens, sort_tokens
from signbind_jax.models.spelled_text import SpelledText, letter_table, spelled_text
from signbind_jax.sources import open_source

LETTERS = Vocabulary.letters()
# Word, when its first letter begins, how sure its letters are; a tenth of a second each.
SPELLED = [("bob", 4.0, 0.9), ("anna", 2.0, 0.8), ("al", 6.0, 1.0), ("otto", 8.0, 0.3)]


@pytest.mark.parametrize("by_time", [True, False])
def test_sure_runs_of_letters_are_words_in_order_of_time(by_time):
    tokenizer = train_bpe(["anna bob house"] * 3, 300, ("anna", "bob"))
    letters = [
        (LETTERS.encode(char)[0], 1, start + 0.1 * i, sure)
        for word, start, sure in SPELLED
        for i, char in enumerate(word)
    ]
    tokens = [(40, 0, 2.2, 1.0), (7, 2, 2.1, 1.0), *letters, (0, 1, 0.0, 1.0)]  # and one absent
    ids, stream, start, sure = (np.array(column)[None] for column in zip(*tokens, strict=True))
    rows = StreamTokens(
        ids_bm=ids,
        stream_bm=stream,
        hidden_bmd=np.zeros((*ids.shape, 1)),
        start_bm=start.astype(np.float32),
        end_bm=(start + 0.05).astype(np.float32),
        confidence_bm=sure.astype(np.float32),
        mask_bm=np.arange(len(tokens))[None] < len(tokens) - 1,
    )
    rows = sort_tokens(rows, by_time)
    how = SpelledText(letter_table(LETTERS, tokenizer.encode), 1, 0.7)
    write = jax.jit(spelled_text, static_argnums=2)
    ids_bp, mask_bp, _, lost_b = write(rows, how, 40)
    written = np.asarray(ids_bp)[np.asarray(mask_bp)].tolist()
    # "al" is too short to be sure of, "otto" not sure enough; a name is spelled as in training.
    assert written == tokenizer.encode(" anna bob", ("anna", "bob"))
    assert lost_b.tolist() == [0]
    assert write(rows, how, 6)[3].tolist() == [len(written) - 6]


def test_letters_that_nothing_reads_are_told(runs):
    names = ("signing", "language_model", "fusion")
    given = {f"parents.{name}": str(runs / name) for name in names}
    given |= {"data.directory": str(runs / "data"), "options.spelled_text": "0.5"}
    with pytest.raises(
        SignBindError, match="spelled_text: found 0.5 and nothing that reads finger"
    ):
        open_source(load_config("alignment:size=tiny", given))
