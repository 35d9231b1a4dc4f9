import asyncio
import io
import json
import shlex
import stat
import sys
from dataclasses import replace

import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from rich.console import Console

from tapo import training_progress
from tapo.evaluation.folders import read_manifest
from tapo.evaluation.inputs import read_benchmarks, resolve_checkpoint
from tapo.evaluation.options import RunOptions, SamplingProtocol
from tapo.evaluation.validation import (
    EvaluationFailed,
    evaluate,
    hydra_value,
    plan_evaluation,
    run_evaluation,
)
from tapo.files.fingerprint import fingerprint_of_model
from tests.stand_ins.weights import NO_TENSORS

FAKE_PYTHON = """#!{python}
import json, os, pathlib, sys
with open({log!r}, "a") as log:
    log.write(json.dumps([sys.argv[1:], os.environ["VERL_FILE_LOGGER_PATH"]]) + chr(10))
options = dict(argument.split("=", 1) for argument in sys.argv if "=" in argument)
if {fails!r} in sys.argv:
    sys.exit("out of memory")
if "--target_dir" in sys.argv:
    target = pathlib.Path(sys.argv[sys.argv.index("--target_dir") + 1])
    target.mkdir(parents=True)
    (target / "config.json").write_text("{{}}")
    (target / "model.safetensors").write_bytes(int.to_bytes(2, 8, "little") + b"{{}}")
else:
    folder = pathlib.Path(options["trainer.validation_data_dir"])
    folder.mkdir()
    (folder / "0.jsonl").write_text("{{}}" + chr(10))
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(training_progress, "POLL_S", 0.02)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(NO_TENSORS)
    return folder


def parquet(path, sources=("aime",), **others):
    columns = {"data_source": list(sources), "prompt": [[{"role": "user", "content": "q"}]] * len(sources)}
    columns["reward_model"] = [{"ground_truth": "1"}] * len(sources)
    pd.DataFrame(columns | others).to_parquet(path)
    return path


def plan_of(tmp_path, model, *, overrides=(), python=sys.executable, data=(), **options):
    data = data or (str(parquet(tmp_path / "aime24.parquet")),)
    out, overrides = tmp_path / "out", tuple(overrides)
    given = RunOptions(model=str(model), data=tuple(data), out=out, seed=3, overrides=overrides, **options)
    return replace(plan_evaluation(given), python=str(python))


def fake_python(tmp_path, fails=""):
    path = tmp_path / "python"
    path.write_text(FAKE_PYTHON.format(python=sys.executable, log=str(tmp_path / "calls"), fails=fails))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def calls(tmp_path):
    return [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]


def quiet():
    return Console(file=io.StringIO(), width=300)


def test_the_command_composes_in_verl_and_samples_as_the_protocol_says(tmp_path, model):
    plan = plan_of(tmp_path, model, overrides=["+tapo=cpu"], samples=4, temperature=0.5)
    command = plan.command(plan.benchmarks[0])
    assert command[1:3] == ["-m", "verl.trainer.main_ppo"] and command[-1] == "+tapo=cpu"
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides=command[3:])
    sampled = config.actor_rollout_ref.rollout.val_kwargs
    assert (sampled.n, sampled.temperature, sampled.top_p, sampled.top_k, sampled.do_sample) == (4, 0.5, 1.0, -1, True)
    assert (config.data.max_prompt_length, config.data.max_response_length) == (2048, 8192)
    assert config.trainer.val_only and config.trainer.val_before_train and config.trainer.resume_mode == "disable"
    assert config.trainer.validation_data_dir == str(tmp_path / "out" / "aime24")
    assert config.data.val_files == config.data.train_files == str(tmp_path / "aime24.parquet")
    assert config.actor_rollout_ref.model.path == str(model)
    assert (config.data.seed, config.actor_rollout_ref.rollout.seed) == (3, 3)
    assert config.reward.reward_manager.name == "LengthRewardManager"
    assert config.reward.custom_reward_function.path == "pkg://tapo.rewards"
    assert config.trainer.device == "cpu" and config.algorithm.adv_estimator == "grpo"


def test_the_manifest_is_there_before_verl_starts_and_each_benchmark_has_its_folder(tmp_path, model):
    data = [f"a={parquet(tmp_path / 'x.parquet')}", f"b={parquet(tmp_path / 'y.parquet', ['s', 's'])}"]
    plan = plan_of(tmp_path, model, data=data, python=fake_python(tmp_path))
    run_evaluation(plan, quiet())
    manifest = read_manifest(plan.out)
    assert [(entry["name"], entry["problems"], entry["data_source"]) for entry in manifest["benchmarks"]] == [
        ("a", 1, "aime"),
        ("b", 2, "s"),
    ]
    assert manifest["model"]["fingerprint"] == fingerprint_of_model(model)
    assert manifest["sampling"]["n"] == 16 and manifest["seed"] == 3 and "verl" in manifest["versions"]
    assert manifest["verifier"] == {"path": "pkg://tapo.rewards", "name": "compute_score"}
    assert (plan.out / "a" / "0.jsonl").exists() and (plan.out / "b" / "0.jsonl").exists()
    assert [metrics for _, metrics in calls(tmp_path)] == [
        str(plan.out / "logs" / name / "metrics.jsonl") for name in "ab"
    ]
    with pytest.raises(ValueError, match=r"--out = .* holds an evaluation already"):
        plan_of(tmp_path, model)


def test_a_failure_names_the_log_and_leaves_the_manifest(tmp_path, model):
    plan = plan_of(tmp_path, model, overrides=["+fails=1"], python=fake_python(tmp_path, "+fails=1"))
    console = quiet()
    with pytest.raises(EvaluationFailed, match=r"aime24: ended with status 1; see .*logs/aime24/log"):
        run_evaluation(plan, console)
    assert "out of memory" in console.file.getvalue()
    assert read_manifest(plan.out)["overrides"] == ["+fails=1"]


def test_shards_are_merged_by_verls_merger_and_complete_models_are_not(tmp_path, model):
    actor = tmp_path / "checkpoints" / "global_step_40" / "actor"
    (actor / "huggingface").mkdir(parents=True)
    (actor / "huggingface" / "config.json").write_text("{}")
    (actor / "fsdp_config.json").write_text("{}")
    (tmp_path / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("40")
    for given in (actor, actor.parent, actor.parent.parent):
        plan = plan_of(tmp_path, given, python=fake_python(tmp_path))
        assert plan.checkpoint.step == 40
        assert plan.merge_command()[1:] == [
            *("-m", "verl.model_merger", "merge", "--backend", "fsdp"),
            *("--local_dir", str(actor), "--target_dir", str(tmp_path / "out" / "model")),
        ]
    run_evaluation(plan, quiet())
    assert calls(tmp_path)[0][0][:2] == ["-m", "verl.model_merger"]
    merged = tmp_path / "out" / "model"
    assert read_manifest(plan.out)["model"]["fingerprint"] == fingerprint_of_model(merged)
    assert plan.merge_command() == []
    (actor / "huggingface" / "model.safetensors").write_bytes(NO_TENSORS)
    assert resolve_checkpoint(str(actor), tmp_path).merge == ()
    assert resolve_checkpoint(str(model), tmp_path).merge == ()


def test_an_index_counts_as_complete_only_with_all_its_shards(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    index = {"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "1.safetensors").write_bytes(NO_TENSORS)
    with pytest.raises(ValueError, match=r"MODEL = .* a half-written model lies there: it lacks 2\.safetensors\. What"):
        resolve_checkpoint(str(tmp_path), tmp_path / "merged")
    (tmp_path / "2.safetensors").write_bytes(NO_TENSORS)
    assert resolve_checkpoint(str(tmp_path), tmp_path / "merged").model == str(tmp_path)


def test_a_folder_without_anything_of_a_model_is_told_what_would_do(tmp_path):
    with pytest.raises(ValueError, match=r"MODEL = .* holds neither a complete model nor shards"):
        resolve_checkpoint(str(tmp_path), tmp_path / "merged")


def test_hub_names_pass_and_missing_folders_do_not(tmp_path):
    assert resolve_checkpoint("Qwen/Qwen3-8B", tmp_path).model == "Qwen/Qwen3-8B"
    with pytest.raises(ValueError, match=r"MODEL = './a/b/c' does not exist; needs a Hugging Face folder"):
        resolve_checkpoint("./a/b/c", tmp_path)


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ({"samples": 0}, "--samples = 0 cannot work: needs an integer >= 1"),
        ({"temperature": -1.0}, "--temperature = -1.0 cannot work"),
        ({"temperature": float("nan")}, "--temperature = nan cannot work"),
        ({"temperature": 0.0}, "--samples = 16 cannot work: needs 1 at --temperature 0"),
        ({"top_p": 0.0}, r"--top-p = 0.0 cannot work: needs a number in \(0, 1\]"),
        ({"top_k": 0}, "--top-k = 0 cannot work: needs -1"),
        ({"max_response_length": 0}, "--max-response-length = 0 cannot work"),
    ],
)
def test_sampling_out_of_range_is_refused(sampling, message):
    with pytest.raises(ValueError, match=message):
        SamplingProtocol(**sampling)


def test_greedy_decoding_is_one_sample_without_sampling():
    assert SamplingProtocol(samples=1, temperature=0.0).describe()["do_sample"] is False


def test_benchmarks_that_cannot_be_told_apart_or_read_are_refused(tmp_path):
    mixed = parquet(tmp_path / "mixed.parquet", ("aime", "hmmt"))
    with pytest.raises(ValueError, match=r"one file a benchmark; got \['aime', 'hmmt'\]"):
        read_benchmarks([str(mixed)])
    one = parquet(tmp_path / "test.parquet")
    with pytest.raises(ValueError, match=r"--data = \['test', 'test'\] cannot work: needs different names"):
        read_benchmarks([str(one), str(one)])
    pd.DataFrame({"prompt": [1]}).to_parquet(tmp_path / "bare.parquet")
    with pytest.raises(ValueError, match="verl's columns; data_source, reward_model missing"):
        read_benchmarks([str(tmp_path / "bare.parquet")])
    (tmp_path / "text.parquet").write_text("no parquet")
    for name in ("text", "missing"):
        with pytest.raises(ValueError, match=f"--data = .*{name}.* cannot be read"):
            read_benchmarks([str(tmp_path / f"{name}.parquet")])
    with pytest.raises(ValueError, match="a name of letters"):
        read_benchmarks([f"../x={one}"])


def test_overrides_of_the_protocol_are_refused_and_of_the_reward_taken(tmp_path, model):
    key = "actor_rollout_ref.rollout.val_kwargs.temperature"
    with pytest.raises(ValueError, match=f"override = '\\+\\+{key}=0.6' cannot work"):
        plan_of(tmp_path, model, overrides=[f"++{key}=0.6"])
    own = ["reward.custom_reward_function.path=mine.py", "reward.reward_manager.name=dapo"]
    plan = plan_of(tmp_path, model, overrides=own)
    assert plan.manifest()["verifier"] == {"path": "mine.py"}
    assert not any("tapo" in argument for argument in plan.command(plan.benchmarks[0])[3:] if "reward" in argument)


def test_manifests_tell_checkpoints_of_one_shape_apart(tmp_path, model):
    before = plan_of(tmp_path, model).manifest()
    assert plan_of(tmp_path, model).manifest() == before
    (model / "model.safetensors").write_bytes(NO_TENSORS + b"0")
    after = plan_of(tmp_path, model).manifest()
    assert [key for key in before if before[key] != after[key]] == ["model"]


def test_printed_commands_paste_into_a_shell(tmp_path, model):
    plan, console = plan_of(tmp_path, model, overrides=["+x='a b'"], dry_run=True), quiet()
    evaluate(plan.options, console)
    assert shlex.split(console.file.getvalue()) == plan.command(plan.benchmarks[0])


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "true"),
        (1.0, "1.0"),
        (["console", "file"], "[console,file]"),
        ("/a/b-c_1.parquet", "/a/b-c_1.parquet"),
        ("/a b/it's,", "'/a b/it\\'s,'"),
        ("null", "'null'"),
        ("8", "'8'"),
    ],
)
def test_values_survive_hydras_grammar(value, written):
    assert hydra_value(value) == written
    (parsed,) = OverridesParser.create().parse_overrides([f"key={written}"])
    assert parsed.value() == value


def test_lengths_and_truncation_are_read_off_the_sampled_tokens(byte_tokenizer):
    from verl import DataProto

    from tapo.evaluation.reward_manager import LengthRewardManager

    end = byte_tokenizer.eos_token_id
    manager = LengthRewardManager.__new__(LengthRewardManager)
    manager.tokenizer, manager.reward_router_address, manager.is_async_reward_score = byte_tokenizer, None, False
    manager.compute_score = lambda **record: {"score": 1.0, "acc": 1.0}

    def score(response, attended):
        tensors = {"responses": torch.tensor([response]), "attention_mask": torch.tensor([[1, 1, *attended]])}
        others = {"data_source": ["s"], "reward_model": [{"ground_truth": "1"}], "extra_info": [{}]}
        manager.loop = asyncio.new_event_loop()
        data = DataProto.from_dict(
            tensors, non_tensors={key: pd.Series(value).to_numpy() for key, value in others.items()}
        )
        try:
            return manager.loop.run_until_complete(manager.run_single(data))["reward_extra_info"]
        finally:
            manager.loop.close()

    assert score([5, 6, end, 0], [1, 1, 1, 0]) == {"score": 1.0, "acc": 1.0, "response_tokens": 3, "truncated": 0}
    assert score([5, 6, 7, 8], [1, 1, 1, 1]) == {"score": 1.0, "acc": 1.0, "response_tokens": 4, "truncated": 1}
    assert score([0, 0, 0, 0], [0, 0, 0, 0])["truncated"] == 1
