"""The table of trajectories in W&B and TensorBoard."""

from types import SimpleNamespace

import pytest
import torch
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.utils.tracking import Tracking

from tapo.core.groups import REF_TAG
from tapo.launch.prepare import prepare_run
from tapo.trainer import table, trainers
from tapo.trainer.metrics import row_values
from tests.stand_ins.trainer import MODEL, Trainer, composed

PREFIX, NEW, WRONG_TAIL = "1+1=3", "\nWait, no.\n1+1=2", "\nso 3"


@pytest.fixture
def store(byte_tokenizer, monkeypatch):
    """Constructed rows r_ref_8_0 to r_ref_11_0, the last one padding, all grown from u_0_0; and what was fetched."""

    def ids(text):
        return byte_tokenizer.encode(text, add_special_tokens=False)

    end = byte_tokenizer.eos_token_id
    rollout = [*ids(PREFIX), *ids(WRONG_TAIL), end]
    refs = {f"u_ref_{8 + i}_0": [*ids(PREFIX), *ids(f"{NEW} ({i})"), end] for i in range(4)}
    responses = {"u_0_0": rollout, **refs}
    fetched = []

    def get(keys, partition_id, select_fields):
        fetched.append(keys)
        rows = [torch.tensor(responses[key]) for key in keys]
        columns = {
            "prompts": [torch.tensor(ids("user: 1+1?\n")) for _ in keys],
            "responses": rows,
            "rm_scores": [torch.eye(len(row))[-1] for row in rows],
        }
        nested = {name: torch.nested.as_nested_tensor(columns[name], layout=torch.jagged) for name in select_fields}
        return TensorDict(nested, batch_size=[len(keys)])

    monkeypatch.setattr(table.transfer, "read_fields", get)
    tag = {REF_TAG: {"source_key": "u_0_0", "prefix_length": len(ids(PREFIX))}}
    tags = [{}, *({**tag, "is_padding": i == 3} for i in range(4))]
    batch = KVBatchMeta(partition_id="train", keys=list(responses), tags=tags)
    return SimpleNamespace(batch=batch, refs=refs, fetched=fetched, kept=len(ids(PREFIX)))


def ref_step(store):
    """Row i has advantage i, weight i / 10 on its prefix and i behind it; the padding row is not among them."""
    lengths = [len(row) for row in list(store.refs.values())[:3]]
    weights = torch.zeros(3, max(lengths) + 2)
    mask = torch.zeros_like(weights)
    for i, length in enumerate(lengths):
        weights[i, : store.kept] = i / 10
        weights[i, store.kept :] = i
        mask[i, :length] = 1
    advantages = SimpleNamespace(advantage_N=torch.arange(3.0), weights_NT=weights)
    return SimpleNamespace(rows=SimpleNamespace(mask_NT=mask), advantages=advantages)


def rows_of(store, tokenizer, **options):
    options = {"number": 8, "step": 5, "seed": 1, "keep_prefix": True} | options
    return table.trajectory_rows(store.batch, [ref_step(store)], tokenizer, **options)


def test_a_row_holds_the_segments_the_dropped_tail_and_what_was_trained(store, byte_tokenizer):
    rows = sorted(rows_of(store, byte_tokenizer), key=lambda row: row[8])
    assert [row[1] for row in rows] == ["u_ref_8_0", "u_ref_9_0", "u_ref_10_0"]
    step, _, query, prefix, reflection, correction, dropped, reward, advantage, of_prefix, of_new = rows[2]
    assert (step, query) == (5, "user: 1+1?\n")
    assert (prefix, reflection, correction, dropped) == (PREFIX, "\nWait, no.\n", "1+1=2 (2)", WRONG_TAIL)
    assert (reward, advantage, of_prefix, of_new) == (1.0, 2.0, pytest.approx(0.2), 2.0)


def test_the_number_of_rows_is_bounded_and_only_they_and_their_sources_are_fetched(store, byte_tokenizer):
    chosen = rows_of(store, byte_tokenizer, number=1)
    assert len(chosen) == 1
    assert store.fetched == [[chosen[0][1], "u_0_0"]]
    assert rows_of(store, byte_tokenizer, number=1) == chosen
    assert len({rows_of(store, byte_tokenizer, number=1, step=step)[0][1] for step in range(20)}) == 3


def test_a_full_reconstruction_is_a_correction_from_its_first_token(store, byte_tokenizer):
    for tag in store.batch.tags[1:]:
        tag[REF_TAG]["prefix_length"] = 0
    row = min(rows_of(store, byte_tokenizer, keep_prefix=False), key=lambda row: row[8])
    assert row[3:7] == ("", "", f"{PREFIX}{NEW} (0)", PREFIX + WRONG_TAIL)
    assert row[9] is None


def test_weights_are_those_of_the_response_without_its_padding(store):
    lengths = [len(row) for row in list(store.refs.values())[:3]]
    assert [(advantage, len(weights)) for advantage, weights in row_values([ref_step(store)])] == list(
        zip([0.0, 1.0, 2.0], lengths, strict=True)
    )


ROW = (5, "u_ref_8_0", "Q <b>|</b>", "P\n```", "R", "", "D", 1.0, 0.5, None, 2.0)


def test_tensorboard_gets_a_text_through_the_runs_own_writer(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_DIR", str(tmp_path))
    tracking = Tracking("project", "run", ["tensorboard"])
    tracking.log({"a": 1.0}, step=5)
    table.log_rows(tracking.logger, [ROW, ROW], step=5)
    tracking.logger["tensorboard"].finish()
    assert len(list(tmp_path.iterdir())) == 1
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Tags()["tensors"] == [f"{table.TABLE}/text_summary"]
    [event] = events.Tensors(f"{table.TABLE}/text_summary")
    assert event.step == 5
    text = event.tensor_proto.string_val[0].decode()
    assert text.count("### u_ref_8_0, step 5") == 2
    assert "reward 1, advantage 0.5, mean weight of correction 2\n" in text
    assert "**kept prefix**\n\n    P\n    ```\n" in text and "\n    Q <b>|</b>\n" in text


@pytest.mark.parametrize("name", ["wandb", "vemlp_wandb"])
def test_wandb_gets_a_table_of_the_step(name):
    import wandb

    logged = []
    tracker = SimpleNamespace(Table=wandb.Table, log=lambda data, step: logged.append((data, step)))
    table.log_rows({name: tracker, "console": None, "file": None}, [ROW, ROW], step=5)
    [(data, step)] = logged
    assert list(data) == ["tapo/trajectories"] and step == 5
    assert tuple(data["tapo/trajectories"].columns) == table.COLUMNS
    assert data["tapo/trajectories"].data == [list(ROW), list(ROW)]


@pytest.mark.parametrize(("every", "logged"), [(0, []), (1, [1, 2, 3, 4, 5, 6]), (3, [3, 6]), (7, [])])
def test_a_table_is_logged_every_so_many_steps_and_nothing_is_read_when_off(monkeypatch, every, logged):
    trainer, seen = Trainer(log_trajectories_every=every, log_trajectories=2), []
    trainer.logger = SimpleNamespace(logger={})
    monkeypatch.setattr(trainers, "trajectory_rows", lambda *args, number, step, **kwargs: [(step, number)])
    monkeypatch.setattr(trainers, "log_rows", lambda trackers, rows, step: seen.append((step, rows)))
    for step in range(1, 7):
        trainer.global_steps = step
        batch = KVBatchMeta(partition_id="train", keys=["u_0_0"], tags=[{}])
        trainer._compute_metrics(batch, {}, {}, step, 0)
    assert seen == [(step, [(step, 2)]) for step in logged]


def test_a_step_without_constructed_rows_fetches_and_logs_nothing(store, byte_tokenizer):
    batch = KVBatchMeta(partition_id="train", keys=["u_0_0"], tags=[{}])
    options = {"number": 8, "step": 5, "seed": 1, "keep_prefix": True}
    assert table.trajectory_rows(batch, [], byte_tokenizer, **options) == []
    assert store.fetched == []


@pytest.mark.parametrize(
    ("logger", "warns"),
    [("[console,file]", True), ("console", True), ("[console,wandb]", False), ("tensorboard", False)],
)
def test_a_run_whose_trackers_show_no_tables_is_warned(caplog, logger, warns):
    options = ["algorithm.tapo.log_trajectories_every=5", f"trainer.logger={logger}"]
    prepare_run(composed("+tapo=default", f"actor_rollout_ref.model.path={MODEL}", *options))
    assert ("log_trajectories_every = 5 has no effect: trainer.logger = ['console'" in caplog.text) == warns
