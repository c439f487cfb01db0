"""Imported checkpoints compute what `transformers` computes (tests/golden/make_families.py)."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from signbind_jax import generation
from signbind_jax.distributed import sharding
from signbind_jax.errors import SignBindError
from signbind_jax.generation import GenerationConfig
from signbind_jax.hf import published
from signbind_jax.hf.export import export_merged
from signbind_jax.hf.families import decoder_config, read_config
from signbind_jax.hf.weights import open_checkpoint, read_params
from tests.golden.families_of_reference import (
    EOS,
    FAMILIES,
    GENERATION,
    NAMES,
    load,
    logits_agree,
    sentences_agree,
)


@pytest.fixture(scope="module", params=NAMES)
def family(request):
    """A family's decoder, its config, its directory and the reference's results."""
    directory = FAMILIES / request.param
    decoder = load(directory, sharding.make_mesh())
    return decoder, decoder.config, directory, np.load(directory / "reference.npz")


def test_logits_equal_the_references(family):
    decoder, _, _, reference = family
    ids, mask = reference["ids"][:4].astype(int), reference["mask"][:4]
    pairs = (
        (decoder.embed(ids), reference["logits_of_ids"]),
        (jnp.asarray(reference["soft"][:4]), reference["logits_of_soft"]),
    )
    for x, wanted in pairs:
        assert logits_agree(decoder(x, mask), wanted, mask)


@pytest.mark.parametrize(("kind", "beam_size"), [("greedy", 1), ("beam", 4)])
def test_sentences_equal_the_references_token_for_token(family, kind, beam_size):
    decoder, _, _, reference = family
    ids, _ = generation.generate(
        decoder,
        jnp.asarray(reference["soft"]),
        jnp.asarray(reference["mask"]),
        GenerationConfig(max_new_tokens=14, beam_size=beam_size),
        eos_id=EOS,
        pad_id=0,
    )
    assert sentences_agree(np.asarray(ids), reference[kind])
    assert np.isin(reference[kind], EOS).any()  # sentences that end are among the cases


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
@pytest.mark.parametrize("length_penalty", [-0.5, 0.0, 1.0, 2.0])
def test_beams_stop_when_those_of_transformers_do(early_stopping, length_penalty):
    golden, name = np.load(GENERATION), f"{early_stopping}/{length_penalty}"
    wanted = golden[name]
    reference = np.load(FAMILIES / "llama2" / "reference.npz")
    soft, mask = (jnp.asarray(reference[part][: len(wanted)]) for part in ("soft", "mask"))
    decoder = load(FAMILIES / "llama2", sharding.make_mesh())
    config = GenerationConfig(
        max_new_tokens=14, beam_size=4, length_penalty=length_penalty, early_stopping=early_stopping
    )
    ids, _ = generation.generate(decoder, soft, mask, config, eos_id=EOS, pad_id=0)
    assert sentences_agree(np.asarray(ids), wanted)


def test_ways_to_stop_differ_in_the_reference():
    golden = np.load(GENERATION)
    for one, other in (("False", "True"), ("False", "never"), ("True", "never")):
        assert not np.array_equal(golden[f"{one}/2.0"], golden[f"{other}/2.0"])


def test_what_is_written_is_what_was_read(family, tmp_path):
    decoder, config, directory, _ = family
    export_merged(decoder, tmp_path / "out", source=directory)
    assert read_config(tmp_path / "out") == config
    again = read_params(config, open_checkpoint(tmp_path / "out"), sharding.make_mesh())
    for (path, a), (_, b) in zip(nnx.to_flat_state(nnx.state(decoder)), nnx.to_flat_state(again)):
        np.testing.assert_array_equal(a[...], b[...], err_msg=str(path))


LLAMA = json.loads((FAMILIES / "llama2" / "config.json").read_text())


def rope(**changes) -> dict:
    """Llama 3's scaling, spoiled."""
    whole = {
        "rope_type": "llama3",
        "rope_theta": 1e4,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    return {"rope_parameters": whole | changes}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "mamba"}, "model_type: found 'mamba', wanted one of llama"),
        ({"clip_qkv": 8.0}, "clip_qkv=8.0"),
        ({"hidden_act": "relu"}, "hidden_act: found 'relu', wanted 'silu'"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope_type: found 'yarn'"),
        ({"hidden_size": None}, "hidden_size: found nothing"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"model_type": ["llama"]}, "config.json: model_type: found ['llama'], wanted one of"),
        ({"rms_norm_eps": float("nan")}, "config.json: rms_norm_eps: found nan, wanted a number"),
        ({"rms_norm_eps": "1e-5"}, "rms_norm_eps: found '1e-5', wanted a number, at least 1e-20"),
        ({"rms_norm_eps": -1e-5}, "rms_norm_eps: found -1e-05"),
        ({"rope_theta": 0}, "rope_theta: found 0, wanted a number, at least 1"),
        ({"rope_theta": 10**400}, "rope_theta: found 1000"),
        ({"rope_parameters": 5}, "config.json: rope_parameters: found 5, wanted an object"),
        (rope(factor=0.0), "config.json: rope_parameters: factor: found 0.0"),
        (rope(factor=None), "rope_parameters: factor: found nothing, wanted a number"),
        (rope(rope_theta=float("inf")), "rope_parameters: rope_theta: found inf"),
        (rope(high_freq_factor=1.0), "high_freq_factor: found 1.0, wanted more than low_freq"),
        (rope(beta_fast=32), "rope_parameters: found fields whose effect is not known here: beta"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers: found 1000000000, wanted a whole num"),
        ({"num_hidden_layers": True}, "num_hidden_layers: found True"),
        (
            {"num_attention_heads": 0},
            "num_attention_heads: found 0, wanted a whole number, at",
        ),
        ({"num_key_value_heads": 3}, "num_key_value_heads: found 3, wanted a divisor of the 2"),
        ({"hidden_size": 16.0}, "hidden_size: found 16.0, wanted a whole number"),
        ({"hidden_size": "16"}, "hidden_size: found '16'"),
        ({"head_dim": 7}, "head_dim: found 7, wanted an even number"),
        ({"vocab_size": -5}, "vocab_size: found -5"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings: found 'no', wanted true or false"),
        ({"eos_token_id": 10**6}, "eos_token_id: found 1000000, wanted a whole number, at least 0"),
        ({"eos_token_id": [1, "2"]}, "eos_token_id: found '2'"),
        ({"model_type": "mistral", "sliding_window": -1}, "sliding_window: found -1"),
        (
            {"model_type": "mistral", "sliding_window": 4, "layer_types": ["full_attention"]},
            "layer_types: found 1, wanted a value for each of the 4 layers",
        ),
        ({"model_type": "smollm3", "no_rope_layer_interval": 0}, "no_rope_layer_interval: found 0"),
        (
            {"model_type": "gemma3_text", "sliding_window_pattern": 0, "hidden_act": None},
            "sliding_window_pattern: found 0",
        ),
        (
            {
                "model_type": "gemma3_text",
                "rope_parameters": {"full_attention": {"rope_theta": 1e4}},
            },
            "rope_parameters: found {'full_attention'",
        ),
        ({"model_type": "gemma3", "text_config": "llama"}, "text_config: found 'llama'"),
    ],
)
def test_what_is_not_known_is_refused_by_name(change, said):
    with pytest.raises(SignBindError) as error:
        decoder_config(LLAMA | change, "config.json")
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_published_shape_is_found_by_name_and_by_hub_id_at_any_revision():
    wanted = published.find("qwen2.5-0.5b")
    assert wanted.n_layers == 24 and published.find("Qwen/Qwen2.5-0.5B-Instruct@main") == wanted


def test_config_that_disagrees_with_its_tensors_is_refused():
    config = decoder_config(LLAMA | {"intermediate_size": 32}, "config.json")
    with pytest.raises(SignBindError, match=r"down_proj.weight: found shape \(16, 24\).*16, 32"):
        read_params(config, open_checkpoint(FAMILIES / "llama2"), sharding.make_mesh())
    config = decoder_config(LLAMA | {"num_hidden_layers": 3}, "config.json")
    with pytest.raises(SignBindError, match="no place for, such as .model.layers.3"):
        read_params(config, open_checkpoint(FAMILIES / "llama2"), sharding.make_mesh())


def test_damaged_directories_are_refused_in_one_line(tmp_path):
    whole = (FAMILIES / "llama2" / "model.safetensors").read_bytes()
    with pytest.raises(SignBindError, match=r"found no model\.safetensors"):
        open_checkpoint(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(SignBindError, match=r"pickle \(pytorch_model.bin\)"):
        open_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SignBindError, match="not a whole safetensors file"):
        open_checkpoint(tmp_path)
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(SignBindError, match="model-00001-of-00002.safetensors: no such file"):
        open_checkpoint(tmp_path)
