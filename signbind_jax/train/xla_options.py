"""XLA options of the programs that train, by platform: one place, so that `signbind preflight`
compiles with what a run compiles with."""

from jax.sharding import Mesh

OPTIONS: dict[str, dict[str, str]] = {
    "tpu": {
        # A windowed einsum turns a gather into permutes inside loops: a third more HBM traffic
        # and, where a slice is no multiple of 128, half-empty matrix units
        # (docs/use/check_fit_and_speed.md).
        "xla_jf_spmd_threshold_for_windowed_einsum_mib": "1000000",
    },
}


def options(mesh: Mesh) -> dict[str, str] | None:
    """Compiler options for programs on the devices of a mesh; None where there are none."""
    return OPTIONS.get(mesh.devices.flat[0].platform)
