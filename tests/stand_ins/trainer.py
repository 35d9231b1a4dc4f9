"""A trainer on a base that only remembers what it was given, its batches, and composed configs."""

from pathlib import Path
from types import SimpleNamespace

from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from transfer_queue import KVBatchMeta

from tapo.config import TapoConfig
from tapo.core.groups import REF_TAG
from tapo.records import RecordWriter, TrainedRecord
from tapo.trainer.trainers import TapoTrainer

MODEL = Path(__file__).parents[1] / "data" / "cold_started_model"


def composed(*overrides, config="ppo_trainer"):
    estimator = [] if any("adv_estimator" in override for override in overrides) else ["algorithm.adv_estimator=grpo"]
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose(config, overrides=["actor_rollout_ref.rollout.n=8", *estimator, *overrides])


class Base:
    """Stands in for verl's trainer."""

    def __init__(self):
        self.seen = {}

    def _note(self, stage, batch, metrics):
        self.seen.setdefault(stage, []).append(list(batch.keys))
        metrics[stage] = len(batch)
        return batch

    def _balance_batch(self, batch, metrics, logging_prefix="global_seqlen", keep_minibatch=False):
        return self._note("balance", batch, metrics)

    def _compute_old_log_prob(self, batch, metrics):
        return self._note("old_log_prob", batch, metrics)

    def _compute_advantage(self, batch, metrics):
        self.seen["estimator"] = self.config.algorithm.adv_estimator
        return self._note("advantage", batch, metrics)

    def _update_actor(self, batch, metrics):
        self.seen["extra_info"] = dict(batch.extra_info)
        return self._note("update", batch, metrics)

    def _compute_metrics(self, batch, metrics, timing_raw, global_steps, epoch):
        self._note("metrics", batch, metrics)


class Trainer(TapoTrainer, Base):
    def __init__(self, micro_batch=None, **options):
        Base.__init__(self)
        self.tapo = TapoConfig.from_mapping(options)
        self._ref_rows, self._trained_dump, self.global_steps = {}, RecordWriter(None, TrainedRecord), 1
        self.use_reference_policy = self._warned_of_nothing = False
        self.tokenizer = SimpleNamespace(eos_token_id=0)
        self.actor_rollout_wg = SimpleNamespace(_dispatch_info={"actor": [0, 1]})
        self.config = OmegaConf.create(
            {
                "algorithm": {"adv_estimator": "tapo", "use_kl_in_reward": False, "norm_adv_by_std_in_grpo": True},
                "trainer": {"critic_warmup": 0},
                "actor_rollout_ref": {
                    "actor": {
                        "ppo_mini_batch_size": 1,
                        "use_dynamic_bsz": micro_batch is None,
                        "ppo_micro_batch_size_per_gpu": micro_batch,
                    },
                    "rollout": {"n": 4, "log_prob_use_dynamic_bsz": True, "log_prob_micro_batch_size_per_gpu": None},
                    "ref": {},
                },
            }
        )


def rollout_key(i, index=0):
    return f"u{i // 4}_{i % 4}_{index}"


def batch_of(n_rollouts=8, n_refs=0, **tag):
    keys = [rollout_key(i) for i in range(n_rollouts)] + [f"u0_ref_{4 + j}_0" for j in range(n_refs)]
    tags = [{"seq_len": 10, "response_len": 6, **tag} for _ in range(n_rollouts)]
    # The first of them holds a reflection of one token.
    refs = [{"source_key": "u0_0_0", "prefix_length": 1, "reflection_length": int(j == 0)} for j in range(n_refs)]
    tags += [{"seq_len": 10 + j, "response_len": 6 + j, REF_TAG: ref} for j, ref in enumerate(refs)]
    return KVBatchMeta(partition_id="train", keys=keys, tags=tags, extra_info={"temperature": 1.0})
