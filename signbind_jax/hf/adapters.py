"""LoRA adapters in the layout of the PEFT library: `adapter_config.json` and safetensors."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from flax import nnx

from signbind_jax import files
from signbind_jax.errors import SignBindError
from signbind_jax.hf.shards import Stored
from signbind_jax.hf.weights import (
    LAYER_NAMES,
    Checkpoint,
    Tensor,
    check_state,
    input_dimensions,
    names_in,
    read_state,
)
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.llm.decoder import Decoder
from signbind_jax.models.llm.language_model import LanguageModel
from signbind_jax.models.llm.lora import TARGETS, LoRAConfig, add_lora, is_lora

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
CONFIG_BYTES = 2**20
_PARTS = {"a": "lora_A", "b": "lora_B"}
# "q_proj" -> "q": what PEFT calls the layers.
_TARGET_OF = {LAYER_NAMES[target].split(".")[-1]: target for target in TARGETS}
# Fields that say nothing about what an adapter computes once it is trained.
_WITHOUT_EFFECT = frozenset(
    ["auto_mapping", "base_model_name_or_path", "inference_mode", "revision", "task_type"]
    + ["peft_version", "megatron_core", "qalora_group_size", "loftq_config", "eva_config"]
    + ["layers_pattern", "runtime_config"]
)
# Other starts change the base model's weights too, which are then not those on disk.
_PLAIN_STARTS = (True, False, None, "gaussian", "orthogonal", "eva")


def adapter_record(config: LoRAConfig, base_model: str) -> dict:
    """Makes the adapter_config.json of adapters on what PEFT is to load as `base_model`."""
    whole = int(config.alpha) == config.alpha
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": config.rank,
        "lora_alpha": int(config.alpha) if whole else config.alpha,
        "lora_dropout": config.dropout,
        "target_modules": [_module(target) for target in config.targets],
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "inference_mode": True,
        "modules_to_save": None,
        "layers_to_transform": None,
        "rank_pattern": {},
        "alpha_pattern": {},
        "use_rslora": False,
        "use_dora": False,
    }


def _module(target: str) -> str:
    return LAYER_NAMES[target].split(".")[-1]


def adapter_tensors(decoder: LanguageModel) -> Iterator[Stored]:
    """Lists a decoder's adapters as PEFT stores them, each made when its turn comes."""
    state = nnx.state(decoder, is_lora)
    flat = dict(nnx.to_flat_state(state))
    for tensor in _layout(decoder.config.n_layers, state):
        value = flat[tensor.path].get_value()
        shape = tensor.stored_shape(value.shape[1:])
        for layer, name in enumerate(tensor.names):
            yield Stored(name, shape, np.dtype(value.dtype), partial(_make, tensor, value, layer))


def _make(tensor: Tensor, value, layer: int) -> np.ndarray:
    return tensor.stored(np.asarray(value[layer]))


def _layout(n_layers: int, state: nnx.State) -> Iterator[Tensor]:
    """Says where each parameter of the adapters is found, in the state's order."""
    for path, _ in nnx.to_flat_state(state):
        target, part = path[-3], path[-1]
        # A is a kernel like the layer's own, B one that reads the rank.
        n_in = input_dimensions(target) if part == "a" else 1
        stems = (f"base_model.model.model.layers.{i}" for i in range(n_layers))
        names = (f"{stem}.{LAYER_NAMES[target]}.{_PARTS[part]}.weight" for stem in stems)
        yield Tensor(path, tuple(names), n_in, True)


def read_adapters(
    config: DecoderConfig, directory: Path | str, mesh
) -> tuple[LoRAConfig, nnx.State]:
    """Adapters that PEFT, or `export_adapters`, wrote for such a decoder.

    To attach them: `add_lora(decoder, rank=lora.rank, ...)`, then `nnx.update(decoder, state)`.

    Returns:
      what they are, and their parameters in float32 by their paths in the decoder.

    Raises:
      SignBindError: not both files there or not whole, another kind of adapter than plain LoRA,
        an unknown target module, or a tensor that is missing, left over or of another shape.
    """
    directory = Path(directory)
    lora = read_adapter_config(directory)

    def init():
        rngs = nnx.Rngs(params=0)
        decoder = Decoder(config, rngs)
        add_lora(decoder, rank=lora.rank, alpha=lora.alpha, targets=lora.targets, rngs=rngs)
        return nnx.state(decoder, is_lora)

    abstract, checkpoint = nnx.eval_shape(init), _open(directory)
    check_state(_layout(config.n_layers, abstract), abstract, checkpoint)
    return lora, read_state(_layout(config.n_layers, abstract), abstract, checkpoint, mesh)


def read_adapter_config(directory: Path | str) -> LoRAConfig:
    """Reads what the adapters of a directory are.

    Raises:
      SignBindError: see `read_adapters`.
    """
    path = Path(directory) / CONFIG
    record = files.read_json(path, CONFIG_BYTES)
    kind = files.field(record, "peft_type", str, str(path))
    if kind != "LORA":
        raise SignBindError(f"{path}: peft_type: found {files.shorten(kind)}, wanted 'LORA'")
    _refuse_what_is_not_computed(record, str(path))
    rank = files.field(record, "r", int, str(path))
    if rank < 1:
        raise SignBindError(f"{path}: r: found {rank}, wanted a number from 1 up")
    alpha = files.field(record, "lora_alpha", float, str(path))
    dropout = files.field({"lora_dropout": 0.0} | record, "lora_dropout", float, str(path))
    targets = _targets(record.get("target_modules"), path)
    try:
        return LoRAConfig(rank, alpha, dropout, targets)
    except SignBindError as error:
        raise SignBindError(f"{path}: {error}") from None


def _targets(modules, path: Path) -> tuple[str, ...]:
    """Translates modules to our names, in our order; "layers.0.q_proj" and its like count once."""
    if not isinstance(modules, list):
        raise SignBindError(
            f"{path}: target_modules: found {files.shorten(modules)}, wanted a list of names"
        )
    ends = {str(module).split(".")[-1] for module in modules}
    unknown = sorted(ends - set(_TARGET_OF))
    if unknown or not ends:
        found = files.shorten(unknown)[1:-1] or "none"
        raise SignBindError(
            f"{path}: target_modules: found {found}, wanted some of {', '.join(_TARGET_OF)}"
        )
    return tuple(target for target in TARGETS if _module(target) in ends)


def _refuse_what_is_not_computed(record: Mapping, where: str) -> None:
    if record.get("init_lora_weights") not in _PLAIN_STARTS:
        found = files.shorten(record["init_lora_weights"])
        raise SignBindError(
            f"{where}: init_lora_weights: found {found}, wanted one of {_PLAIN_STARTS}"
        )
    read = {"peft_type", "r", "lora_alpha", "lora_dropout", "target_modules", "init_lora_weights"}
    unknown = [
        f"{files.shorten(name)[1:-1]}={files.shorten(value)}"
        for name, value in record.items()
        if name not in read | _WITHOUT_EFFECT and value not in (None, False, 0, "", [], {}, "none")
    ]
    if unknown:
        raise SignBindError(
            f"{where}: found fields that plain LoRA does not have: {', '.join(unknown)[:300]}"
        )


def _open(directory: Path) -> Checkpoint:
    path = directory / WEIGHTS
    if not path.exists():
        pickled = " (a pickle, adapter_model.bin, is not loaded)"
        raise SignBindError(
            f"{directory}: found no {WEIGHTS}"
            + pickled * (directory / "adapter_model.bin").exists()
        )
    return Checkpoint(directory, dict.fromkeys(names_in(path), path))
