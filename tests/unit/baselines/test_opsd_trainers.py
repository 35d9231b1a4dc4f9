"""A step of self-distillation on a base trainer and a store that only remember, and a policy of two tokens."""

from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_base import PPOTrainer

from tapo import transfer
from tapo.baselines.opsd.config import OpsdConfig
from tapo.baselines.opsd.loss import (
    IDS_FIELD,
    LOG_PROBS_FIELD,
    LOSS_FIELD,
    MASK_FIELD,
    TEACHER_FIELD,
    DivergenceLoss,
    TeacherPass,
)
from tapo.baselines.opsd.metrics import Lesson
from tapo.baselines.opsd.trainers import OpsdTrainer, TeacherLogProbs
from tests.stand_ins.transfer import Store

TEACHER_LOG_PROB, STUDENT_LOG_PROB = -0.5, -1.25
GRPO_ADVANTAGE = 2.0
K = 2


class Base:
    """Stands in for verl's trainer."""

    def _compute_old_log_prob(self, batch, metrics):
        for key in batch.keys:
            length = len(self.store.rows[key]["response_mask"])
            self.store.rows[key]["old_log_probs"] = torch.full((length,), STUDENT_LOG_PROB)
        return batch

    def _compute_advantage(self, batch, metrics):
        for key in batch.keys:
            self.store.rows[key]["advantages"] = GRPO_ADVANTAGE * self.store.rows[key]["response_mask"].float()
        batch.fields = ["advantages"]
        return batch

    def _update_actor(self, batch, metrics):
        self.updated = batch
        return batch

    def _compute_metrics(self, batch, metrics, *args, **kwargs):
        metrics["critic/score/mean"] = 0.5


class Teacher(TeacherLogProbs):
    __init__ = object.__init__
    _compute_advantage, _update_actor = Base._compute_advantage, Base._update_actor
    _compute_metrics = Base._compute_metrics


class Trainer(OpsdTrainer, Teacher):
    on_sample_end = on_step_end = None

    def __init__(self, tokenizer, store, ranks=1, micro_batch=None, **options):
        self.opsd, self.store, self.tokenizer = OpsdConfig(**options), store, tokenizer
        self._taught, self._rollouts, self._lesson = {}, [], Lesson()
        self._context, self.global_steps, self.passes = 10_000, 3, []
        self.actor_rollout_wg = SimpleNamespace(
            _dispatch_info={"actor": list(range(ranks))}, compute_log_prob=self._score_rows
        )
        rollout = {"temperature": 0.7, "response_length": 40, "log_prob_use_dynamic_bsz": micro_batch is None}
        rollout |= {"log_prob_micro_batch_size_per_gpu": micro_batch, "log_prob_max_token_len_per_gpu": 1000}
        self.config = OmegaConf.create({"data": {}, "actor_rollout_ref": {"rollout": rollout}})

    def _score_rows(self, batch):
        """The teacher gives every token the same probability, and says at each position where it stands."""
        self.passes.append(batch)
        for key in batch.keys:
            row = self.store.rows[key]
            length = len(row["input_ids"])
            assert torch.equal(row["input_ids"], torch.cat([row["prompts"], row["responses"]]))
            assert torch.equal(row["position_ids"], torch.arange(length))
            row["log_probs"] = torch.full((length,), TEACHER_LOG_PROB)
            row["log_probs"][-1] = -99.0  # of what would follow the response
            if TEACHER_FIELD in batch.extra_info:
                row[LOG_PROBS_FIELD] = -torch.arange(length).float()[:, None].expand(length, K).clone()
                row[IDS_FIELD] = torch.arange(length)[:, None].expand(length, K).clone().int()


@pytest.fixture(autouse=True)
def base(monkeypatch):
    """`super()` of the teacher's class is the stand-in."""
    monkeypatch.setattr(PPOTrainer, "_compute_old_log_prob", Base._compute_old_log_prob)


@pytest.fixture
def store(monkeypatch):
    store = Store()
    store.install(monkeypatch, transfer)
    return store


def put(store, tokenizer, key, text, reward, asked="1+1?"):
    uid = key.split("_")[0]
    ids = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
    scores = torch.zeros(len(ids))
    scores[-1] = reward
    mask = torch.ones(len(ids), dtype=torch.int64)
    fields = {"responses": torch.tensor(ids), "rm_scores": scores, "response_mask": mask}
    fields |= {"position_ids": torch.arange(4 + len(ids)), "uid": uid, "extra_info": {"solution": "It is 2."}}
    store.put(key, raw_prompt=[{"role": "user", "content": asked}], **fields)
    return {"seq_len": 4 + len(ids), "prompt_len": 4, "response_len": len(ids)}


@pytest.fixture
def batch(store, tokenizer):
    """A query with one correct rollout of three, one with none, and a padding row."""
    rows = [
        ("u_0_0", "84", 1.0),
        ("u_1_0", "55 or", 0.0),
        ("u_2_0", "55", 0.0),
        ("v_0_0", "7", 0.0),
        ("pad_0_0", "", 0),
    ]
    tags = [put(store, tokenizer, *row) for row in rows]
    tags[-1]["is_padding"] = True
    store.rows["pad_0_0"]["response_mask"] = torch.zeros(1, dtype=torch.int64)
    return KVBatchMeta(partition_id="train", keys=[row[0] for row in rows], tags=tags, extra_info={})


def step(trainer, batch):
    metrics = {}
    batch = trainer._compute_old_log_prob(batch, metrics)
    batch = trainer._compute_advantage(batch, metrics)
    trainer._update_actor(batch, metrics)
    trainer._compute_metrics(batch, metrics)
    return metrics


def advantages(store, key):
    assert torch.equal(store.rows[key]["advantages"], store.rows[key]["returns"])
    return store.rows[key]["advantages"].tolist()


LOG_RATIO = TEACHER_LOG_PROB - STUDENT_LOG_PROB


@pytest.mark.parametrize(
    ("options", "expected", "untaught"),
    [
        ({}, LOG_RATIO, 0.0),
        ({"coefficient": 2.0}, 2 * LOG_RATIO, 0.0),
        ({"clip": 0.25, "coefficient": 2.0}, 0.5, 0.0),
        ({"task_rewards": True}, GRPO_ADVANTAGE + LOG_RATIO, GRPO_ADVANTAGE),
    ],
)
def test_the_advantage_is_the_log_ratio_of_each_token_where_there_is_a_teacher(
    store, tokenizer, batch, options, expected, untaught
):
    step(Trainer(tokenizer, store, **options), batch)
    for key in ("u_1_0", "u_2_0"):
        assert advantages(store, key) == pytest.approx([expected] * len(store.rows[key]["responses"]))
    # The only correct rollout has no sibling to learn from.
    for key in ("u_0_0", "v_0_0"):
        assert advantages(store, key) == [untaught] * len(store.rows[key]["responses"])
    assert advantages(store, "pad_0_0") == [0.0]


def test_the_teacher_reads_the_sibling_and_scores_the_rollouts_own_tokens(store, tokenizer, batch):
    trainer = Trainer(tokenizer, store, template="{query} Known: {solution}.")
    seen = {}

    def score(rows):
        seen.update({key: dict(store.rows[key]) for key in rows.keys})
        Trainer._score_rows(trainer, rows)

    trainer.actor_rollout_wg.compute_log_prob = score
    step(trainer, batch)
    [scored] = trainer.passes
    assert scored.extra_info == {"calculate_entropy": False, "compute_loss": False, "temperature": 0.7}
    assert sorted(key.rsplit("_", 1)[0] for key in seen) == ["u_1_0", "u_2_0"]
    for key, row in seen.items():
        assert tokenizer.decode(row["prompts"]) == "user: 1+1? Known: 84.\nassistant: "
        assert torch.equal(row["responses"], store.rows[key.rsplit("_", 1)[0]]["responses"])
    assert set(store.deleted) == set(seen) and len(store.rows) == 5


@pytest.mark.parametrize(("ranks", "micro_batch", "rows"), [(1, None, 2), (3, None, 3), (1, 4, 4), (2, 3, 6)])
def test_rows_fill_up_ranks_and_fixed_micro_batches(store, tokenizer, batch, ranks, micro_batch, rows):
    trainer = Trainer(tokenizer, store, ranks, micro_batch)
    step(trainer, batch)
    assert len(trainer.passes[0]) == rows and len(store.rows) == 5


def test_a_divergence_goes_with_the_rows_to_where_it_is_minimised(store, tokenizer, batch):
    trainer = Trainer(tokenizer, store, mode="forward_kl", top_k=K, clip=0.05, coefficient=0.3)
    step(trainer, batch)
    [scored] = trainer.passes
    assert scored.extra_info[TEACHER_FIELD] == TeacherPass(K)
    assert scored.extra_info["compute_loss"] and scored.extra_info["distillation_use_topk"]
    updated = trainer.updated
    assert updated.extra_info[LOSS_FIELD] == DivergenceLoss("forward", 0.3, 0.05) and updated.fields is None
    for key, tag in zip(batch.keys, batch.tags, strict=True):
        row, taught = store.rows[key], key in ("u_1_0", "u_2_0")
        assert row[LOG_PROBS_FIELD].shape == row[IDS_FIELD].shape == (tag["seq_len"], K)
        assert row[MASK_FIELD].tolist() == ([1] * tag["response_len"] if taught else [0] * tag["response_len"])
        assert advantages(store, key) == [0.0] * tag["response_len"]
        if taught:
            # At the last token of the prompt stands what the teacher says of the first of the response.
            teacher_prompt = trainer._taught[key].tokens - tag["response_len"]
            positions = [0, 0, 0, *range(teacher_prompt - 1, teacher_prompt + tag["response_len"] - 1), 0]
            assert row[IDS_FIELD][:, 0].tolist() == positions
            assert row[LOG_PROBS_FIELD][:, 1].tolist() == [-float(p) for p in positions]


def test_without_any_teacher_nothing_is_asked_of_the_loss(store, tokenizer, batch):
    store.rows["u_0_0"]["rm_scores"] = torch.zeros_like(store.rows["u_0_0"]["rm_scores"])
    trainer = Trainer(tokenizer, store, mode="reverse_kl")
    metrics = step(trainer, batch)
    assert trainer.passes == [] and LOSS_FIELD not in trainer.updated.extra_info
    assert metrics["opsd/rows/taught"] == metrics["opsd/groups/taught"] == 0
    assert metrics["opsd/rows/without_teacher/no_sibling"] == 4


def test_the_metrics_count_who_is_taught_and_who_is_not_and_forget_the_step(store, tokenizer, batch):
    trainer = Trainer(tokenizer, store, clip=0.5)
    metrics = step(trainer, batch)
    tokens = sum(trainer._taught[key].tokens for key in ("u_1_0", "u_2_0"))
    expected = {
        "critic/score/mean": 0.5,
        "opsd/groups/total": 2,
        "opsd/groups/taught": 1,
        "opsd/rows/taught": 2,
        "opsd/rows/without_teacher/no_sibling": 2,
        "opsd/rows/without_teacher/too_long": 0,
        "opsd/tokens/teacher": tokens,
        "opsd/log_ratio/mean": pytest.approx(LOG_RATIO),
        "opsd/log_ratio/wrong/mean": pytest.approx(LOG_RATIO),
        "opsd/log_ratio/clipped": 1.0,
        "opsd/teacher/log_prob/mean": TEACHER_LOG_PROB,
    }
    assert {key: metrics[key] for key in expected} == expected
    assert "opsd/log_ratio/correct/mean" not in metrics
    assert step(trainer, batch)["opsd/groups/total"] == 2


def test_a_solution_of_the_dataset_teaches_every_rollout(store, tokenizer, batch):
    metrics = step(Trainer(tokenizer, store, privileged="solution", solution_key="extra_info.solution"), batch)
    assert metrics["opsd/rows/taught"] == 4 and metrics["opsd/groups/taught"] == 2


@pytest.mark.parametrize("adapter", [True, False])
def test_the_initial_policy_scores_where_it_is_the_teacher(store, tokenizer, batch, adapter):
    trainer, by_reference = Trainer(tokenizer, store, teacher="initial"), []

    def score(rows):
        by_reference.append(rows)
        Trainer._score_rows(trainer, rows)

    trainer.ref_in_actor, trainer.ref_policy_wg = adapter, SimpleNamespace(compute_ref_log_prob=score)
    metrics = step(trainer, batch)
    assert metrics["opsd/rows/taught"] == 2 and len(by_reference) == (0 if adapter else 1)
    assert trainer.passes[0].extra_info.get("no_lora_adapter", False) is adapter


def test_rows_that_the_actor_cannot_take_or_that_answer_other_prompts_are_counted(store, tokenizer, batch):
    trainer = Trainer(tokenizer, store)
    trainer._context = 20
    metrics = step(trainer, batch)
    assert metrics["opsd/rows/without_teacher/too_long"] == 2
    batch.tags.append(put(store, tokenizer, "u_1_1", "again", 0.0))
    batch.keys.append("u_1_1")
    metrics = step(Trainer(tokenizer, store), batch)
    assert metrics["opsd/rows/without_teacher/unsupported_query"] == 2


def test_a_sibling_that_was_cut_off_is_shown_to_nobody(store, tokenizer, batch):
    long = tokenizer.encode("84" * 40, add_special_tokens=False)[:40]
    store.rows["u_0_0"]["responses"] = torch.tensor(long)
    assert step(Trainer(tokenizer, store), batch)["opsd/rows/taught"] == 0


def test_correct_is_what_the_correct_key_says(store, tokenizer, batch):
    for key, row in store.rows.items():
        row["extra_fields"] = {"reward_extra_info": {"acc": key == "u_2_0"}}
    trainer = Trainer(tokenizer, store, correct_key="acc")
    step(trainer, batch)
    assert sorted(trainer._taught) == ["u_0_0", "u_1_0"]
    trainer = Trainer(tokenizer, store, correct_key="accuracy")
    with pytest.raises(ValueError, match=r"opsd\.correct_key = 'accuracy' .* extra info has acc"):
        step(trainer, batch)
