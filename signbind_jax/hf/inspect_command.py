"""`signbind llm inspect`: what a Hugging Face directory holds, from headers alone."""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flax import nnx

from signbind_jax.errors import SignBindError
from signbind_jax.hf import hub
from signbind_jax.hf.chat import ChatTokenizer
from signbind_jax.hf.families import decoder_config, read_record
from signbind_jax.hf.weights import Checkpoint, check_tensors, open_checkpoint
from signbind_jax.models.llm.config import DecoderConfig

BYTES = {"float32": 4, "bfloat16": 2}
MESSAGE = "Which signs are these?"


@dataclass(frozen=True)
class Inspection:
    """A model whose config, tensors and tokenizer fit together.

    Attributes:
      directory: of the model.
      record: its config.json.
      config: the decoder that stands for it here.
      checkpoint: its tensors.
      n_parameters: of the decoder; a table that is also the output layer counts once.
      tokenizer: with chat template.
    """

    directory: Path
    record: dict
    config: DecoderConfig
    checkpoint: Checkpoint
    n_parameters: int
    tokenizer: ChatTokenizer

    def cache_bytes(self, dtype: str, tokens: int = 1000) -> int:
        """Counts the bytes that keys and values of one row take."""
        c = self.config
        return 2 * c.n_layers * c.n_kv_heads * c.head_size * tokens * BYTES[dtype]

    @property
    def stored_types(self) -> dict[str, int]:
        """How many tensors are stored in which type, by safetensors' names."""
        types = [self.checkpoint.tensor(name).get_dtype() for name in self.checkpoint.file_of]
        return {kind: types.count(kind) for kind in sorted(set(types))}


def inspect(directory: Path) -> Inspection:
    """Checks a directory without loading a tensor.

    Raises:
      SignBindError: an architecture or a field that is not supported, a file that is missing or
        not whole, tensors that are not those of config.json, a tokenizer with ids that have no
        embedding.
    """
    record = read_record(directory)
    config = decoder_config(record, str(directory / "config.json"))
    checkpoint = open_checkpoint(directory)
    shapes = check_tensors(config, checkpoint)
    n_parameters = sum(math.prod(v.get_value().shape) for _, v in nnx.to_flat_state(shapes))
    tokenizer = ChatTokenizer(directory)
    tokenizer.check_rows(config.vocab_size)
    return Inspection(directory, record, config, checkpoint, n_parameters, tokenizer)


def lines(model: Inspection) -> Iterator[tuple[str, str]]:
    """Lists (what, value) of everything `signbind llm inspect` prints."""
    c, tokenizer = model.config, model.tokenizer
    files = sorted(set(model.checkpoint.file_of.values()))
    types = ", ".join(f"{n} {kind}" for kind, n in model.stored_types.items())
    yield "directory", str(model.directory)
    yield "architecture", model.record["model_type"]
    yield (
        "decoder",
        f"{c.n_layers} layers, width {c.d_model}, feed-forward {c.d_mlp} ({c.activation})",
    )
    heads = f"{c.n_heads} heads of {c.head_size}, {c.n_kv_heads} for keys and values"
    yield "attention", f"{heads}, rotary base {c.rope_base:g}" + _window(c)
    head = "tied to" if c.tie_embeddings else "apart from"
    yield "parameters", f"{model.n_parameters:,}, output layer {head} the embeddings"
    yield "files", f"{len(files)}, {_megabytes(sum(p.stat().st_size for p in files))}"
    yield "tensors", f"{types}: names and shapes are those of config.json"
    sizes = (f"{dtype} {_megabytes(n * model.n_parameters)}" for dtype, n in BYTES.items())
    yield "memory", ", ".join(sizes)
    sizes = (f"{dtype} {_megabytes(model.cache_bytes(dtype))}" for dtype in BYTES)
    yield "KV cache", ", ".join(sizes) + " for 1,000 tokens of one row"
    yield "vocabulary", f"tokenizer {tokenizer.n_ids:,} ids, embedding table {c.vocab_size:,} rows"
    named = (f"{role} {token!r} ({i})" for role, (token, i) in tokenizer.special.items())
    yield "special tokens", ", ".join(named) or "none named"
    yield "chat template", _chat(tokenizer)


def _window(config: DecoderConfig) -> str:
    local = sum(config.local_layers)
    return f", {local} layers see {config.sliding_window} positions back" if local else ""


def _chat(tokenizer: ChatTokenizer) -> str:
    if not tokenizer.template:
        return "none"
    try:
        text = tokenizer.user_message(MESSAGE)
    except SignBindError as error:  # the model can be used without it
        return f"there is one, but: {error}"
    return f"{MESSAGE!r} becomes {tokenizer.count(text)} ids: {text!r}"


def _megabytes(n: int) -> str:
    """Writes bytes in units of 10^6."""
    return f"{n / 1e6:,.1f} MB"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `signbind llm inspect`."""
    parser.add_argument(
        "name", metavar="DIR_OR_NAME", help="a Hugging Face directory, a fetched name or a hub id"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=None,
        metavar="DIR",
        help="where `signbind llm fetch` was told to keep models",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints what a pretrained language model is and what it needs.

    Config, tensors (names, shapes and types, without loading them) and tokenizer are checked
    against each other; what does not fit is an error. MB are 10^6 bytes.
    """
    for what, value in lines(inspect(hub.find(arguments.name, arguments.cache))):
        print(f"{what:15s} {value}")
    return 0
