"""FLOPs of a step of a model as it is written, before any compiler: what MFU is a share of."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from jax.extend import core

from signbind_jax.errors import SignBindError

if TYPE_CHECKING:  # it imports what counts the FLOPs of a run
    from signbind_jax.preflight.programs import Programs

_AGAIN = "rematted_computation"  # in the name stack of what jax.checkpoint computes again


def model_flops(programs: "Programs") -> float:
    """Counts FLOPs of matrix products and convolutions of one step's gradients, all chips together.

    Forward and backward as differentiated, without what remat computes again. Only products that
    are needed are there: a frozen weight has no gradient.
    """
    return jaxpr_flops(programs.trace_gradients().jaxpr)


def jaxpr_flops(jaxpr: core.Jaxpr) -> float:
    """Counts FLOPs of the matrix products and convolutions of a jaxpr, loops and calls included.

    What a backward pass computes again does not count; of a conditional the most expensive
    branch does.

    Raises:
      SignBindError: a product in a while loop, of which nobody knows how often it runs.
    """
    return sum(_flops(eqn) for eqn in jaxpr.eqns if not _is_again(eqn))


def _is_again(eqn) -> bool:
    return _AGAIN in str(eqn.source_info.name_stack)


def _flops(eqn) -> float:
    name = eqn.primitive.name
    if name == "dot_general":
        (inner, _), (batch, _) = eqn.params["dimension_numbers"]
        left, right = (v.aval.shape for v in eqn.invars[:2])
        contracted = math.prod(left[i] for i in inner)
        shared = math.prod(left[i] for i in batch)
        return 2.0 * math.prod(left) * math.prod(right) / (contracted * shared)
    if name == "conv_general_dilated":
        return _convolution(eqn)
    inside = [jaxpr_flops(jaxpr) for jaxpr in _inside(eqn.params)]
    if name == "scan":
        return eqn.params["length"] * sum(inside)
    if name == "cond":
        return max(inside)
    if name == "while" and sum(inside):
        raise SignBindError(
            "model FLOPs: found matrix products in a while loop, wanted a scan: "
            "how often it runs is not known"
        )
    if name == "shard_map":
        return math.prod(eqn.params["mesh"].shape.values()) * sum(inside)
    return sum(inside)


def _convolution(eqn) -> float:
    """Counts as if no place of the window lay in padding, which is at most a few per cent more."""
    right, out = eqn.invars[1].aval.shape, eqn.outvars[0].aval.shape
    spec = eqn.params["dimension_numbers"].rhs_spec
    return 2.0 * math.prod(out) * math.prod(right) / right[spec[0]]


def _inside(value) -> Iterator[core.Jaxpr]:
    """Lists the jaxprs among an equation's parameters, once each."""
    if isinstance(value, core.ClosedJaxpr):
        yield value.jaxpr
    elif isinstance(value, core.Jaxpr):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _inside(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _inside(part)
