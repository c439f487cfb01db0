"""Run by test_hlo_costs.py with eight simulated devices; prints JSON."""

import dataclasses
import json

from signbind_jax.config import load_config
from signbind_jax.distributed import sharding
from signbind_jax.preflight import hlo
from signbind_jax.preflight.costs import cost_of
from signbind_jax.preflight.model_flops import model_flops
from signbind_jax.preflight.programs import GRADIENTS, Programs
from tests.unit.preflight import hlo_dumps


def step_facts(frames: int) -> dict:
    """What a tiny decoder's training step costs whose weights are spread over all devices."""
    overrides = {
        "mesh.fsdp": "8",
        "data.batch_multiple": "8",
        "assumed.longest": "32",
        "data.frames_per_batch": str(frames),
    }
    config = load_config("language_model:size=tiny", overrides)
    programs = Programs(config, sharding.make_mesh(fsdp=8))
    remat = dataclasses.replace(config, model=config.model | {"remat": True})
    cost = cost_of(hlo.parse(programs.all()[GRADIENTS]().as_text()), matrix_unit=128)
    return {
        "flops": cost.flops,
        "model_flops": model_flops(programs),
        "model_flops_with_remat": model_flops(Programs(remat, programs.mesh)),
        "moved": sum(c.count * c.n_bytes for c in cost.collectives),
    }


if __name__ == "__main__":
    gathered = cost_of(hlo.parse(hlo_dumps.gathered_in_a_loop()), matrix_unit=128)
    facts = {
        "gathered": [dataclasses.asdict(c) for c in gathered.collectives],
        "step": step_facts(512),
        "larger_step": step_facts(1024),
    }
    print(json.dumps(facts))
