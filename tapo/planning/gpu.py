"""What GPUs can do, by their data sheets."""

from typing import NamedTuple


class Gpu(NamedTuple):
    """One of them.

    Attributes:
        memory_gib: in all.
        flops: dense bfloat16 operations a second.
        bytes_per_s: of its memory.
    """

    memory_gib: float
    flops: float
    bytes_per_s: float


# NVIDIA's data sheets of the SXM versions, without sparsity; memory as nvidia-smi shows it.
GPUS = {
    "a100": Gpu(79.2, 312e12, 2.04e12),
    "h100": Gpu(79.6, 989e12, 3.35e12),
    "h200": Gpu(139.8, 989e12, 4.8e12),
    "b200": Gpu(178.4, 2250e12, 7.7e12),
}
