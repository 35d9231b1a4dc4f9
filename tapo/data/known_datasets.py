"""The datasets that the paper trains and evaluates on, as they are on the Hugging Face hub."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownDataset:
    """Where a dataset is; its columns are `problem` and `answer`, its split on the hub is `train`."""

    hub_id: str | None
    """Dataset on the hub; None where the user has to name a source."""
    split: str | None = "test"
    """What `extra_info.split` says; None where it is the split that is loaded."""


KNOWN_DATASETS = {
    "deepscaler": KnownDataset("agentica-org/DeepScaleR-Preview-Dataset", split="train"),
    "aime2024": KnownDataset("HuggingFaceH4/aime_2024"),
    "aime2025": KnownDataset("MathArena/aime_2025"),
    "hmmt_feb_2025": KnownDataset("MathArena/hmmt_feb_2025"),
    "custom": KnownDataset(None, split=None),
}
"""By the name that becomes `data_source`."""


def known_dataset(name: str | None) -> KnownDataset:
    """A dataset by its name.

    Raises:
        ValueError: an unknown name.
    """
    if name not in KNOWN_DATASETS:
        raise ValueError(f"name = {name!r} cannot work: allowed are {', '.join(KNOWN_DATASETS)}")
    return KNOWN_DATASETS[name]
