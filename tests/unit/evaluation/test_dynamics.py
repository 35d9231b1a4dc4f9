import io
import json

import numpy as np
import pytest
from rich.console import Console

from tapo.evaluation.options import PlotCommand
from tapo.evaluation.plots import choose, plot_runs, running_mean
from tapo.evaluation.training_logs import Funnel, read_training_logs

STEPS = {0: {"val-core/acc": 0.5}, 1: {"actor/pg_loss": 0.1}, 2: {"actor/pg_loss": None, "actor/kl_loss": 0.2}}


def write_log(folder, steps=STEPS, end="\n"):
    folder.mkdir(parents=True)
    lines = []
    for step, data in steps.items():
        trained = {"training/global_step": step} if step else {}
        lines.append(json.dumps({"step": step, "data": data | trained}))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + end)
    return folder


def test_only_steps_that_trained_and_finite_values_are_read(tmp_path):
    (log,) = read_training_logs([write_log(tmp_path / "run")])
    assert log.metrics == {
        "training/global_step": {1: 1.0, 2: 2.0},
        "actor/pg_loss": {1: 0.1},
        "actor/kl_loss": {2: 0.2},
    }
    assert log.notes == ("values of actor/pg_loss that are not finite left out: 1",)
    steps, values = log.series("actor/kl_loss")
    assert (steps.tolist(), values.tolist()) == ([2], [0.2])


def test_a_run_that_is_still_writing_is_read_up_to_its_last_line(tmp_path):
    (log,) = read_training_logs([write_log(tmp_path / "run", end='\n{"step": 3, "da')])
    assert log.notes[0] == "half-written last line left out: 1"


def test_tensorboard_events_hold_the_same_metrics(tmp_path):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(tmp_path / "run"))
    for step, data in {0: {"val": 1.0}, 1: {"training/global_step": 1.0, "actor/grad_norm": 0.25}}.items():
        for key, value in data.items():
            summary = Summary(value=[Summary.Value(tag=key, simple_value=value)])
            writer.add_event(Event(step=step, summary=summary))
    writer.close()
    (log,) = read_training_logs([tmp_path / "run"])
    assert log.metrics == {"training/global_step": {1: 1.0}, "actor/grad_norm": {1: 0.25}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"RUN = .* cannot work: needs a folder with metrics\.jsonl or TensorBoard events"),
        ('{"step": 0, "data": {}}\n', "holds no training step; needs training/global_step"),
        ('{"data": {}}\n', r"line 1: got .*data.*, needs an integer step and data"),
        ("{\n{}\n", "line 1 is no JSON"),
    ],
)
def test_logs_that_cannot_be_used_are_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "metrics.jsonl").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_training_logs([tmp_path])


def test_runs_are_told_apart_by_their_folders(tmp_path):
    one, two = write_log(tmp_path / "a" / "run"), write_log(tmp_path / "b" / "run")
    assert [log.name for log in read_training_logs([one, two / "metrics.jsonl"])] == ["a/run", "b/run"]


def test_a_kind_of_kl_that_every_run_has_goes_first(tmp_path):
    kinds = ("actor/kl_loss", "actor/ppo_kl")
    both = write_log(tmp_path / "both", {1: {"actor/kl_loss": 0.1, "actor/ppo_kl": 0.2}})
    one = write_log(tmp_path / "one", {1: {"actor/ppo_kl": 0.2}})
    assert choose(kinds, read_training_logs([both, one])) == "actor/ppo_kl"
    assert choose(kinds, read_training_logs([both])) == "actor/kl_loss"


def test_the_running_mean_is_over_the_steps_so_far():
    assert running_mean(np.array([1.0, 3.0, 5.0, 9.0]), 2).tolist() == [1.0, 2.0, 4.0, 7.0]


def test_tapo_beside_grpo_is_drawn_and_what_is_missing_noted(tmp_path):
    common = {"actor/pg_loss": 0.1, "critic/score/mean": 0.5, "actor/grad_norm": 1.0, "response_length/mean": 50.0}
    common |= {"actor/ppo_kl": 0.0}
    funnel = {f"tapo/construct/{stage}": 3 for stage in ("attempted", "parsed", "spliced", "correct", "trained")}
    tapo = common | funnel | {"tapo/ots/weight/mean": 1.0}
    runs = [
        write_log(tmp_path / name, {step: data for step in (1, 2, 3)})
        for name, data in (("tapo", tapo), ("grpo", common))
    ]
    console = Console(file=io.StringIO(), width=1000)
    plot_runs(PlotCommand(runs=tuple(runs), out=tmp_path / "plots", smooth=2), console)
    *notes, png, svg = console.file.getvalue().splitlines()
    assert [png, svg] == [str(tmp_path / "plots" / f"dynamics.{suffix}") for suffix in ("png", "svg")]
    drawn = (tmp_path / "plots" / "dynamics.svg").read_text()
    assert all(f"<!-- {text} -->" in drawn for text in ("gradient norm", "KL", "tapo", "grpo", "9"))
    assert notes == ["Note: grpo: no tapo/ots/weight/mean", "Note: grpo: no construction funnel"]


def test_the_funnel_sums_steps_and_ranks_the_reasons_of_rejection(tmp_path):
    counts = {"attempted": 8, "parsed": 7, "spliced": 6, "correct": 5, "trained": 0, "rejected/leak": 1}
    counts |= {"rejected/too_long": 2, "rejected/timeout": 0}
    step = {f"tapo/construct/{name}": count for name, count in counts.items()}
    tapo = write_log(tmp_path / "tapo", {1: step, 2: step | {"tapo/construct/trained": 6}})
    log, other = read_training_logs([tapo, write_log(tmp_path / "grpo")])
    stages = {"attempted": 16, "parsed": 14, "spliced": 12, "correct": 10, "trained": 6}
    assert log.funnel() == Funnel(stages, {"too_long": 4, "leak": 2}, steps=2, steps_with_trained_rows=1)
    assert list(log.funnel().rejected) == ["too_long", "leak"]
    assert (log.funnel().objections, log.funnel().faithful_share) == ({}, None)
    assert other.funnel() is None


def test_the_funnel_pools_what_a_check_said_by_the_correct_constructions_of_each_step(tmp_path):
    def step(correct, share, **labels):
        check = {f"check/{name}": count for name, count in labels.items()} | {"check/faithful_share": share}
        return {f"tapo/construct/{name}": value for name, value in {"correct": correct, **check}.items()}

    steps = {1: step(6, 0.5, false_step=1, objected=3, took_back=2, error=0), 2: step(2, 1.0, false_step=4, objected=4)}
    (log,) = read_training_logs([write_log(tmp_path / "run", steps | {3: step(0, None, objected=0)})])
    assert log.funnel().objections == {"false_step": 5, "took_back": 2}
    assert log.funnel().faithful_share == (6 * 0.5 + 2 * 1.0) / 8
