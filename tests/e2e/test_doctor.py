"""`tapo doctor --model`: a checkpoint constructs, or is told to learn it first."""

import subprocess

import pytest

from tests.e2e.harness import ENVIRONMENT, MODEL, PROMPT_FILE, ROOT, options


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "status", "said"),
    [
        (MODEL, 0, "ok      constructing: "),
        # Taught another form: its answers lack what the prompt asks for.
        (ROOT / "tests" / "data" / "anchored_model", 1, "-> run the cold start first"),
    ],
)
def test_a_checkpoint_shows_whether_it_can_construct(model, status, said, tmp_path, data):
    line = ["+tapo=[default,cpu]", *options(tmp_path, data)[1:]]
    line.append(f"algorithm.tapo.construction.prompt_file={PROMPT_FILE}")
    command = ["tapo", "doctor", "--model", model, "--queries", "48", "--", *line]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, cwd=tmp_path, timeout=590)
    assert done.returncode == status, done.stdout + done.stderr
    assert said in done.stdout
