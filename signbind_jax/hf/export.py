"""A decoder as a Hugging Face directory, or its adapters alone as one that PEFT loads.

A directory appears under its name when it is whole; tensors are made and written one at a
time, so that exporting takes little memory beside the decoder's own.
"""

import contextlib
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from signbind_jax import files
from signbind_jax.errors import SignBindError
from signbind_jax.hf import adapters
from signbind_jax.hf.export_config import config_from, llama_config
from signbind_jax.hf.shards import Stored, write_file, write_model
from signbind_jax.hf.tokenizer import TextTokenizer
from signbind_jax.hf.weights import Tensor, layout
from signbind_jax.models.llm.decoder import Decoder
from signbind_jax.models.llm.language_model import LanguageModel
from signbind_jax.models.llm.lora import is_lora, lora_config

DTYPES = ("float32", "bfloat16", "float16")
SHARD_BYTES = 5 * 10**9
TERMS = ("LICENSE*", "NOTICE*", "USE_POLICY*")
# What else belongs to a model: how text becomes ids, how it is asked, its terms.
_COMPANIONS = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template*",
    "generation_config.json",
    *TERMS,
)


def export_merged(
    decoder: Decoder,
    out: Path,
    *,
    source: Path | None = None,
    tokenizer: TextTokenizer | None = None,
    dtype: str | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> list[Path]:
    """Writes a decoder, adapters merged, as a directory that `transformers` loads.

    Args:
      decoder: held whole by this process's devices.
      out: must not exist, or be empty.
      source: the Hugging Face directory it was imported from, whose config.json, tokenizer
        and terms are taken over; None: it is written as a Llama.
      tokenizer: of a decoder without a source.
      dtype: of the weights, "float32", "bfloat16" or "float16"; None: that of the decoder's
        embedding table.
      shard_bytes: largest weight file.

    Returns:
      the weight files.

    Raises:
      SignBindError: `out` is taken or cannot be written, `source` is of another decoder, there
        is none and the decoder is no plain Llama, or a dtype that is not known.
    """
    dtype = dtype or decoder.embedding.table[...].dtype.name
    if dtype not in DTYPES:
        raise SignBindError(f"export: dtype: found {dtype!r}, wanted one of {DTYPES}")
    if shard_bytes < 1:
        raise SignBindError(f"export: shard_bytes: found {shard_bytes}, wanted at least 1")
    if source is not None:
        record = config_from(source, decoder.config, dtype)
    else:
        record = llama_config(decoder.config, dtype, _token_ids(tokenizer))
    with new_directory(out) as directory:
        files.write_json(directory / "config.json", record)
        if source is not None:
            _copy_companions(source, directory)
        elif tokenizer is not None:
            _write_tokenizer(tokenizer, directory)
        written = write_model(list(stored_tensors(decoder, dtype)), directory, shard_bytes)
    return [Path(out) / file.name for file in written]


def export_adapters(decoder: LanguageModel, out: Path, *, base_model: str) -> Path:
    """Writes a decoder's adapters alone as a directory that `peft` loads.

    Args:
      decoder: with adapters.
      out: must not exist, or be empty.
      base_model: directory or hub name of the model they belong to.

    Returns:
      the weight file.

    Raises:
      SignBindError: the decoder has no adapters, or `out` is taken or cannot be written.
    """
    config = lora_config(decoder)
    if not config.rank:
        raise SignBindError(
            "export: adapters: found none, wanted a decoder with LoRA; export it merged"
        )
    with new_directory(out) as directory:
        record = adapters.adapter_record(config, base_model)
        files.write_json(directory / adapters.CONFIG, record)
        write_file(list(adapters.adapter_tensors(decoder)), directory / adapters.WEIGHTS)
    return Path(out) / adapters.WEIGHTS


def stored_tensors(decoder: Decoder, dtype: str | None = None) -> Iterator[Stored]:
    """Lists the tensors of a decoder as the files have them, each made when its turn comes.

    Adapters are merged on the way (see `layers.Linear.merged_kernel`), a layer at a time.
    dtype: of every tensor, rounded to it once; None: as each parameter is.
    """
    params = nnx.state(decoder, nnx.Not(is_lora))
    flat = dict(nnx.to_flat_state(params))
    for tensor in layout(decoder.config, params):
        value = flat[tensor.path].get_value()
        shape, own_dtype = tensor.stored_shape(value.shape[tensor.layered :]), value.dtype
        for layer, name in enumerate(tensor.names):
            make = partial(_make, decoder, tensor, layer, dtype or own_dtype)
            yield Stored(name, shape, np.dtype(dtype or own_dtype), make)


def _make(decoder: Decoder, tensor: Tensor, layer: int, dtype) -> np.ndarray:
    *parents, leaf = tensor.path
    module = decoder
    for name in parents:
        module = getattr(module, name)
    if leaf != "kernel":
        value = getattr(module, leaf)[...]
        value = _at(value, layer) if tensor.layered else value
        return tensor.stored(np.asarray(value.astype(dtype)))
    graphdef, state = nnx.split(module)
    if tensor.layered:
        state = jax.tree.map(lambda x: _at(x, layer), state)
    return tensor.stored(np.asarray(nnx.merge(graphdef, state).merged_kernel(dtype)))


def _at(stacked, layer: int):
    # Compiled once for all layers, which a static index need not be.
    return jax.lax.dynamic_index_in_dim(stacked, layer, keepdims=False)


@contextlib.contextmanager
def new_directory(out: Path) -> Iterator[Path]:
    """Makes a directory to fill, which gets the name `out` when the block ends well.

    What a killed process has left beside `out` is removed first.

    Raises:
      SignBindError: `out` exists and is not empty, or something cannot be written.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SignBindError(f"{out}: found something there, wanted a name that is free")
    unfinished = out.absolute().parent / f".{out.absolute().name}.export-partial"
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        yield unfinished
        unfinished.rename(out)
    except OSError as error:
        raise SignBindError(
            f"{out}: not written ({error.strerror or error}); free disk space or "
            "choose another directory"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _copy_companions(source: Path, directory: Path) -> None:
    for pattern in _COMPANIONS:
        for path in sorted(Path(source).glob(pattern)):
            if path.is_file():
                shutil.copyfile(path, directory / path.name)


def _token_ids(tokenizer: TextTokenizer | None) -> dict[str, int]:
    if tokenizer is None:
        return {}
    return {"bos": tokenizer.bos_id, "eos": tokenizer.eos_id, "pad": tokenizer.pad_id}


def _write_tokenizer(tokenizer: TextTokenizer, directory: Path) -> None:
    tokenizer.save(directory)
    tokens = {f"{role}_token": tokenizer.special_tokens[role] for role in ("bos", "eos", "pad")}
    record = {"tokenizer_class": "PreTrainedTokenizerFast", **tokens}
    files.write_json(directory / "tokenizer_config.json", record)
