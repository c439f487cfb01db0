"""Open language models on accelerators: rows, mesh and remat for each model and kind of chip.

`signbind preflight --all` compiles every one of them for a TPU slice of 16 chips (the table is in
docs/use/check_fit_and_speed.md). `gpu` stands for GPUs with 80 GB; there is no compiler for them
without one, so these are the choices for the v5p with fewer rows, not compiled.
Choices are ours; nothing of it has run on an accelerator.
"""

from dataclasses import dataclass

from ml_collections import ConfigDict

from signbind_jax.configs import real
from signbind_jax.errors import SignBindError
from signbind_jax.hf import published
from signbind_jax.overrides import unknown_name

# Passes over the training split, whatever its size: LoRA on BOBSL took 10 (LiTFiC).
EPOCHS = {"alignment": 2.0, "translation": 10.0}
CHIPS = ("v4", "v5e", "v5p", "v6e", "gpu")


@dataclass(frozen=True)
class OnChip:
    """How a model trains on a kind of chip.

    Attributes:
      rows: sentences a chip and step.
      fsdp: chips that share the weights. 1: each holds them all in bfloat16, and nothing but the
        small gradients of adapters, fusion and projector travels.
      remat: what the backward pass computes again (`TranslationOptions.remat`).
    """

    rows: int
    fsdp: int = 1
    remat: str = "elementwise"


# In the order of CHIPS.
RECIPES = {
    "smollm2-135m": (OnChip(32), OnChip(16), OnChip(64), OnChip(32), OnChip(64)),
    "qwen2.5-0.5b": (OnChip(16), OnChip(8), OnChip(64), OnChip(16), OnChip(32)),
    "llama-3.2-1b": (OnChip(16), OnChip(8), OnChip(64), OnChip(16), OnChip(32)),
    "gemma-2-2b": (OnChip(8), OnChip(4), OnChip(32), OnChip(8), OnChip(16)),
    "llama-3.2-3b": (OnChip(16), OnChip(6), OnChip(32), OnChip(16), OnChip(16)),
    "llama-3.1-8b": (OnChip(6), OnChip(4, 16), OnChip(16), OnChip(6), OnChip(8)),
    "gemma-2-9b": (OnChip(3), OnChip(4, 16), OnChip(16), OnChip(3), OnChip(8)),
}
RECIPES = {model: dict(zip(CHIPS, on, strict=True)) for model, on in RECIPES.items()}


def is_pretrained(llm: str) -> bool:
    """Whether the `llm` argument asks for a model of others.

    Raises:
      SignBindError: neither `scratch` nor `pretrained` nor an open model's name.
    """
    kinds = ("scratch", "pretrained", *RECIPES)
    if llm not in kinds:
        raise SignBindError(unknown_name("--config argument llm", llm, kinds))
    return llm != "scratch"


def with_llm(config: ConfigDict, arg: ConfigDict) -> ConfigDict:
    """The run with the open model `arg.llm` in bfloat16, its rows and mesh fit for `arg.chips`
    of the kind `arg.chip`.

    Raises:
      SignBindError: another chip, no number of them, or a size or corpus beside the model.
    """
    llm, chip, chips = arg.llm, arg.chip, arg.chips
    for name, found, default in (("size", arg.size, "small"), ("corpus", arg.corpus, "how2sign")):
        if found != default:
            raise SignBindError(
                f"--config argument {name}: found {found!r} with llm={llm}, "
                "wanted it only with scratch or pretrained"
            )
    if chip not in CHIPS:
        raise SignBindError(unknown_name("--config argument chip", chip, CHIPS))
    if not isinstance(chips, int) or chips < 1:
        raise SignBindError(f"--config argument chips: found {chips}, wanted a number of chips")
    on = RECIPES[llm][chip]
    config.parents.language_model = published.models()[llm].hub
    config.options.update(
        {"frozen_dtype": "bfloat16", "compute_dtype": "bfloat16", "remat": on.remat}
    )
    config.epochs, config.optim.warmup_share = EPOCHS[config.stage], 0.05
    config.mesh.fsdp = min(on.fsdp, chips)
    config.assumed.update(
        {
            "longest": 160,
            "target": 160,
            "streams": {"signing": 8192},
            "fusion_targets": 8192,
            "d_hidden": 512,
            "text": 88,
        }
    )
    with config.assumed.fusion.unlocked():
        config.assumed.fusion.update(real.MODELS["fusion"]["base"])
    config.data.update(
        {
            "batch_multiple": chips,
            "n_buckets": 5,
            "frames_per_batch": on.rows * chips * config.assumed.longest,
        }
    )
    return config
