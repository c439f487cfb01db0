"""Safetensors of a Hugging Face directory -> the decoder's parameters, slice by slice.

Every device's part of a parameter is read straight from the files, so that no host holds more
of the model than its devices do. `hf/export.py` writes.
"""

import contextlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open

from signbind_jax import files
from signbind_jax.distributed import sharding
from signbind_jax.errors import SignBindError, one_line
from signbind_jax.hf.shards import INDEX, SINGLE
from signbind_jax.models import layers
from signbind_jax.models.llm.config import DecoderConfig
from signbind_jax.models.llm.decoder import Decoder

LAYER_NAMES = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
    "q_norm": "self_attn.q_norm",
    "k_norm": "self_attn.k_norm",
    "attention_norm": "input_layernorm",
}
# safetensors' names of the types that weights may be stored in.
STORED_TYPES = ("F32", "F16", "BF16")
HEADER_BYTES = 2**24  # of one file: more than a hundred thousand tensors
_BESIDE = re.compile(r"[\w.-]+\.safetensors")
_LEAVES = {"kernel": "weight", "scale": "weight", "table": "weight", "bias": "bias"}


@dataclass(frozen=True)
class Tensor:
    """How one parameter of the decoder stands in the files.

    Attributes:
      path: of the parameter in the decoder's state.
      names: one tensor a layer, or one alone.
      n_in: how many dimensions of the parameter (of one layer) are a linear layer's input; 0
        for all but kernels.
      layered: whether the parameter has a leading layers dimension.
    """

    path: tuple[str, ...]
    names: tuple[str, ...]
    n_in: int
    layered: bool

    def stored_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Gives the shape in the files of one layer's parameter: kernels are transposed and, like
        biases, have their heads folded; all else is stored as it is."""
        if self.n_in:
            return math.prod(shape[self.n_in :]), math.prod(shape[: self.n_in])
        return (math.prod(shape),) if self.path[-1] == "bias" else tuple(shape)

    def stored(self, value: np.ndarray) -> np.ndarray:
        """Gives one layer's parameter as the files have it."""
        shape = self.stored_shape(value.shape)
        return value.reshape(shape[::-1]).T if self.n_in else value.reshape(shape)


def input_dimensions(part: str) -> int:
    """Counts how many leading dimensions of a linear layer's kernel are its input."""
    return 2 if part == "o" else 1  # o reads heads x head_size


def layout(config: DecoderConfig, params: nnx.State) -> Iterator[Tensor]:
    """Says where each parameter of a decoder without adapters is found, in the state's order."""
    for path, _ in nnx.to_flat_state(params):
        part, leaf = path[-2], path[-1]
        n_in = input_dimensions(part) if leaf == "kernel" else 0
        if path[0] == "layers":
            stem = _layer_name(part, config)
            names = tuple(
                f"model.layers.{i}.{stem}.{_LEAVES[leaf]}" for i in range(config.n_layers)
            )
            yield Tensor(path, names, n_in, True)
        else:
            stem = {"embedding": "model.embed_tokens", "norm": "model.norm", "head": "lm_head"}
            yield Tensor(path, (f"{stem[path[0]]}.weight",), n_in, False)


def _layer_name(part: str, config: DecoderConfig) -> str:
    if part in LAYER_NAMES:
        return LAYER_NAMES[part]
    if config.post_norms:  # Gemma names what stands behind each branch by what comes next
        return {
            "mlp_norm": "pre_feedforward_layernorm",
            "attention_post_norm": "post_attention_layernorm",
            "mlp_post_norm": "post_feedforward_layernorm",
        }[part]
    return {"mlp_norm": "post_attention_layernorm"}[part]


@dataclass(frozen=True)
class StoredTensor:
    """One tensor in its file; what safetensors gives as a slice, but for the open file.

    The file is open only while a part is read: what has been read of a file that stays mapped
    counts as this process's memory, which by the end would be the whole checkpoint again.
    """

    path: Path
    name: str

    def get_shape(self) -> tuple[int, ...]:
        with self._slice() as part:
            return tuple(part.get_shape())

    def get_dtype(self) -> str:
        """Gives the type as safetensors calls it: F32, BF16, ..."""
        with self._slice() as part:
            return part.get_dtype()

    def __getitem__(self, index) -> np.ndarray:
        with self._slice() as part:
            return np.asarray(part[index])

    @contextlib.contextmanager
    def _slice(self):
        with open_file(self.path) as file:
            yield file.get_slice(self.name)


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a directory, read when they are asked for.

    Attributes:
      directory: of the model.
      file_of: tensor name -> file.
    """

    directory: Path
    file_of: Mapping[str, Path]

    @property
    def files(self) -> list[str]:
        """Names of the files, sorted."""
        return sorted({path.name for path in self.file_of.values()})

    def tensor(self, name: str) -> StoredTensor:
        """Gives one tensor, of which nothing is read yet.

        Raises:
          SignBindError: no such tensor.
        """
        if name not in self.file_of:
            raise SignBindError(
                f"{self.directory}: tensor {name}: found nothing, wanted it as config.json says"
            )
        return StoredTensor(self.file_of[name], name)


def open_checkpoint(directory: Path | str) -> Checkpoint:
    """Opens the safetensors of a directory, in one file or several.

    Raises:
      SignBindError: none there, a file of the index missing or not whole, weights as a pickle.
    """
    directory = Path(directory)
    index = directory / INDEX
    if index.exists():
        return Checkpoint(directory, _indexed(index))
    single = directory / SINGLE
    if not single.exists():
        pickled = sorted(p.name for p in directory.glob("*.bin")) + sorted(
            p.name for p in directory.glob("*.pt*")
        )
        if pickled:
            raise SignBindError(
                f"{directory}: found weights as a pickle ({pickled[0]}), which is "
                f"not loaded; wanted {SINGLE}"
            )
        raise SignBindError(f"{directory}: found no {SINGLE} and no {INDEX}")
    return Checkpoint(directory, dict.fromkeys(names_in(single), single))


def _indexed(index: Path) -> dict[str, Path]:
    """Maps tensor name -> file; every file holds just the tensors that the index says."""
    names_of = {}
    record = files.field(files.read_json(index), "weight_map", dict, str(index))
    for name, file in record.items():
        if not isinstance(file, str) or not _BESIDE.fullmatch(file):
            raise SignBindError(
                f"{index}: weight_map: found {files.shorten(file)}, wanted a file beside the "
                "index, NAME.safetensors"
            )
        names_of.setdefault(file, set()).add(name)
    for file, names in sorted(names_of.items()):
        path = index.with_name(file)
        if not path.exists():
            raise SignBindError(f"{path}: no such file; {INDEX} wants it")
        for name in sorted(names.symmetric_difference(names_in(path))):
            found, wanted = ("nothing", "it") if name in names else ("it", "nothing")
            raise SignBindError(
                f"{path}: tensor {name[:100]!r}: found {found}, wanted {wanted}, as {INDEX} says"
            )
    return {name: index.with_name(file) for name, file in record.items()}


def names_in(path: Path) -> list[str]:
    """Lists the tensors of a safetensors file.

    Raises:
      SignBindError: see `open_file`.
    """
    with open_file(path) as file:
        return list(file.keys())


def open_file(path: Path):
    """Opens a safetensors file.

    Raises:
      SignBindError: it is not whole.
    """
    size = files.check_regular(path)
    try:
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if header > min(size, HEADER_BYTES):
            raise ValueError(
                f"found a header of {header:,} bytes in {size:,}, wanted at most "
                f"{min(size, HEADER_BYTES):,}"
            )
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError, ValueError) as error:
        raise SignBindError(f"{path}: not a whole safetensors file ({one_line(error)})") from error


def check_tensors(config: DecoderConfig, checkpoint: Checkpoint) -> nnx.State:
    """Gives the decoder's parameters as shapes, once the files are known to hold just these.

    Only the files' headers are read.

    Raises:
      SignBindError: see `check_state`.
    """
    abstract = nnx.state(layers.abstract(lambda rngs: Decoder(config, rngs)))
    check_state(
        layout(config, abstract),
        abstract,
        checkpoint,
        lambda name: config.tie_embeddings and name == "lm_head.weight",
    )
    return abstract


def check_state(
    tensors: Iterable[Tensor],
    abstract: nnx.State,
    checkpoint: Checkpoint,
    unneeded: Callable[[str], bool] = lambda name: False,
) -> None:
    """Refuses a checkpoint that does not hold just the tensors of a state.

    Args:
      tensors: one for every parameter of `abstract`.
      abstract: the parameters' shapes and dimension names.
      unneeded: which tensors of the checkpoint may be left over.

    Raises:
      SignBindError: a tensor that is missing, of another shape, not of a float type, or left
        over.
    """
    shapes = {path: variable.get_value().shape for path, variable in nnx.to_flat_state(abstract)}
    used = set()
    for tensor in tensors:
        wanted = tensor.stored_shape(shapes[tensor.path][tensor.layered :])
        for name in tensor.names:
            reader = checkpoint.tensor(name)
            found = tuple(reader.get_shape()), reader.get_dtype()
            where = f"{checkpoint.file_of[name]}: tensor {name}"
            if found[0] != wanted:
                raise SignBindError(f"{where}: found shape {found[0]}, wanted {wanted}")
            if found[1] not in STORED_TYPES:
                raise SignBindError(
                    f"{where}: found type {found[1]}, wanted {', '.join(STORED_TYPES)}"
                )
        used.update(tensor.names)
    unused = [
        name
        for name in sorted(set(checkpoint.file_of) - used)
        if not name.endswith("rotary_emb.inv_freq") and not unneeded(name)
    ]
    if unused:
        raise SignBindError(
            f"{checkpoint.directory}: found {len(unused)} tensors that its config "
            f"has no place for, such as {unused[0][:100]!r}"
        )


def read_params(config: DecoderConfig, checkpoint: Checkpoint, mesh, dtype="float32") -> nnx.State:
    """Reads the decoder's parameters, each device's part read by its own host.

    Raises:
      SignBindError: see `check_state`.
    """
    abstract = check_tensors(config, checkpoint)
    return read_state(layout(config, abstract), abstract, checkpoint, mesh, dtype)


def read_state(
    tensors: Iterable[Tensor], abstract: nnx.State, checkpoint: Checkpoint, mesh, dtype="float32"
) -> nnx.State:
    """Reads a state from the tensors it is stored in, which `check_state` has found to be there."""
    shardings = dict(nnx.to_flat_state(sharding.state_shardings(abstract, mesh)))
    variables = dict(nnx.to_flat_state(abstract))
    flat = {}
    for tensor in tensors:
        variable = variables[tensor.path]
        shape = variable.get_value().shape
        readers = [checkpoint.tensor(name) for name in tensor.names]
        read = _reader(readers, shape, tensor, np.dtype(dtype))
        array = jax.make_array_from_callback(shape, shardings[tensor.path].get_value(), read)
        flat[tensor.path] = variable.replace(array)
    return nnx.from_flat_state(flat)


def _reader(readers, shape, tensor: Tensor, dtype) -> Callable:
    """Makes a function: index of a part of the parameter -> that part, read from the files."""

    def one(reader, index, own_shape):
        own = [s.indices(n)[:2] for s, n in zip(index, own_shape, strict=True)]
        part = tuple(stop - start for start, stop in own)
        if not tensor.n_in:
            folded = tensor.path[-1] == "bias"
            index = _folded(own, own_shape) if folded else tuple(slice(*span) for span in own)
            return reader[index].reshape(part)
        n_in = tensor.n_in
        columns = _folded(own[:n_in], own_shape[:n_in])
        rows = _folded(own[n_in:], own_shape[n_in:])
        return reader[rows, columns].T.reshape(part)

    def read(index):
        cut = tuple(len(range(*s.indices(n))) for s, n in zip(index, shape, strict=True))
        parts = _aligned_empty(cut, dtype)
        if not tensor.layered:
            parts[...] = one(readers[0], index, shape)
            return parts
        for place, layer in enumerate(range(*index[0].indices(shape[0]))):
            parts[place] = one(readers[layer], index[1:], shape[1:])
        return parts

    return read


def _aligned_empty(shape: Sequence[int], dtype) -> np.ndarray:
    """Makes an array at an address that JAX's CPU devices take over as it is: 64-byte aligned."""
    size = math.prod(shape) * dtype.itemsize
    room = np.empty(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype).reshape(shape)


def _folded(spans: Sequence[tuple[int, int]], shape: Sequence[int]) -> slice:
    """Gives the range of a folded dimension; only the first of the folded ones may be cut."""
    inner = math.prod(shape[1:])
    for (start, stop), size in zip(spans[1:], shape[1:], strict=True):
        if (start, stop) != (0, size):
            raise ValueError(f"a cut through an inner dimension: {spans} of {shape}")
    return slice(spans[0][0] * inner, spans[0][1] * inner)
