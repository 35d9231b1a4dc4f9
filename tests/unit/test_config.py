from pathlib import Path

import pytest
import yaml

import tapo
from tapo.config import ConfigError, TapoConfig

GROUP = Path(tapo.__file__).parent / "conf" / "tapo" / "default.yaml"


def test_defaults_are_the_papers():
    config = TapoConfig()
    assert (*config.thresholds(8), config.m_max, config.lambda_ref) == (2, 4, 4, 1.0)
    assert (config.ots.low, config.ots.high) == (0.01, 10.0)
    assert (config.contrast, config.reconstruction) == ("source", "micro_reflective")


def test_explicit_thresholds_are_taken_as_they_are_and_follow_the_group_size_otherwise():
    assert TapoConfig().thresholds(5) == (1, 2)
    assert TapoConfig(n_pos=3).thresholds(16) == (3, 8)
    assert TapoConfig(n_pos=1, n_neg=1).thresholds(64) == (1, 1)
    assert TapoConfig(n_pos=0.375, n_neg=0.5).thresholds(8) == (3, 4)
    assert TapoConfig(n_pos=0.125, n_neg=0.25).thresholds(4) == (1, 1)


def test_lambda_is_a_function_of_the_global_step():
    constant = TapoConfig(lambda_ref=0.3)
    assert {constant.lambda_at(step, 10) for step in (1, 5, 99)} == {0.3}
    linear = TapoConfig.from_mapping({"lambda_schedule": {"shape": "linear", "end": 0.2, "steps": 4}})
    assert [linear.lambda_at(step, 100) for step in (1, 2, 3, 5, 6)] == pytest.approx([1.0, 0.8, 0.6, 0.2, 0.2])
    cosine = TapoConfig.from_mapping({"lambda_ref": 0.5, "lambda_schedule": {"shape": "cosine"}})
    assert [cosine.lambda_at(step, 8) for step in (1, 3, 5, 9)] == pytest.approx(
        [0.5, 0.25 * (1 + 0.5**0.5), 0.25, 0.0]
    )


def test_the_yaml_group_lists_every_option_with_its_default():
    listed = yaml.safe_load(GROUP.read_text())["algorithm"]["tapo"]
    assert listed == TapoConfig().model_dump() | {"seed": "${actor_rollout_ref.rollout.seed}"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_poz": 1}, r"algorithm\.tapo\.n_poz = 1 .* known are .*n_pos"),
        ({"n_pos": 0}, r"n_pos = 0 .* >= 1"),
        ({"n_neg": 2.5}, r"n_neg = 2\.5 .* integer >= 1, a share of the group"),
        ({"m_max": True}, r"m_max = True .* int"),
        ({"lambda_ref": -1}, r"lambda_ref = -1 .* >= 0"),
        ({"lambda_ref": float("nan")}, r"lambda_ref = nan"),
        ({"contrast": "both"}, r"contrast = 'both' .* source, failed, none"),
        ({"truncated": "first"}, r"truncated = 'first' .* last, never"),
        ({"correct_key": 1}, r"correct_key = 1 .* str"),
        ({"reconstruction": "half"}, r"reconstruction = 'half' .* micro_reflective, full, extra_correct"),
        ({"ots": {"low": -0.1}}, r"ots\.low = -0\.1 .* >= 0"),
        ({"ots": {"high": 0.001}}, r"ots\.high = 0\.001 .* ots\.low \(0\.01\)"),
        ({"ots": {"lo": 1}}, r"algorithm\.tapo\.ots\.lo = 1"),
        ({"ots": {"spare_reflection": 1}}, r"ots\.spare_reflection = 1 .* bool"),
        ({"n_neg": 0.0}, r"n_neg = 0\.0 .* share"),
        ({"n_pos": 3.0}, r"n_pos = 3\.0 .* integer"),
        ({"lambda_schedule": {"shape": "step"}}, r"lambda_schedule\.shape = 'step' .* constant, linear, cosine"),
        ({"lambda_schedule": {"steps": 0}}, r"lambda_schedule\.steps = 0 .* >= 1"),
        ({"lambda_schedule": {"end": -1}}, r"lambda_schedule\.end = -1 .* >= 0"),
        ({"lambda_schedule": {"end": 0.1}}, r"lambda_schedule\.shape = 'constant' .* linear or cosine where end"),
        ({"advantage": "both"}, r"advantage = 'both' .* decoupled, coupled"),
        ({"ref": {"prefix_weight": 1.1}}, r"ref\.prefix_weight = 1\.1 .* between 0 and 1"),
        ({"ref": {"grad_norms_every": -1}}, r"ref\.grad_norms_every = -1 .* >= 0"),
        ({"ref": {"normalization": "none"}}, r"ref\.normalization = 'none' .* own, rollouts"),
        ({"ots": 3}, r"algorithm\.tapo\.ots = 3 .* mapping"),
        ({"log_trajectories_every": -1}, r"log_trajectories_every = -1 .* >= 0"),
        ({"log_trajectories": 0}, r"log_trajectories = 0 .* >= 1"),
        ({"construction": {"max_tokens": 0}}, r"max_tokens = 0"),
        ({"construction": {"min_prefix_share": 1.5}}, r"min_prefix_share = 1\.5 .* between 0 and 1"),
        ({"construction": {"min_prefix_share": -0.1}}, r"min_prefix_share = -0\.1 .* between 0 and 1"),
        ({"construction": {"require_reflection": "yes"}}, r"require_reflection = 'yes' .* bool"),
        ({"construction": {"timeout_s": 0}}, r"timeout_s = 0 .* > 0"),
        ({"construction": {"temperature": -1}}, r"temperature = -1"),
        ({"construction": {"prompt_file": "/no/such/file"}}, r"prompt_file = '/no/such/file' .* No such file"),
    ],
)
def test_what_cannot_work_is_named_with_key_value_and_what_is_allowed(options, message):
    with pytest.raises(ConfigError, match=message):
        TapoConfig.from_mapping(options)


def test_a_prompt_file_replaces_the_prompt_once_its_placeholders_are_there(tmp_path):
    path = tmp_path / "prompt.txt"
    path.write_text("{query} {wrong}")
    with pytest.raises(ConfigError, match=r"\{correct\} exactly once, got \['query', 'wrong'\]"):
        TapoConfig.from_mapping({"construction": {"prompt_file": str(path)}})
    path.write_text("{query} {wrong} {correct}")
    assert TapoConfig.from_mapping({"construction": {"prompt_file": str(path)}}).template() == path.read_text()


def test_the_ablation_has_a_prompt_of_its_own():
    assert "copied character for character" in TapoConfig().template()
    assert "complete corrected solution" in TapoConfig(reconstruction="full").template()
