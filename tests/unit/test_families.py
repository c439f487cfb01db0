"""Imported checkpoints compute what `transformers` computes (tests/golden/make_families.py)."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from signbind_jax import generation, sharding
from signbind_jax.errors import SignBindError
from signbind_jax.hf.export import export_merged
from signbind_jax.hf.families import decoder_config, read_config
from signbind_jax.hf.weights import open_checkpoint, read_params
from signbind_jax.models.llm.decoder import Decoder

FAMILIES = Path(__file__).parents[1] / "golden" / "families"
NAMES = sorted(path.name for path in FAMILIES.iterdir())
EOS = (2, 5, 9, 11, 17, 23)


@pytest.fixture(scope="module", params=NAMES)
def family(request):
    """A family's decoder, its config, its directory and the reference's results."""
    directory = FAMILIES / request.param
    config = read_config(directory)
    params = read_params(config, open_checkpoint(directory), sharding.make_mesh())
    graphdef = nnx.graphdef(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(0))))
    return nnx.merge(graphdef, params), config, directory, np.load(directory / "reference.npz")


def test_logits_equal_the_references(family):
    decoder, _, _, reference = family
    ids, mask = reference["ids"][:4].astype(int), reference["mask"][:4]
    pairs = (
        (decoder.embed(ids), reference["logits_of_ids"]),
        (jnp.asarray(reference["soft"][:4]), reference["logits_of_soft"]),
    )
    for x, wanted in pairs:
        difference = np.abs(np.asarray(decoder(x, mask)) - wanted)[mask]
        assert difference.max() < 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize(("kind", "beam_size"), [("greedy", 1), ("beam", 4)])
def test_sentences_equal_the_references_token_for_token(family, kind, beam_size):
    decoder, _, _, reference = family
    ids, _ = generation.generate(
        decoder, jnp.asarray(reference["soft"]), jnp.asarray(reference["mask"]),
        max_new_tokens=14, eos_id=EOS, pad_id=0, beam_size=beam_size,
    )  # fmt: skip
    wanted = reference[kind].astype(int)
    found = np.asarray(ids)[:, : wanted.shape[1]]
    # What the reference fills up with behind the end is the padding or an ending id.
    ends = np.isin(wanted, EOS)
    up_to_end = np.cumsum(ends, axis=1) - ends == 0
    np.testing.assert_array_equal(found[up_to_end], wanted[up_to_end])
    assert not found[~up_to_end].any()
    assert ends.any()  # sentences that end inside the beams are among the cases


def test_what_is_written_is_what_was_read(family, tmp_path):
    decoder, config, directory, _ = family
    export_merged(decoder, tmp_path / "out", source=directory)
    assert read_config(tmp_path / "out") == config
    again = read_params(config, open_checkpoint(tmp_path / "out"), sharding.make_mesh())
    for (path, a), (_, b) in zip(nnx.to_flat_state(nnx.state(decoder)), again.flat_state()):
        np.testing.assert_array_equal(a[...], b[...], err_msg=str(path))


LLAMA = json.loads((FAMILIES / "llama2" / "config.json").read_text())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "mamba"}, "model_type: found 'mamba', wanted one of llama"),
        ({"clip_qkv": 8.0}, "clip_qkv=8.0"),
        ({"hidden_act": "relu"}, "hidden_act: found 'relu', wanted 'silu'"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope_type: found 'yarn'"),
        ({"hidden_size": None}, "hidden_size: found nothing"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
    ],
)
def test_what_is_not_known_is_refused_by_name(change, said):
    with pytest.raises(SignBindError) as error:
        decoder_config(LLAMA | change, "config.json")
    assert said in str(error.value) and "\n" not in str(error.value)


def test_config_that_disagrees_with_its_tensors_is_refused():
    config = decoder_config(LLAMA | {"intermediate_size": 32}, "config.json")
    with pytest.raises(SignBindError, match=r"down_proj.weight: found shape \(16, 24\).*16, 32"):
        read_params(config, open_checkpoint(FAMILIES / "llama2"), sharding.make_mesh())
    config = decoder_config(LLAMA | {"num_hidden_layers": 3}, "config.json")
    with pytest.raises(SignBindError, match="no place for, such as model.layers.3"):
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
