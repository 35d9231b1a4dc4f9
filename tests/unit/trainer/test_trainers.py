"""The stages of a step on a base trainer that only remembers what it was given."""

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_base import PPOTrainer
from verl.utils import tensordict_utils as tu

from tapo import transfer
from tapo.config import ConfigError
from tapo.core.groups import REF_TAG, REPORT_TAG
from tapo.records import RecordReader, RecordWriter, TrainedRecord
from tapo.rollout.group_report import GroupReport
from tapo.trainer import trainers
from tapo.trainer.actor import GRAD_NORMS_FIELD, MINI_BATCH_FIELD
from tapo.trainer.loss import LAMBDA_FIELD, REF_TOTALS_FIELD, RefTotals
from tapo.trainer.trainers import TapoTrainerSeparateAsync, TapoTrainerSync, chosen_by_group
from tests.stand_ins.trainer import Trainer, batch_of


@pytest.fixture
def padding(monkeypatch):
    """verl's padding without a store behind it."""

    def upsample(batch, multiple, eos):
        missing = -len(batch) % multiple
        keys = batch.keys + [f"pad_{i}_0" for i in range(missing)]
        tags = batch.tags + [{**batch.tags[0], "is_padding": True} for _ in range(missing)]
        return KVBatchMeta(partition_id=batch.partition_id, keys=keys, tags=tags)

    monkeypatch.setattr(trainers, "upsample_batch_to_divisible_size", upsample)


def test_with_nothing_constructed_every_stage_sees_grpos_batch():
    trainer, metrics = Trainer(), {}
    batch = batch_of()
    balanced = trainer._balance_batch(batch, metrics)
    assert balanced.keys == batch.keys
    trainer._compute_advantage(balanced, metrics)
    trainer._update_actor(balanced, metrics)
    for stage in ("balance", "advantage", "update"):
        assert trainer.seen[stage] == [batch.keys]
    assert trainer.seen["extra_info"] == {"temperature": 1.0, MINI_BATCH_FIELD: 4, LAMBDA_FIELD: 1.0}


def test_each_mini_batch_of_each_rank_gets_its_share_and_rollouts_keep_their_place(padding):
    trainer = Trainer()
    balanced = trainer._balance_batch(batch_of(n_refs=3), {})
    # two ranks x two mini-batches: four chunks of two rollouts and one constructed or padding row
    assert [key for key in balanced.keys if key.startswith("u") and "_ref_" not in key] == batch_of().keys
    assert len(balanced) == 12
    for chunk in range(4):
        kinds = [REF_TAG in tag for tag in balanced.tags[3 * chunk : 3 * chunk + 3]]
        assert kinds == [False, False, True]


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_the_interleaved_pipeline_gets_rows_for_each_of_its_stages(padding, micro_batch):
    trainer = Trainer(micro_batch)
    pipeline = {"virtual_pipeline_model_parallel_size": 2, "pipeline_model_parallel_size": 4}
    trainer.config.actor_rollout_ref.actor.megatron = pipeline
    balanced = trainer._balance_batch(batch_of(n_refs=3), {})
    assert len(balanced) == 8 + 4 * 4 * (micro_batch or 1)


def test_rows_are_padded_to_fixed_micro_batches(padding):
    balanced = Trainer(micro_batch=2)._balance_batch(batch_of(n_refs=3), {})
    assert len(balanced) == 8 + 4 * 2


def test_an_update_takes_as_many_steps_as_grpos_with_larger_mini_batches(padding):
    trainer = Trainer(lambda_ref=0.5, ref={"normalization": "own"})
    balanced = trainer._balance_batch(batch_of(n_refs=3), {})
    returned = trainer._update_actor(balanced, {})
    assert returned is balanced
    # Three rows of 6, 7 and 8 tokens in two mini-batches.
    totals = RefTotals(tokens=10.5, rows=1.5, longest=8)
    expected = {"temperature": 1.0, MINI_BATCH_FIELD: 6, LAMBDA_FIELD: 0.5, REF_TOTALS_FIELD: totals}
    assert trainer.seen["extra_info"] == expected
    assert MINI_BATCH_FIELD not in balanced.extra_info


def test_over_the_rollouts_the_update_divides_by_what_each_mini_batch_divides_its_rollouts_by(padding):
    trainer = Trainer()
    batch = batch_of(n_refs=3)
    batch.tags[5] = {**batch.tags[5], "response_len": 9}
    trainer._update_actor(trainer._balance_batch(batch, {}), {})
    assert trainer.seen["extra_info"][REF_TOTALS_FIELD] == RefTotals(tokens=None, rows=None, longest=9)


def test_with_lambda_zero_the_update_sees_grpos_batch(padding):
    trainer = Trainer(lambda_ref=0.0)
    balanced = trainer._balance_batch(batch_of(n_refs=3), {})
    trainer._update_actor(balanced, {})
    assert trainer.seen["update"] == [batch_of().keys]
    assert trainer.seen["extra_info"] == {"temperature": 1.0, MINI_BATCH_FIELD: 4, LAMBDA_FIELD: 0.0}


@pytest.fixture
def computed(monkeypatch):
    """(rows, bypass mode) of each computation of old log-probs by verl's own code, which reports the rows."""
    calls = []

    def compute(self, batch, metrics):
        calls.append((len(batch), (self.config.algorithm.get("rollout_correction") or {}).get("bypass_mode", False)))
        metrics["rows"] = len(batch)
        return batch

    monkeypatch.setattr(PPOTrainer, "_compute_old_log_prob", compute)
    return calls


def bare(cls, **algorithm):
    trainer = object.__new__(cls)
    trainer.config = OmegaConf.create({"algorithm": algorithm})
    return trainer


def test_log_probs_of_constructed_rows_leave_verls_metrics_alone(computed):
    metrics = {}
    bare(TapoTrainerSync)._compute_old_log_prob(batch_of(n_refs=3), metrics)
    bare(TapoTrainerSync)._compute_old_log_prob(batch_of(), {})
    assert metrics == {"rows": 8}
    assert computed == [(8, False), (3, False), (8, False)]


def test_in_bypass_mode_the_log_probs_of_constructed_rows_are_computed(computed):
    trainer = bare(TapoTrainerSync, rollout_correction={"bypass_mode": True})
    trainer._compute_old_log_prob(batch_of(n_refs=3), {})
    assert computed == [(8, True), (3, False)]
    assert trainer.config.algorithm.rollout_correction.bypass_mode is True


def test_the_separate_mode_copies_the_model_once_for_both_kinds(computed):
    copies, trainer = [], bare(TapoTrainerSeparateAsync)
    trainer.actor_rollout_wg = SimpleNamespace(
        save_model_to_cpu=lambda n: copies.append(f"save {n}"),
        restore_model_from_cpu=lambda n: copies.append(f"restore {n}"),
        clear_cpu_model=lambda n: copies.append(f"clear {n}"),
    )
    for trainer.local_trigger_step in (0, 1):
        trainer._compute_old_log_prob(batch_of(n_refs=3), {})
    assert copies == ["save 0", "save 1", "restore 0", "restore 1", "clear 1"]
    assert [rows for rows, _ in computed] == [8, 3, 8, 3]


def test_under_verls_mode_name_a_run_that_loads_the_group_gets_the_variant_and_no_other_does():
    class Plain:
        def __init__(self, config):
            self.config = config

    class Variant(Plain):
        pass

    class Own(chosen_by_group(Plain, Variant)):
        pass

    chosen = chosen_by_group(Plain, Variant)
    with_group, without = OmegaConf.create({"algorithm": {"tapo": {}}}), OmegaConf.create({"algorithm": {}})
    assert type(chosen(config=with_group)) is Variant and type(chosen(config=without)) is Plain
    assert type(Own(with_group)) is Own and Own(with_group).config is with_group


def test_a_run_in_which_no_reward_has_the_correct_key_stops_and_says_what_there_is(caplog):
    trainer = Trainer(correct_key="accuracy")
    reason = "lacks correct_key 'accuracy': the reward's extra info has acc"
    report = GroupReport(total=2, unsupported=2, usable=0, left_alone=Counter({reason: 16}))
    with pytest.raises(ConfigError, match=r"correct_key = 'accuracy' .* extra info has acc"):
        trainer._say_when_nothing_is_constructed(report)
    trainer._say_when_nothing_is_constructed(
        GroupReport(total=2, unsupported=2, usable=1, left_alone=Counter({reason: 9}))
    )
    assert not caplog.records
    for _ in range(2):
        trainer._say_when_nothing_is_constructed(
            GroupReport(total=1, unsupported=1, usable=0, left_alone=Counter(multi_turn=8))
        )
    assert len(caplog.records) == 1 and "constructs nothing: every group is left alone, for multi_turn" in caplog.text


STORED = {
    "u0_ref_4_0": {"uid": "u0_ref", "reward": 1.0, "log_probs": [-1.0, -9.0], "entropy": [1.0, 0.0], "mask": [1, 1]},
    "u0_ref_5_0": {"uid": "u0_ref", "reward": 1.0, "log_probs": [-0.5], "entropy": [0.5], "mask": [1]},
    "u0_ref_6_0": {"uid": "pad", "reward": 0.0, "log_probs": [0.0], "entropy": [0.0], "mask": [0]},
}
ROLLOUT = {"uid": "u0", "reward": 0.0, "log_probs": [0.0], "entropy": [0.0], "mask": [1]}


def nested(rows):
    return torch.nested.as_nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)


def stored_fields(keys, partition_id, select_fields):
    """What TransferQueue holds of constructed rows and rollouts."""
    rows = [STORED.get(key, ROLLOUT) for key in keys]
    fields = {
        "rm_scores": nested([[0.0] * (len(row["mask"]) - 1) + [row["reward"]] for row in rows]),
        "response_mask": nested([row["mask"] for row in rows]),
        "old_log_probs": nested([row["log_probs"] for row in rows]),
        "entropy": nested([row["entropy"] for row in rows]),
    }
    data = TensorDict({name: fields[name] for name in select_fields if name in fields}, batch_size=[len(keys)])
    if "uid" in select_fields:
        tu.assign_non_tensor_stack(data, "uid", [row["uid"] for row in rows])
    return data


@pytest.fixture
def contrasted(monkeypatch):
    """(trainer, batch, fields written) with eight rollouts, two constructed rows and one that is padding."""
    written = {}
    monkeypatch.setattr(transfer, "read_fields", stored_fields)
    monkeypatch.setattr(transfer, "write_fields", lambda keys, partition, data: written.update(data.items()))
    batch = batch_of(n_refs=3)
    batch.tags[-1] = {**batch.tags[-1], "is_padding": True}
    trainer = Trainer(ots={"spare_reflection": False})
    trainer._compute_advantage(batch, {})
    return trainer, batch, written


def test_constructed_rows_are_contrasted_with_their_sources_and_weighted_by_token(contrasted):
    _, _, written = contrasted
    # rewards (1, 1) against sources (0, 0): mean 0.5, std sqrt(1/3)
    advantage = 0.5 / (3**-0.5 + 1e-6)
    first, second, padding = (row.tolist() for row in written["advantages"].unbind())
    assert first == pytest.approx([advantage, 0.01 * advantage], rel=1e-4)
    assert second == pytest.approx([advantage], rel=1e-4) and padding == [0.0]


def test_the_advantages_of_rollouts_are_verls_own(contrasted):
    trainer, _, _ = contrasted
    assert trainer.seen["advantage"] == [batch_of().keys] and trainer.seen["estimator"] == "tapo"


def test_what_was_trained_is_kept_by_key_without_padding_rows_and_padding_tokens(contrasted):
    trainer, _, _ = contrasted
    rows = trainer._ref_rows
    assert {key: (row.uid, row.source_key, row.prefix_length) for key, row in rows.items()} == {
        "u0_ref_4_0": ("u0_ref", "u0_0_0", 1),
        "u0_ref_5_0": ("u0_ref", "u0_0_0", 1),
    }
    assert [row.weights_T.tolist() for row in rows.values()] == [[1.0, pytest.approx(0.01)], [1.0]]
    assert [row.log_probs_T.tolist() for row in rows.values()] == [[-1.0, -9.0], [-0.5]]


def test_every_row_but_padding_is_dumped_and_a_constructed_one_with_its_weights(contrasted, tmp_path, monkeypatch):
    trainer, batch, written = contrasted
    refs = dict(zip(batch.keys[-3:], written["advantages"].unbind(), strict=True))

    def read(keys, partition_id, names):
        data = stored_fields(keys, partition_id, names)
        data["advantages"] = nested([refs[key].tolist() if key in refs else [-0.5] for key in keys])
        return data

    monkeypatch.setattr(transfer, "read_fields", read)
    trainer._trained_dump = RecordWriter(str(tmp_path), TrainedRecord)
    metrics_of(trainer, batch)
    records = list(RecordReader(tmp_path, TrainedRecord))
    assert [record.key for record in records] == batch.keys[:-1]
    assert [(r.constructed, r.advantage, r.reward, r.weights) for r in records[:-2]] == [(False, -0.5, 0.0, None)] * 8
    advantage = pytest.approx(0.5 / (3**-0.5 + 1e-6))
    assert [(r.uid, r.constructed, r.advantage, r.reward) for r in records[-2:]] == [("u0_ref", True, advantage, 1)] * 2
    assert [r.weights for r in records[-2:]] == [[1.0, pytest.approx(0.01)], [1.0]]


@pytest.fixture
def coupled(monkeypatch):
    """{key: advantages written} of two queries, the first of which has two constructed rows: its rollouts are wrong but
    for the last, the second of them of two outputs and masked in part."""
    written = {}

    def read(keys, partition_id, names):
        data = stored_fields(keys, partition_id, names)
        if "rm_scores" in names and not any("_ref_" in key for key in keys):
            data["rm_scores"] = nested([[float(key == "u0_3_0")] for key in keys])
        if "response_mask" in names and not any("_ref_" in key for key in keys):
            data["response_mask"] = nested([[1, 0] if key == "u0_1_1" else [1] for key in keys])
        return data

    def write(keys, partition_id, fields):
        written.update(zip(keys, fields["advantages"].unbind(), strict=True))

    monkeypatch.setattr(transfer, "read_fields", read)
    monkeypatch.setattr(transfer, "write_fields", write)
    batch = batch_of(n_refs=2)
    batch.keys.insert(2, "u0_1_1")
    batch.tags.insert(2, dict(batch.tags[0]))
    batch.keys.insert(8, "u0_9_0")
    batch.tags.insert(8, {**batch.tags[0], "is_padding": True})

    def advantages(**options):
        written.clear()
        Trainer(advantage="coupled", ots={"enable": False}, **options)._compute_advantage(batch, {})
        return {key: values.tolist() for key, values in written.items()}

    return advantages


def test_coupled_rows_of_both_kinds_have_one_mean_and_one_std(coupled):
    found = coupled()
    # Sessions 0 to 2 wrong, 3 correct, two constructed rows correct; the second query has GRPO's advantages.
    rewards = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    wrong, right = ((value - 0.5) / (rewards.std().item() + 1e-6) for value in (0.0, 1.0))
    assert found == {
        "u0_0_0": [pytest.approx(wrong)],
        "u0_1_0": [pytest.approx(wrong)],
        "u0_1_1": [pytest.approx(wrong), 0.0],
        "u0_2_0": [pytest.approx(wrong)],
        "u0_3_0": [pytest.approx(right)],
        "u0_ref_4_0": [pytest.approx(right)] * 2,
        "u0_ref_5_0": [pytest.approx(right)],
    }


def test_coupled_rows_that_are_not_trained_leave_the_rollouts_alone(coupled):
    assert set(coupled(lambda_ref=0.0)) == {"u0_ref_4_0", "u0_ref_5_0"}


def test_the_scheduled_weight_is_a_function_of_the_global_step_and_at_zero_the_update_is_grpos(padding):
    trainer = Trainer(lambda_schedule={"shape": "linear"}, ref={"grad_norms_every": 2})
    trainer.total_training_steps = 4
    seen = {}
    for trainer.global_steps in (1, 2, 5):
        trainer._update_actor(trainer._balance_batch(batch_of(n_refs=3), {}), {})
        seen[trainer.global_steps] = trainer.seen["extra_info"]
    assert {step: info[LAMBDA_FIELD] for step, info in seen.items()} == {1: 1.0, 2: 0.75, 5: 0.0}
    assert trainer.seen["update"][-1] == batch_of().keys and REF_TOTALS_FIELD not in seen[5]
    assert {step for step, info in seen.items() if GRAD_NORMS_FIELD in info} == {2}


def test_gradient_norms_have_a_name_of_their_own_among_verls_metrics():
    metrics = {"actor/tapo/grad_norm/rollouts": 0.5, "actor/grad_norm": 1.0}
    Trainer()._update_actor(batch_of(), metrics)
    assert {"tapo/grad_norm/rollouts": 0.5, "actor/grad_norm": 1.0}.items() <= metrics.items()


def metrics_of(trainer, batch):
    metrics = {}
    trainer._compute_metrics(batch, metrics, {}, 1, 0)
    return metrics


def test_the_metrics_of_a_step_average_over_its_constructed_rows_and_their_tokens(contrasted):
    trainer, batch, _ = contrasted
    metrics = metrics_of(trainer, batch)
    expected = {
        "tapo/tokens/construct_trained": 3,
        "tapo/ref/dead_groups": 0,
        "tapo/ref/reward/mean": 1.0,
        "tapo/ref/response_length/mean": 1.5,
        "tapo/ref/log_prob/mean": -3.5,
        "tapo/ref/entropy/mean": 0.5,
        "tapo/ots/weight/mean": pytest.approx(0.67),
        "tapo/ots/weight/prefix/mean": 1.0,
        "tapo/ots/weight/correction/mean": pytest.approx(0.01),
        "tapo/ots/weight/reflection/max": pytest.approx(0.01),
        "tapo/ots/weight/reflection_first/mean": pytest.approx(0.01),
        "tapo/ref/log_prob/reflection_first/mean": -9.0,
        "tapo/tokens/construct_over_rollout": 3 / 48,
        "tapo/lambda_ref": 1.0,
    }
    assert {key: metrics[key] for key in expected} == expected


def test_the_reports_of_groups_are_added_up_once_each_whatever_padding_copies_of_them(contrasted):
    trainer, batch, _ = contrasted
    report = GroupReport(eligible=1, generated_tokens=50, prefix_fraction_sum=0.5, without_reflection=3, unclosed=2)
    report.funnel.update(attempted=4, parsed=3, spliced=2, correct=2, trained=2)
    report.rejected.update(bad_format=1, leak=1)
    batch.tags[0][REPORT_TAG] = report.to_tag()
    batch.tags[1] |= {REPORT_TAG: report.to_tag(), "is_padding": True}
    metrics = metrics_of(trainer, batch)
    expected = {
        "tapo/groups/total": 1,
        "tapo/groups/eligible": 1,
        "tapo/construct/attempted": 4,
        "tapo/construct/trained": 2,
        "tapo/construct/rejected/leak": 1,
        "tapo/construct/rejected/too_long": 0,
        "tapo/construct/prefix_fraction/mean": 0.25,
        "tapo/construct/without_reflection": 3,
        "tapo/construct/unclosed": 2,
        "tapo/tokens/construct_generated": 50,
    }
    assert {key: metrics[key] for key in expected} == expected


def test_a_step_forgets_the_constructed_rows_of_the_one_before(contrasted):
    trainer, batch, _ = contrasted
    metrics_of(trainer, batch)
    assert "tapo/ref/reward/mean" not in metrics_of(trainer, batch_of())
