"""The table of trajectories in W&B and TensorBoard."""

from types import SimpleNamespace

import pytest
import torch
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.utils.tracking import Tracking

from tapo.config import TapoConfig
from tapo.launch.prepare import prepare_run
from tapo.trainer import trained_rows, trainers
from tapo.trainer.ref_advantage import RefRow
from tests.stand_ins.trainer import MODEL, Trainer, composed

PREFIX, NEW, WRONG_TAIL = "1+1=3", "\nWait, no.\n1+1=2", "\nso 3"


@pytest.fixture
def store(byte_tokenizer, monkeypatch):
    """Constructed rows u_ref_8_0 to u_ref_10_0, all grown from u_0_0; and what was fetched."""

    def ids(text):
        return byte_tokenizer.encode(text, add_special_tokens=False)

    end = byte_tokenizer.eos_token_id
    rollout = [*ids(PREFIX), *ids(WRONG_TAIL), end]
    refs = {f"u_ref_{8 + i}_0": [*ids(PREFIX), *ids(f"{NEW} ({i})"), end] for i in range(3)}
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

    monkeypatch.setattr(trained_rows.transfer, "read_fields", get)
    return SimpleNamespace(refs=refs, fetched=fetched, kept=len(ids(PREFIX)))


def ref_rows(store, kept=None):
    """Row i has advantage i, weight i / 10 on its prefix and i behind it."""
    kept = store.kept if kept is None else kept
    rows = {}
    for i, (key, response) in enumerate(store.refs.items()):
        weights = torch.tensor([i / 10] * kept + [float(i)] * (len(response) - kept))
        rows[key] = RefRow("u_ref", "u_0_0", kept, 0, 1.0, float(i), weights, -weights, weights)
    return rows


def rows_of(store, tokenizer, kept=None, step=5, **options):
    config = TapoConfig.from_mapping({"seed": 1} | options)
    return trained_rows.trajectory_rows(ref_rows(store, kept), "train", tokenizer, config, step)


def test_a_row_holds_the_segments_the_dropped_tail_and_what_was_trained(store, byte_tokenizer):
    rows = sorted(rows_of(store, byte_tokenizer), key=lambda row: row["advantage"])
    assert [row["key"] for row in rows] == ["u_ref_8_0", "u_ref_9_0", "u_ref_10_0"]
    assert rows[2] == {
        "step": 5,
        "key": "u_ref_10_0",
        "query": "user: 1+1?\n",
        "kept prefix": PREFIX,
        "reflection": "\nWait, no.\n",
        "correction": "1+1=2 (2)",
        "dropped tail": WRONG_TAIL,
        "reward": 1.0,
        "advantage": 2.0,
        "mean weight of prefix": pytest.approx(0.2),
        "mean weight of correction": 2.0,
    }


def test_the_number_of_rows_is_bounded_and_only_they_and_their_sources_are_fetched(store, byte_tokenizer):
    chosen = rows_of(store, byte_tokenizer, log_trajectories=1)
    assert len(chosen) == 1
    assert store.fetched == [[chosen[0]["key"], "u_0_0"]]
    assert rows_of(store, byte_tokenizer, log_trajectories=1) == chosen
    assert len({rows_of(store, byte_tokenizer, log_trajectories=1, step=step)[0]["key"] for step in range(20)}) == 3


def test_a_full_reconstruction_is_a_correction_from_its_first_token(store, byte_tokenizer):
    rows = rows_of(store, byte_tokenizer, kept=0, reconstruction="full")
    row = min(rows, key=lambda row: row["advantage"])
    assert (row["kept prefix"], row["reflection"]) == ("", "")
    assert (row["correction"], row["dropped tail"]) == (f"{PREFIX}{NEW} (0)", PREFIX + WRONG_TAIL)
    assert row["mean weight of prefix"] is None


ROW = {
    "step": 5,
    "key": "u_ref_8_0",
    "query": "Q <b>|</b>",
    "kept prefix": "P\n```",
    "reflection": "R",
    "correction": "",
    "dropped tail": "D",
    "reward": 1.0,
    "advantage": 0.5,
    "mean weight of prefix": None,
    "mean weight of correction": 2.0,
}


def test_tensorboard_gets_a_text_through_the_runs_own_writer(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_DIR", str(tmp_path))
    tracking = Tracking("project", "run", ["tensorboard"])
    tracking.log({"a": 1.0}, step=5)
    trained_rows.log_rows(tracking.logger, [ROW, ROW], step=5)
    tracking.logger["tensorboard"].finish()
    assert len(list(tmp_path.iterdir())) == 1
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Tags()["tensors"] == [f"{trained_rows.TABLE}/text_summary"]
    [event] = events.Tensors(f"{trained_rows.TABLE}/text_summary")
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
    trained_rows.log_rows({name: tracker, "console": None, "file": None}, [ROW, ROW], step=5)
    [(data, step)] = logged
    assert list(data) == ["tapo/trajectories"] and step == 5
    assert data["tapo/trajectories"].columns == list(ROW)
    assert data["tapo/trajectories"].data == [list(ROW.values())] * 2


@pytest.mark.parametrize(("every", "logged"), [(0, []), (1, [1, 2, 3, 4, 5, 6]), (3, [3, 6]), (7, [])])
def test_a_table_is_logged_every_so_many_steps_and_nothing_is_read_when_off(monkeypatch, every, logged):
    trainer, seen = Trainer(log_trajectories_every=every, log_trajectories=2), []
    trainer.logger = SimpleNamespace(logger={})
    monkeypatch.setattr(trainers, "trajectory_rows", lambda *args: [(args[-1], args[-2].log_trajectories)])
    monkeypatch.setattr(trainers, "log_rows", lambda trackers, rows, step: seen.append((step, rows)))
    for step in range(1, 7):
        trainer.global_steps = step
        batch = KVBatchMeta(partition_id="train", keys=["u_0_0"], tags=[{"response_len": 1}])
        trainer._compute_metrics(batch, {}, {}, step, 0)
    assert seen == [(step, [(step, 2)]) for step in logged]


def test_a_step_without_constructed_rows_fetches_and_logs_nothing(store, byte_tokenizer):
    assert trained_rows.trajectory_rows({}, "train", byte_tokenizer, TapoConfig(), 5) == []
    assert store.fetched == []
    trained_rows.log_rows({"wandb": None, "tensorboard": None}, [], step=5)


@pytest.mark.parametrize(
    ("logger", "warns"),
    [("[console,file]", True), ("console", True), ("[console,wandb]", False), ("tensorboard", False)],
)
def test_a_run_whose_trackers_show_no_tables_is_warned(caplog, logger, warns):
    options = ["algorithm.tapo.log_trajectories_every=5", f"trainer.logger={logger}"]
    prepare_run(composed("+tapo=default", f"actor_rollout_ref.model.path={MODEL}", *options))
    assert ("log_trajectories_every = 5 has no effect: trainer.logger = ['console'" in caplog.text) == warns
