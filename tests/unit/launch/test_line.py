import pytest

from tapo.launch.line import compose_line, hydra_arguments

LINE = ["python", "-m", "verl.trainer.main_ppo", "+tapo=default", "actor_rollout_ref.rollout.n=6"]


def test_a_line_composes_as_its_run_would():
    config = compose_line(LINE)
    assert config.actor_rollout_ref.rollout.n == 6
    assert config.algorithm.tapo.enable is True
    assert compose_line(LINE[3:]).actor_rollout_ref.rollout.n == 6


def test_the_arguments_of_hydra_choose_the_config(tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL", "/m")
    monkeypatch.setenv("DATA", "/d")
    recipe = ["--config-path", "pkg://tapo.recipes.config", "--config-name=qwen3_8b_fsdp.yaml", "trainer.nnodes=2"]
    config = compose_line(recipe)
    assert (config.trainer.nnodes, config.data.train_files) == (2, "/d/train.parquet")
    assert compose_line(["--config-name", "ppo_megatron_trainer"]).actor_rollout_ref.actor.strategy == "megatron"
    assert compose_line(["--config-path=config"]).actor_rollout_ref.actor.strategy == "fsdp"
    (tmp_path / "own.yaml").write_text("defaults: [ppo_trainer, _self_]\ndata: {train_batch_size: 17}\n")
    assert compose_line(["-cd", str(tmp_path), "-cn", "own"]).data.train_batch_size == 17


def test_words_before_the_program_and_line_ends_are_left_out():
    line = ["VERL_PLATFORM=cpu", "nice", "python3", "-u", "/x/verl/trainer/main_ppo.py", "\\", "a=1", "\n", "b=2"]
    assert hydra_arguments(line) == ["a=1", "b=2"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["python", "-m", "verl.trainer.sft_trainer", "a=1"], r"got 'python -m verl.trainer.sft_trainer a=1', needs"),
        (["bash", "run.sh"], r"got 'bash run.sh', needs `python -m verl.trainer.main_ppo"),
        (["data.no_such=1"], r"launch line: .*no_such"),
        (["--multirun"], r"launch line: unrecognized arguments: --multirun"),
        (["--config-name", "none_such"], r"launch line: .*none_such"),
    ],
)
def test_what_does_not_compose_is_one_sentence(line, sentence):
    with pytest.raises(ValueError, match=f"(?s){sentence}"):
        compose_line(line)
