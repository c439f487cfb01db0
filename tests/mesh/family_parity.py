"""Compares every golden family with its reference on a mesh of all devices; prints JSON.

Run as a program, because the number of simulated devices is fixed when JAX starts:
python -m tests.mesh.family_parity DATA_AXIS FSDP TENSOR CASES
"""

import json
import sys

import jax
import numpy as np
from flax import nnx

from signbind_jax import generation
from signbind_jax.distributed import sharding
from tests.golden.families_of_reference import (
    EOS,
    FAMILIES,
    NAMES,
    load,
    logits_agree,
    sentences_agree,
)

forward = nnx.jit(lambda decoder, x, mask: decoder(x, mask))


def compare(name: str, mesh, cases: int) -> dict:
    """What agrees for one family, and the parts of a row and of its kernels on one device."""
    decoder = load(FAMILIES / name, mesh)
    reference = np.load(FAMILIES / name / "reference.npz")
    batch = {part: reference[part][:cases] for part in ("soft", "mask")}
    soft, mask = (sharding.put_batch(batch, mesh)[part] for part in ("soft", "mask"))

    def write(beam_size: int):
        config = generation.GenerationConfig(max_new_tokens=14, beam_size=beam_size)
        return generation.generate(decoder, soft, mask, config, eos_id=EOS, pad_id=0)[0]

    # Logits are stored for the first four cases.
    logits = np.asarray(forward(decoder, soft, mask))[:4]
    shards = {
        part: getattr(decoder.layers, part).kernel[...].addressable_shards[0].data.shape
        for part in ("q", "k", "gate")
    }
    return {
        "logits": logits_agree(logits, reference["logits_of_soft"], batch["mask"][:4]),
        "greedy": sentences_agree(write(1), reference["greedy"][:cases]),
        "beam": sentences_agree(write(4), reference["beam"][:cases]),
        "rows": soft.addressable_shards[0].data.shape[0],
        "shards": shards,
    }


def main(data: str, fsdp: str, tensor: str, cases: str) -> None:
    mesh = sharding.make_mesh(int(data), int(fsdp), int(tensor))
    assert mesh.size == jax.device_count()
    print(json.dumps({name: compare(name, mesh, int(cases)) for name in NAMES}))


if __name__ == "__main__":
    main(*sys.argv[1:])
