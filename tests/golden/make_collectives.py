"""Writes tests/golden/collectives.json: what small configs send between eight CPU devices.

python -m tests.golden.make_collectives
"""

import json
from collections import Counter
from pathlib import Path

from signbind_jax.preflight.check import check
from signbind_jax.preflight.outcome import Outcome

FILE = Path(__file__).with_name("collectives.json")
_TRANSLATION = {"data.batch_multiple": "8", "options.generation.max_new_tokens": "4"}
# name -> (config, overrides)
CONFIGS = {
    "signing, data 8": ("signing:size=tiny", {"data.batch_multiple": "8"}),
    "signing, fsdp 4 x tensor 2": (
        "signing:size=tiny",
        {"data.batch_multiple": "8", "mesh.fsdp": "4", "mesh.tensor": "2"},
    ),
    "translation, fsdp 2 x tensor 2": (
        "translation:size=tiny",
        {**_TRANSLATION, "mesh.fsdp": "2", "mesh.tensor": "2"},
    ),
}
TOPOLOGY, TIMEOUT_S = "cpu:8", 300


def found(name: str) -> Outcome:
    """Preflight of one of CONFIGS."""
    spec, overrides = CONFIGS[name]
    return check(spec, overrides, TOPOLOGY, TIMEOUT_S)


def collectives(outcome: Outcome) -> dict[str, dict[str, int]]:
    """Program -> "kind among devices" -> how often."""
    out = {}
    for program, cost in outcome.costs.items():
        counts = Counter()
        for c in cost["collectives"]:
            counts[f"{c['kind']} among {c['group_size']}"] += c["count"]
        out[program] = dict(sorted(counts.items()))
    return out


def main() -> None:
    golden = {name: collectives(found(name)) for name in CONFIGS}
    FILE.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
