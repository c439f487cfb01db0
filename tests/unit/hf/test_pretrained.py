"""A language model of others as decoder: its prompt, its tokenizer, what is refused."""

import json

import numpy as np
import pytest
from flax import nnx

from signbind_jax.errors import SignBindError
from signbind_jax.hf.pretrained import open_pretrained
from signbind_jax.hf.tokenizer import TextTokenizer
from tests.unit.hf.tiny_pretrained import TEMPLATE, write_pretrained


def text_of(tokenizer, ids) -> str:
    """Ids as text with special tokens shown."""
    return tokenizer._tokenizer.decode(ids, skip_special_tokens=False)


def test_the_signs_stand_in_the_users_turn_of_the_chat_template(tmp_path):
    model = open_pretrained(write_pretrained(tmp_path / "llm"), "Translate.")
    head, tail = (
        text_of(model.tokenizer, ids) for ids in (model.tokenizer.head, model.tokenizer.tail)
    )
    assert head == "<bos>system\nTranslate.<eos>\n<bos>user\n"
    assert tail == "<eos>\n<bos>assistant\n"
    # The template's special tokens are tokens, not their spelling.
    assert model.tokenizer.bos_id in model.tokenizer.head


def test_where_the_template_knows_no_system_the_instruction_begins_the_users_turn(tmp_path):
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}"
    directory = write_pretrained(tmp_path / "llm", refusing + TEMPLATE)
    tokenizer = open_pretrained(directory, "Translate.").tokenizer
    assert text_of(tokenizer, tokenizer.head) == "<bos>user\nTranslate.\n"


def test_without_a_template_the_instruction_stands_alone(tmp_path):
    tokenizer = open_pretrained(write_pretrained(tmp_path / "llm", None), "Translate.").tokenizer
    assert text_of(tokenizer, tokenizer.head) == "<bos>Translate.\n"
    assert text_of(tokenizer, tokenizer.tail) == "\n"


def test_the_prompt_is_saved_with_the_tokenizer(tmp_path):
    tokenizer = open_pretrained(write_pretrained(tmp_path / "llm"), "Translate.").tokenizer
    tokenizer.save(tmp_path / "saved")
    loaded = TextTokenizer.load(tmp_path / "saved")
    assert (loaded.head, loaded.tail) == (tokenizer.head, tokenizer.tail)
    assert loaded.encode("who sat", ["who"]) == tokenizer.encode("who sat", ["who"])


def test_frozen_weights_may_be_stored_in_half_the_bytes(tmp_path):
    model = open_pretrained(write_pretrained(tmp_path / "llm"))
    whole, half = (model.load_params(dtype=dtype)[1] for dtype in ("float32", "bfloat16"))
    for path, x in nnx.to_flat_state(whole):
        own = dict(nnx.to_flat_state(half))[path][...]
        assert own.dtype == "bfloat16"
        np.testing.assert_allclose(own.astype("float32"), x[...], rtol=1 / 128)


def test_the_digest_tells_models_apart(tmp_path):
    one, same = (write_pretrained(tmp_path / name) for name in ("a", "b"))
    assert open_pretrained(one).digest == open_pretrained(same).digest
    weights = same / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert open_pretrained(one).digest != open_pretrained(same).digest


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: (d / "tokenizer.json").unlink(), "tokenizer.json: no such file"),
        (lambda d: (d / "tokenizer_config.json").unlink(), "eos_token: found nothing"),
        (lambda d: (d / "tokenizer.json").write_text("{"), "wanted a tokenizer"),
        (lambda d: (d / "tokenizer_config.json").write_text("{}"), "eos_token: found nothing"),
        (lambda d: (d / "config.json").unlink(), "config.json: cannot be read: No such"),
    ],
)
def test_a_directory_that_is_not_whole_is_refused(tmp_path, spoil, message):
    directory = write_pretrained(tmp_path / "llm")
    spoil(directory)
    with pytest.raises(SignBindError, match=message):
        _ = open_pretrained(directory).tokenizer


def test_a_tokenizer_with_more_ids_than_embeddings_is_refused(tmp_path):
    directory = write_pretrained(tmp_path / "llm", rows=64)
    with pytest.raises(SignBindError, match="wanted at most 63: the embedding table has 64"):
        _ = open_pretrained(directory).tokenizer


def test_a_tokenizer_that_adds_spaces_is_refused(tmp_path):
    directory = write_pretrained(tmp_path / "llm")
    path = directory / "tokenizer.json"
    record = json.loads(path.read_text())
    record["pre_tokenizer"]["add_prefix_space"] = True
    path.write_text(json.dumps(record))
    with pytest.raises(SignBindError, match="space in front of every piece"):
        _ = open_pretrained(directory).tokenizer
