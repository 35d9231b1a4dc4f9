"""What a run is given once it is checked."""

from tapo.config import read_tapo_config
from tapo.launch.prepare import prepare_run
from tests.stand_ins.trainer import MODEL, composed


def test_what_workers_elsewhere_could_not_read_travels_in_the_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompt.txt").write_text("{query}{wrong}{correct}")
    (tmp_path / "own.py").write_text("def check(**given):\n    return ''\n")
    config = composed(
        "+tapo=default",
        "algorithm.tapo.construction.prompt_file=prompt.txt",
        "algorithm.tapo.dump_dir=dump",
        "algorithm.tapo.construction.check=own.py:check",
        f"actor_rollout_ref.model.path={MODEL}",
        "algorithm.adv_estimator=tapo",
    )
    prepare_run(config)
    assert (config.trainer.v1.trainer_mode, config.algorithm.adv_estimator) == ("sync", "grpo")
    assert config.algorithm.tapo.dump_dir == str(tmp_path / "dump")
    assert config.algorithm.tapo.construction.check == f"{tmp_path}/own.py:check"
    (tmp_path / "prompt.txt").unlink()
    assert read_tapo_config(config).template() == "{query}{wrong}{correct}"


def test_a_reward_that_stands_where_verl_does_not_look_is_warned_of(caplog):
    prepare_run(composed("+tapo=default", f"actor_rollout_ref.model.path={MODEL}", "custom_reward_function.path=r.py"))
    assert "custom_reward_function.path = r.py has no effect" in caplog.text
    assert "set reward.custom_reward_function.path" in caplog.text


def test_a_run_that_asks_for_no_construction_keeps_verls_context_length():
    lengths = {}
    for word in ("default", "extra_correct"):
        config = composed(f"+tapo={word}", f"actor_rollout_ref.model.path={MODEL}")
        prepare_run(config)
        lengths[word] = config.actor_rollout_ref.rollout.max_model_len
    assert lengths["extra_correct"] is None and lengths["default"] > 0
