"""Models made for their shapes alone."""

import jax
import pytest
from flax import nnx

from signbind_jax.checkpoint.model_record import abstract_model, make_model
from signbind_jax.models.expert import ExpertConfig
from signbind_jax.models.fusion import FusionConfig
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.segmenter import SegmenterConfig
from signbind_jax.models.signbind import SignBindConfig

FUSION = FusionConfig(n_ids=(5, 4), d_hidden=8, n_targets=6)
DECODER = DecoderConfig(32, d_model=16, n_layers=2, n_heads=2, n_kv_heads=1, head_size=8, d_mlp=32)
CONFIGS = [
    *(ExpertConfig(frontend, n_tokens=5) for frontend in ("pose", "lips", "hand_shape")),
    FUSION,
    DECODER,
    SegmenterConfig(),
    SignBindConfig(FUSION, DECODER),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: type(c).__name__)
def test_a_model_of_shapes_is_the_model_without_its_values(config):
    graphdef, params = nnx.split(abstract_model(config))
    wanted = nnx.eval_shape(lambda: nnx.split(make_model(config, nnx.Rngs(0))))
    assert graphdef == wanted[0]
    assert jax.tree.structure(params) == jax.tree.structure(wanted[1])
    found = [(x.shape, x.dtype) for x in jax.tree.leaves(params)]
    assert found == [(x.shape, x.dtype) for x in jax.tree.leaves(wanted[1])]
