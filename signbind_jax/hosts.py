"""Whether the processes of a run agree."""

from collections.abc import Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils

from signbind_jax.errors import SignBindError


def check_agreement(digests: Mapping[str, str]) -> None:
    """Compares SHA-256 digests across all processes; every process has to call it.

    Hosts that drew batches of different plans would train on without an error.

    Args:
      digests: what is compared -> its digest here, in hexadecimal.

    Raises:
      SignBindError: on every process, the first thing that differs and where.
    """
    if jax.process_count() == 1:
        return
    own = np.stack([np.frombuffer(bytes.fromhex(digest), np.uint8) for digest in digests.values()])
    all_pnb = multihost_utils.process_allgather(own)
    for i, what in enumerate(digests):
        other = np.flatnonzero((all_pnb[:, i] != all_pnb[0, i]).any(axis=1))
        if other.size:
            found = bytes(all_pnb[other[0], i]).hex()[:12]
            raise SignBindError(f"{what}: found {found} on process {other[0]} and "
                                f"{bytes(all_pnb[0, i]).hex()[:12]} on process 0, wanted the same "
                                "on all: give every host the same config and a whole copy of the "
                                "same datasets")  # fmt: skip
