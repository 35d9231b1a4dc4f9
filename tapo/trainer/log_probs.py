"""Old log-probs and entropies of a step's rows."""

from collections.abc import Iterator
from contextlib import contextmanager

from verl.trainer.ppo.v1.trainer_base import PPOTrainer

from tapo.trainer.batch import split
from tapo.transfer import KVBatchMeta


class SplitLogProbs(PPOTrainer):
    """Old log-probs of rollouts and of constructed rows, each on their own.

    A base of verl's trainers in the method order, so that whatever a trainer does around the computation (the separate
    mode copies the model) is done once for both.
    """

    def _compute_old_log_prob(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        rollouts, refs = split(batch)
        super()._compute_old_log_prob(rollouts, metrics)
        if len(refs):
            # verl's entropy and rollout-difference metrics cover the rollouts alone.
            with self._recomputed():
                super()._compute_old_log_prob(refs, {})
        return batch

    @contextmanager
    def _recomputed(self) -> Iterator[None]:
        """No engine sampled constructed rows from their query, so that bypass mode has nothing to take over."""
        correction = self.config.algorithm.get("rollout_correction")
        if not correction or not correction.get("bypass_mode", False):
            yield
            return
        correction.bypass_mode = False
        try:
            yield
        finally:
            correction.bypass_mode = True
