"""What train_speed trains: configs, and batches of random content in the shapes of real ones."""

import dataclasses
from dataclasses import dataclass

import jax
import numpy as np

from signbind_jax import streams
from signbind_jax.config import RunConfig, load_config
from signbind_jax.data.augment import STILL
from signbind_jax.distributed import sharding
from signbind_jax.models.signbind import SignBindConfig
from signbind_jax.models.token_noise import TokenNoiseConfig
from signbind_jax.stages import assumed_stage
from signbind_jax.stages.stage import Stage

NEVER = dict.fromkeys(streams.SHIPPED, 0.0)
QUIET_TOKENS = TokenNoiseConfig(
    drop=NEVER, substitute=NEVER, drop_hidden=0.0, stretch=0.0, drop_stream=NEVER
)


@dataclass(frozen=True)
class Case:
    """One training step to be timed.

    Attributes:
      config: name and argument of the config.
      rows, longest: of the batch; frames (experts) or stream tokens (translation).
      target, vocabulary: CTC tokens of a row at most, and how many there are.
      llm: name of the published model whose shape the decoder has.
      text: LLM tokens of a sentence at most.
    """

    config: str
    rows: int
    longest: int
    target: int
    vocabulary: int = 48
    llm: str = ""
    text: int = 24


# By size, then by stage. `small` is what quickstart trains on a CPU, `base` what real corpora are
# trained with; there, fewer rows than on an accelerator.
CASES = {
    "small": {
        "signing": Case("signing", 16, 128, 10, 1024),
        "lipreading": Case("lipreading", 16, 128, 30),
        "translation": Case("translation:llm=pretrained", 4, 40, 24, llm="smollm2-135m"),
    },
    "base": {
        "signing": Case("signing:size=base", 4, 256, 20, 8192),
        "lipreading": Case("lipreading:size=base", 4, 64, 20),
        "translation": Case("translation:llm=pretrained", 8, 40, 24, llm="smollm2-135m"),
    },
    "accelerator": {
        "signing": Case("signing:size=base", 32, 2048, 96, 8192),
        "lipreading": Case("lipreading:size=base", 32, 512, 96),
        "translation": Case(
            "translation:llm=pretrained", 32, 160, 160, llm="llama-3.2-1b", text=88
        ),
    },
}


def make_stage(case: Case, dtype: str, dropout: bool = True) -> Stage:
    """The stage of a case without data: its model, what of it trains and its loss.

    Args:
      dtype: of the computation; of a frozen LLM's weights too.
      dropout: False: as the config says, but without dropout.
    """
    config = load_config(case.config, {})
    model, options = dict(config.model), dict(config.options)
    if not dropout:
        model["dropout"] = 0.0
    if case.llm:
        options |= {"frozen_dtype": dtype, "compute_dtype": dtype}
        augment = dataclasses.asdict(QUIET_TOKENS)
    else:
        # Kept results fit on every device these shapes are meant for.
        model |= {"dtype": dtype, "remat": False}
        augment = dataclasses.asdict(STILL)
    assumed = dataclasses.replace(
        config.assumed,
        longest=case.longest,
        target=case.target,
        vocabulary=case.vocabulary,
        text=case.text,
        clips_per_row=1,
    )
    parents = {**config.parents, "language_model": case.llm}
    data = dataclasses.replace(config.data, batch_multiple=1)
    config = dataclasses.replace(
        config,
        model=model,
        options=options,
        augment=augment,
        assumed=assumed,
        parents=parents,
        data=data,
    )
    return assumed_stage(config)


def make_batch(stage: Stage, case: Case):
    """A host batch: rows between three quarters and all of the longest, random content."""
    random = np.random.default_rng(0)
    spec = stage.batch_spec(case.longest, case.rows)
    batch = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), spec)
    fill = _fill_sentences if case.llm else _fill_clips
    return fill(batch, case, stage, random)


def _lengths(random, n: int, longest: int) -> np.ndarray:
    lengths = random.integers(-(-3 * longest // 4), longest + 1, n)
    lengths[0] = longest
    return lengths.astype(np.int32)


def _ids(random, lengths, capacity: int, vocabulary: int) -> np.ndarray:
    ids = random.integers(1, vocabulary, (len(lengths), capacity))
    return (ids * (np.arange(capacity) < lengths[:, None])).astype(np.int32)


def _fill_clips(batch, case: Case, stage: Stage, random):
    n = case.rows
    length_b = _lengths(random, n, case.longest)
    inside_bt = np.arange(case.longest) < length_b[:, None]
    frames_bt = batch.frames_bt
    if frames_bt.dtype == np.uint8:
        frames_bt = random.integers(0, 256, frames_bt.shape, np.uint8)
    else:
        frames_bt = random.standard_normal(frames_bt.shape, np.float32)
        frames_bt[..., 2] = random.random(frames_bt.shape[:-1]) > 0.05
        frames_bt = frames_bt.astype(np.float16)
    target_length_b = _lengths(random, n, case.target)
    target_bn = _ids(random, target_length_b, batch.target_bgn.shape[-1], case.vocabulary)
    return dataclasses.replace(
        batch,
        frames_bt=frames_bt * inside_bt[..., None, None],
        length_bg=length_b[:, None],
        target_bgn=target_bn[:, None],
        target_length_bg=target_length_b[:, None],
        index_bg=np.arange(n, dtype=np.int32)[:, None],
    )


def _fill_sentences(batch, case: Case, stage: Stage, random):
    n, m = case.rows, case.longest
    fusion, decoder = stage.model_config.fusion, stage.model_config.decoder
    length_b = _lengths(random, n, m)
    mask_bm = np.arange(m) < length_b[:, None]
    stream_bm = np.sort(random.integers(0, len(fusion.n_ids), (n, m)), axis=1).astype(np.int32)
    ids_bm = random.integers(1, np.array(fusion.n_ids)[stream_bm]).astype(np.int32)
    start_bm = random.uniform(0.0, 6.0, (n, m)).astype(np.float32)
    tokens = dataclasses.replace(
        batch.tokens,
        ids_bm=ids_bm * mask_bm,
        stream_bm=stream_bm * mask_bm,
        mask_bm=mask_bm,
        hidden_bmd=random.standard_normal(batch.tokens.hidden_bmd.shape).astype(np.float16),
        start_bm=start_bm * mask_bm,
        end_bm=(start_bm + 0.2) * mask_bm,
        confidence_bm=random.random((n, m), np.float32) * mask_bm,
    )
    target_length_b = _lengths(random, n, case.target)
    text_length_b = _lengths(random, n, case.text)
    prompt_shape = batch.prompt_ids_bp.shape
    return dataclasses.replace(
        batch,
        tokens=tokens,
        target_length_b=target_length_b,
        target_bn=_ids(random, target_length_b, batch.target_bn.shape[1], fusion.n_targets),
        prompt_ids_bp=random.integers(3, decoder.vocab_size, prompt_shape).astype(np.int32),
        prompt_mask_bp=np.ones(prompt_shape, bool),
        text_ids_bl=_ids(random, text_length_b, case.text, decoder.vocab_size),
        text_mask_bl=np.arange(case.text) < text_length_b[:, None],
        index_b=np.arange(n, dtype=np.int32),
        valid_b=np.ones(n, bool),
    )


def named(tree) -> dict[str, np.ndarray]:
    """The arrays of a batch or a state by their path."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {sharding.path_string(path): np.asarray(leaf) for path, leaf in leaves}


def spec(stage: Stage, config: RunConfig) -> dict:
    """What the other side makes its model and optimiser from, ready for JSON."""
    model = stage.model_config
    whole = isinstance(model, SignBindConfig)
    sections = (model.fusion, model.decoder, model.lora) if whole else (model,)
    return {
        "stage": config.stage,
        "model": [dataclasses.asdict(s) for s in sections],
        "optim": dataclasses.asdict(config.optim),
        "options": dict(config.options),
        "steps": config.steps,
    }
