import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tapo.shipped import LAUNCH_SCRIPTS, app, first_sentence, shipped_file, shipped_files

ROOT = Path(__file__).parents[2]


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_what_is_shipped_is_the_repositorys_own():
    files = {path.resolve() for path in shipped_files().values()}
    assert files >= set((ROOT / "recipe" / "tapo" / "config").glob("*.yaml"))
    assert shipped_file("launch.sh") == ROOT / "run_scripts" / "launch.sh"


@pytest.mark.parametrize("name", LAUNCH_SCRIPTS)
def test_a_shipped_script_needs_no_repository_around_it(name):
    text = shipped_file(name).read_text()
    assert "TAPO_ROOT" not in text and "environment.sh" not in text and "/.." not in text
    subprocess.run(["bash", "-n", shipped_file(name)], check=True)


def test_recipes_are_named_with_and_without_their_suffix():
    assert shipped_file("qwen3_8b_fsdp") == shipped_file("qwen3_8b_fsdp.yaml")
    with pytest.raises(ValueError, match=r"no recipe or script 'qwen'; there are cold_start_sft, qwen2_5_math_7b, "):
        shipped_file("qwen")


def test_the_list_says_what_each_is():
    listed = dict(line.split(maxsplit=1) for line in invoke("list").output.splitlines())
    assert listed["qwen3_8b_megatron"] == "TAPO on Qwen3-8B with Megatron and vLLM"
    assert listed["grpo_fsdp.sh"] == "The GRPO baseline of tapo_fsdp.sh"
    assert set(listed) == set(shipped_files())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("#!/bin/bash\n# One, two. Three.\nset -e\n", "One, two"),
        ("# Of verl 0.9.1 and\n# later. More\nx: 1\n", "Of verl 0.9.1 and later"),
        ("# Only this", "Only this"),
        ("x: 1\n", ""),
    ],
)
def test_the_first_sentence_of_a_comment(tmp_path, text, sentence):
    (tmp_path / "file").write_text(text)
    assert first_sentence(tmp_path / "file") == sentence


def test_show_and_path_name_the_same_file():
    path = Path(invoke("path", "cold_start_sft").output.strip())
    assert invoke("show", "cold_start_sft").output == path.read_text()


def test_a_copied_script_brings_those_that_it_calls(tmp_path):
    result = invoke("copy", "cold_start.sh", "--to", tmp_path / "mine")
    assert result.exit_code == 0
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {"cold_start.sh", "cold_start_sft.sh"}


def test_everything_is_copied_once_and_nothing_is_overwritten(tmp_path):
    invoke("copy", "--to", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in shipped_files().values()}
    (tmp_path / "launch.sh").unlink()
    result = invoke("copy", "launch.sh", "qwen3_8b_fsdp", "--to", tmp_path)
    assert isinstance(result.exception, ValueError)
    assert str(result.exception).startswith(f"{tmp_path / 'qwen3_8b_fsdp.yaml'} is there already")
    assert not (tmp_path / "launch.sh").exists()
