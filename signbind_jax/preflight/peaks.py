"""Peaks of the devices a run may be on: what model FLOPs utilisation is a share of."""

from signbind_jax.preflight.topologies import GENERATIONS

# As JAX names them (`device_kind`); a v5p calls itself by either name.
_TPUS = {
    "TPU v4": "v4",
    "TPU v5 lite": "v5e",
    "TPU v5e": "v5e",
    "TPU v5": "v5p",
    "TPU v5p": "v5p",
    "TPU v6 lite": "v6e",
    "TPU v6e": "v6e",
}
# bfloat16 products accumulated in float32, without sparsity (NVIDIA's data sheets). Whole names:
# a part of a device (MIG) or another board of the same chip has another peak.
_NVIDIA = {
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100-PCIE-40GB": 312e12,
    "NVIDIA A100 80GB PCIe": 312e12,
    "NVIDIA L4": 121e12,
    "NVIDIA L40S": 362e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H200": 989e12,
    "NVIDIA GH200 480GB": 989e12,
    "NVIDIA B200": 2250e12,
}


def peak_flops(device_kind: str) -> float | None:
    """Gives bfloat16 operations a second of one device; None where they are not known."""
    if device_kind in _TPUS:
        return GENERATIONS[_TPUS[device_kind]].peak_flops
    return _NVIDIA.get(device_kind)
