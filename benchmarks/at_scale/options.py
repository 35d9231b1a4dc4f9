"""What is simulated, and at which rates."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rates:
    """A replica of the engine. The defaults are round numbers near an 8B model in bfloat16 on one H100.

    Attributes:
        slots: sequences that are served at once; others wait in line.
        prefill_tokens_per_s: one prompt after the other, beside the decoding, which it does not slow down.
        step_s, step_s_per_sequence: a decoding step takes the first, and the second for each sequence of the batch.
        block: tokens of a block of the prefix cache; only whole blocks are found again.
        cache_tokens: tokens that the prefix cache holds; the blocks that were used longest ago go first.
    """

    slots: int = 256
    prefill_tokens_per_s: float = 20_000.0
    step_s: float = 0.008
    step_s_per_sequence: float = 0.0001
    block: int = 16
    cache_tokens: int = 400_000

    def decode_tokens_per_s(self, batch: int) -> float:
        """Of each sequence in a batch of so many."""
        return 1.0 / (self.step_s + self.step_s_per_sequence * batch)


@dataclass(frozen=True)
class Policy:
    """What the simulated model answers.

    Attributes:
        median_share, sigma: of a rollout's log-normal length, the median as a share of the most tokens that the run
            allows; what is longer than those is cut off.
        errors_from: earliest place at which a wrong rollout errs, as a share of it; any place behind is as likely.
        bad_answers: share of construction answers that lack their tags.
        guided_accuracy, own_accuracy: share of corrections that reach the right answer, guided by the sibling or found
            by the policy itself. A rollout is correct with a probability that is uniform over queries.
    """

    median_share: float = 0.3
    sigma: float = 0.7
    errors_from: float = 0.1
    bad_answers: float = 0.1
    guided_accuracy: float = 0.9
    own_accuracy: float = 0.5


@dataclass(frozen=True)
class Scale:
    """One step.

    Attributes:
        devices: GPUs, each of them a replica while rolling out and a data-parallel rank while training.
        log_prob_tokens_per_s, update_tokens_per_s: of one device, in the passes over a batch.
    """

    queries: int = 128
    n: int = 8
    prompt_length: int = 1024
    response_length: int = 8192
    devices: int = 8
    workers: int = 8
    log_prob_tokens_per_s: float = 25_000.0
    update_tokens_per_s: float = 7_000.0
    seed: int = 0
    rates: Rates = field(default_factory=Rates)
    policy: Policy = field(default_factory=Policy)
