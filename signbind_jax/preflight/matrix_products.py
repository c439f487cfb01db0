"""Matrix products of an HLO program: dots, and what a TPU's compiler writes as convolutions."""

import math
import re
from dataclasses import dataclass

from signbind_jax.errors import SignBindError
from signbind_jax.preflight.hlo import Array, Instruction

SUBLANES = 8  # rows that a TPU's registers hold together; a product streams rows in eights
# Multiplications in bfloat16 that one in float32 is made of, by precision.
_PASSES = {"default": 1, "high": 3, "highest": 6}


@dataclass(frozen=True)
class Product:
    """`batch` products of (rows x inner) and (inner x columns) matrices.

    Attributes:
      work: multiplications, where they are fewer than the sizes say (edges of convolutions).
      passes: over the matrix unit, for float32 at high precision.
      on_matrix_unit: False for depthwise convolutions, which vector units compute.
    """

    batch: int
    rows: int
    columns: int
    inner: int
    work: float
    passes: int = 1
    on_matrix_unit: bool = True

    @property
    def flops(self) -> float:
        """A multiplication and an addition are two."""
        return 2.0 * self.work

    def padded_flops(self, unit: int) -> float:
        """Counts the FLOPs with which the matrix unit is busy.

        It holds `unit` x `unit` of one factor while rows of the other stream through. So the
        inner dimension and the smaller outer one are rounded up to multiples of `unit`, the
        larger outer one to a multiple of 8 (sublanes). Dimensions of one side count as one: the
        compiler may lay them end to end. Float32 products at high or highest precision take 3
        or 6 passes.
        """
        if not self.on_matrix_unit:
            return self.flops
        short, long = sorted((self.rows, self.columns))
        whole = _up(self.inner, unit) * _up(short, unit) * _up(long, SUBLANES)
        return 2.0 * self.batch * whole * self.passes


def _up(size: int, to: int) -> int:
    return -(-size // to) * to


def product_of(instruction: Instruction, operands: tuple[Array, ...]) -> Product | None:
    """Describes the product that an instruction computes; None for one that computes none.

    Raises:
      SignBindError: a dot or convolution whose sizes do not fit together.
    """
    if instruction.opcode == "dot":
        return _dot(instruction, *operands[:2])
    if instruction.opcode == "convolution":
        return _convolution(instruction, *operands[:2])
    if instruction.opcode == "custom-call" and re.search(
        r"(onednn|cublas|eigen)\S*matmul", instruction.attribute("custom_call_target").lower()
    ):
        return _library_product(instruction, operands[0])
    return None


def _passes(instruction: Instruction, operands: tuple[Array, ...]) -> int:
    found = re.findall(r"default|highest|high", instruction.attribute("operand_precision"))
    if any(array.dtype != "f32" for array in operands):
        return 1
    return max((_PASSES[name] for name in found), default=1)


def _dot(instruction: Instruction, left: Array, right: Array) -> Product:
    inner_left = instruction.numbers("lhs_contracting_dims")
    batch_left = instruction.numbers("lhs_batch_dims")
    inner_right = instruction.numbers("rhs_contracting_dims")
    batch_right = instruction.numbers("rhs_batch_dims")
    inner = math.prod(left.dims[i] for i in inner_left)
    if inner != math.prod(right.dims[i] for i in inner_right):
        raise SignBindError(
            f"HLO: {instruction.name}: found contracted sizes that differ, of "
            f"{left.dims} and {right.dims}"
        )
    batch = math.prod(left.dims[i] for i in batch_left)
    rows = _rest(left, inner_left + batch_left)
    columns = _rest(right, inner_right + batch_right)
    return Product(
        batch,
        rows,
        columns,
        inner,
        float(batch) * rows * columns * inner,
        _passes(instruction, (left, right)),
    )


def _rest(array: Array, without: tuple[int, ...]) -> int:
    return math.prod(size for i, size in enumerate(array.dims) if i not in without)


def _library_product(instruction: Instruction, left: Array) -> Product:
    """Describes a product that a library computes: the last two dimensions are the matrices'."""
    *batch, rows, columns = instruction.arrays[0].dims
    n = math.prod(batch)
    inner = left.size // (n * rows)
    return Product(n, rows, columns, inner, float(n) * rows * columns * inner)


@dataclass(frozen=True)
class _Window:
    """A spatial dimension of a convolution."""

    size: int = 1
    stride: int = 1
    low: int = 0
    lhs_dilate: int = 1
    rhs_dilate: int = 1

    def pairs(self, n_in: int, n_out: int) -> int:
        """Counts the pairs of an output and an input place that is neither padding nor a gap."""
        count = 0
        for out in range(n_out):
            for offset in range(self.size):
                at = out * self.stride + offset * self.rhs_dilate - self.low
                count += at >= 0 and at % self.lhs_dilate == 0 and at // self.lhs_dilate < n_in
        return count


def _windows(text: str, n: int) -> list[_Window]:
    fields = dict(part.split("=", 1) for part in text.strip("{}").split() if "=" in part)

    def numbers(name, default):
        return [int(x) for x in fields[name].split("x")] if name in fields else [default] * n

    low = [int(x.split("_")[0]) for x in fields["pad"].split("x")] if "pad" in fields else [0] * n
    return [
        _Window(*each)
        for each in zip(
            numbers("size", 1),
            numbers("stride", 1),
            low,
            numbers("lhs_dilate", 1),
            numbers("rhs_dilate", 1),
            strict=True,
        )
    ]


def _convolution(instruction: Instruction, left: Array, right: Array) -> Product:
    """Describes a convolution, also one whose spatial dimensions are a product's batch or sides.

    A TPU's compiler writes a product's further dimensions as spatial ones: a window of one is a
    dimension of the left factor (rows), an input of one place is a dimension of the right factor
    (columns), and where each output place meets one input place through a wider window it is a
    dimension of both (batch). What else a window covers is summed over.
    """
    labels = re.fullmatch(r"(\w+)_(\w+)->(\w+)", instruction.attribute("dim_labels"))
    if not labels:
        raise SignBindError(
            f"HLO: {instruction.name}: dim_labels: found {instruction.attribute('dim_labels')!r}"
        )
    of_left, of_right, of_out = labels.groups()
    out = instruction.arrays[0]
    spatial = sorted(label for label in of_out if label.isdigit())
    window = instruction.attribute("window")
    windows = _windows(window, len(spatial)) if window else [_Window()] * len(spatial)
    features = int(instruction.attribute("feature_group_count") or 1)
    groups = features * int(instruction.attribute("batch_group_count") or 1)
    channels_in = right.dims[of_right.index("i")]
    columns = out.dims[of_out.index("f")] // groups
    rows, batch, inner = out.dims[of_out.index("b")], groups, float(channels_in)
    work = float(rows) * out.dims[of_out.index("f")] * channels_in
    for label, each in zip(spatial, windows, strict=True):
        n_in, n_out = left.dims[of_left.index(label)], out.dims[of_out.index(label)]
        pairs = each.pairs(n_in, n_out)
        work *= pairs
        if each.size > 1 and n_in == 1 and pairs == n_out:
            columns *= n_out
        elif each.size > 1 and n_out > 1 and pairs == n_out == n_in:
            batch *= n_out
        else:
            rows *= n_out
            inner *= pairs / n_out
    depthwise = features > 1 and channels_in == 1
    return Product(
        batch,
        rows,
        columns,
        math.ceil(inner),
        work,
        _passes(instruction, (left, right)),
        not depthwise,
    )
