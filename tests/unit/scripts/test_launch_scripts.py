"""launch.sh, ray_job.sh and slurm.sh, with stand-ins that note how they were called."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "run_scripts"
NOTE = '#!/usr/bin/env bash\necho "$(basename "$0") $*" >> "$CALLS"\n'
STAND_INS = {
    "python": NOTE,
    "ray": NOTE,
    "tapo": f'#!/usr/bin/env bash\n[[ "$1 $2 $3" == "recipe path launch.sh" ]] && echo "{SCRIPTS}/launch.sh"\n',
    "scontrol": "#!/usr/bin/env bash\nprintf 'n1\\nn2\\nn3\\n'\n",
    "hostname": "#!/usr/bin/env bash\necho 10.0.0.1 fe80::1\n",
    # Of srun the node that it was given, and what it runs there.
    "srun": """#!/usr/bin/env bash
while [[ "$1" != -w ]]; do shift; done
[[ "$5" == *hostname* ]] || echo "on $2: ${*:5}" >> "$CALLS"
[[ "$5" == *hostname* || "$5" == *launch.sh* ]] && exec "${@:3}"
exit 0
""",
}
GIVEN = {"MODEL": "/m", "DATA": "/d d", "CONFIG": "qwen3_1_7b"}


@pytest.fixture
def run(tmp_path):
    """Runs a script; returns (exit status, its output, the calls it made)."""
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def call(script, *arguments, **variables):
        calls = tmp_path / "calls"
        calls.write_text("")
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls), **variables}
        command = ["bash", SCRIPTS / script, *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr, calls.read_text().splitlines()

    return call


START = "python -m verl.trainer.main_ppo --config-path pkg://tapo.recipes.config --config-name qwen3_1_7b"


def test_a_recipe_is_started_with_what_was_given(run):
    assert run("launch.sh", "a=1", "b='x y'", **GIVEN) == (0, "", [f"{START} a=1 b='x y'"])


def test_a_dry_run_prints_the_command_and_composes(run):
    status, output, calls = run("launch.sh", "a=x y", DRY_RUN="1", **GIVEN)
    assert status == 0 and output == f"# {START} a=x\\ y\n"
    assert calls == [f"{START} a=x y --cfg job"]


def test_a_ray_job_hands_over_variables_and_overrides(run):
    status, output, (call,) = run("ray_job.sh", "a=1", "b=x y", RAY_ADDRESS="http://h:8265", **GIVEN)
    assert status == 0, output
    begin = "ray job submit --address http://h:8265 -- env MODEL=/m DATA=/d d CONFIG=qwen3_1_7b bash -c "
    assert call == begin + 'exec bash "$(tapo recipe path launch.sh)" "$@" launch.sh a=1 b=x y'
    status, output, calls = run("ray_job.sh", "a=1", RAY_ADDRESS="http://h:8265", DRY_RUN="1", **GIVEN)
    assert status == 0 and output.startswith("# ray job submit --address") and calls == [f"{START} a=1 --cfg job"]


def test_what_a_ray_job_runs_there_is_launch_sh(run, tmp_path):
    # As Ray joins and runs an entrypoint.
    (tmp_path / "ray").write_text(
        "#!/usr/bin/env python3\nimport os, shlex, subprocess, sys\n"
        "subprocess.run(shlex.join(sys.argv[sys.argv.index('--') + 1:]), shell=True, check=True)\n"
    )
    status, output, calls = run("ray_job.sh", "a=1", "b='x y'", RAY_ADDRESS="http://h:8265", **GIVEN)
    assert status == 0, output
    assert calls == [f"{START} a=1 b='x y'"]


def test_a_variable_that_is_missing_is_named(run):
    for name in GIVEN:
        given = {key: value for key, value in GIVEN.items() if key != name} | {"RAY_ADDRESS": "http://h:8265"}
        status, output, calls = run("ray_job.sh", **given)
        assert status != 0 and f"{name} is not set" in output and calls == []


def test_slurm_starts_ray_on_every_node_and_the_run_on_the_first(run, tmp_path):
    (tmp_path / "setup").write_text("export SOURCED=1\n")
    slurm = {"SLURM_NNODES": "3", "SLURM_GPUS_ON_NODE": "4", "SLURM_JOB_NODELIST": "n[1-3]"}
    status, output, calls = run("slurm.sh", "a=x y", SETUP=str(tmp_path / "setup"), **slurm, **GIVEN)
    assert status == 0, output
    source = f"source {tmp_path}/setup && "
    assert f"on n1: {source}ray start --head --port=6379 --num-gpus=4 --block" in calls
    for node in ("n2", "n3"):
        (joined,) = [call for call in calls if call.startswith(f"on {node}: ")]
        assert joined.endswith("; ray start --address=10.0.0.1:6379 --num-gpus=4 --block")
    (waited,) = [call for call in calls if "until [ " in call]
    assert waited.startswith(f"on n1: {source}until [") and "= 3 ]; do sleep 2; done" in waited
    assert calls[-1] == f"{START} trainer.nnodes=3 trainer.n_gpus_per_node=4 a=x y"


def test_slurm_prints_what_it_would_start(run):
    status, output, calls = run("slurm.sh", DRY_RUN="1", SLURM_NNODES="2", **GIVEN)
    assert status == 0 and "trainer.nnodes=2 trainer.n_gpus_per_node=8" in output
    assert calls[-1].endswith("trainer.nnodes=2 trainer.n_gpus_per_node=8 --cfg job")
