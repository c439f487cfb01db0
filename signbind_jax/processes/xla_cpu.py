"""What only XLA's CPU backend is told or spared, and what was measured of it.

Figures are of two cores; docs/develop/decisions.md has more of each. JAX is imported late: the
launchers run without it.
"""

# XLA's CPU compiler spends a third of its time in LLVM passes that gain nothing here: a training
# step compiled in 17.8 s instead of 27.6 and ran no slower. Accelerators do not read the flag.
COMPILE_FLAG = "--xla_llvm_disable_expensive_passes=true"

# A process on one core gains nothing from a pool of threads for its matrix products.
ONE_CORE_FLAG = "--xla_cpu_multi_thread_eigen=false"

# XLA takes fresh memory for every step. In pages of 2 MB instead of 4 kB the kernel hands it out
# so much faster that a step of the signing expert takes 0.086 instead of 0.117 s. glibc reads it
# when a process starts.
ALLOCATOR = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def is_backend() -> bool:
    """Whether JAX computes on the CPU."""
    import jax

    return jax.default_backend() == "cpu"


def runs_side_by_side(n_cores: int) -> bool:
    """Whether independent runs should go side by side, each on its share of the cores.

    Small models leave most of a core idle when XLA splits every operation over all of them: on
    two cores, two experts at a time finish sooner than one after the other. An accelerator would
    be shared.

    n_cores: that this process may run on.
    """
    return n_cores > 1 and is_backend()


def unstacks_layers() -> bool:
    """Whether a generation loop unstacks the model's layers.

    On the CPU it does, which costs a copy of the weights: XLA would otherwise copy all of them
    and the cache at every step. On accelerators, where memory is scarce and a scan reads a layer
    where it lies, the stack is scanned (`models.llm`: `LanguageModel.unstacked`).
    """
    return is_backend()
