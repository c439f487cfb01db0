"""libtpu on a machine without a TPU: what it has to be told, or it asks a cloud and complains."""

from pathlib import Path

_VENDOR = "0x1ae0"  # Google, on the PCI bus
ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-16",
    "TPU_WORKER_ID": "0",
    "TPU_STDERR_LOG_LEVEL": "3",
}


def attached() -> bool:
    """Says whether a TPU is on this machine's PCI bus."""
    vendors = Path("/sys/bus/pci/devices").glob("*/vendor")
    return any(path.read_text().strip() == _VENDOR for path in vendors)
