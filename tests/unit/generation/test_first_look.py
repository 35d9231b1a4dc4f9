"""What `tapo rollout` says of the first responses, and what counts when it is started again."""

import asyncio
import io
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tapo.cli import app
from tapo.data.rollout_store import QueryRollouts, RolloutStore
from tapo.generation.engine import Sample
from tapo.generation.first_look import QUERIES, FirstLook, NothingCorrect, say_what_is_wrong
from tapo.generation.options import EngineOptions, RolloutOptions
from tapo.generation.scoring import Judgement
from tapo.terminal import harmless, shortened
from tests.stand_ins.queries import write_data


def rollouts(number, scores=(0.0, 0.0), texts=("first", "second"), reasons=("length", "stop"), prompt="How many?"):
    messages = [{"role": "user", "content": prompt}]
    return QueryRollouts(f"q{number}", "s", messages, "42", list(texts), [[1, 2], [3]], list(reasons), list(scores))


def look(rows, judgements=None, **options):
    made = FirstLook(options=RolloutOptions(model="m", data=(), out=Path("s"), max_tokens=192, **options))
    for row in rows:
        made.add(row, judgements)
    return made


def shown(made, keep_going=True):
    console = Console(file=io.StringIO(), width=150)
    say_what_is_wrong(
        made, lambda prompt: f"<|user|>{prompt[0]['content']}<|assistant|>", console, keep_going=keep_going
    )
    return console.file.getvalue()


def test_where_nothing_is_correct_two_responses_are_shown_with_truth_reward_and_likely_reasons():
    judgements = [Judgement(0.0), Judgement(0.0, {"score": 0.0, "pred": "41"})]
    made = look([rollouts(1), rollouts(2), rollouts(3, texts=("so 42.", "41"))], judgements=judgements)
    text = shown(made)
    for part in (
        "none of the first 6 responses to 3 queries is correct",
        "<|user|>How many?<|assistant|>",
        "Query q1",
        "Query q2",
        "second",
        "1 tokens, ended by stop",
        "Ground truth",
        '"pred": "41"',
        "3 of them were cut off at --max-tokens 192",
        "1 of them hold the ground truth near their end",
        "no prompt asks for \\boxed{}",
        "--template",
        "--reward-path",
    ):
        assert part in text, part
    assert "Query q3" not in text
    with pytest.raises(NothingCorrect, match=r"none of the first 6 .* is correct: stopped, with all of them kept"):
        shown(made, keep_going=False)


def test_reasons_that_the_responses_speak_against_are_not_given():
    made = look([rollouts(1, reasons=("stop", "stop"), prompt="How? \\boxed{}")])
    reasons = " ".join(made.reasons())
    assert "cut off" not in reasons and "boxed" not in reasons and "hold the ground truth" not in reasons
    made = look([rollouts(1, scores=(0.5, 0.4))], reward_path="mine.py")
    assert "the highest score is 0.5, and correct is more than --reward-threshold 0.5" in shown(made)
    assert "boxed" not in shown(made) and "is mine.py:compute_score your run's reward?" in shown(made)


def test_all_correct_and_all_truncated_are_said_and_stop_nothing():
    text = shown(look([rollouts(1, scores=(1.0, 1.0))]), keep_going=False)
    assert "all of the first 2 responses to 1 queries are correct" in text and "too easy" in text
    text = shown(look([rollouts(1, scores=(1.0, 0.0), reasons=("length", "length"))]), keep_going=False)
    assert "all of the first 2 responses to 1 queries were cut off at their length" in text


def test_where_some_are_correct_nothing_is_said():
    assert shown(look([rollouts(1, scores=(1.0, 0.0)), rollouts(2)]), keep_going=False) == ""
    assert shown(look([]), keep_going=False) == ""


def test_a_ground_truth_counts_where_it_stands_by_itself():
    assert look([rollouts(1, texts=("is 42", "is 142"))]).with_truth == 1
    assert look([rollouts(1, texts=("\\boxed{42}", "4.42"))]).with_truth == 1


def test_responses_cannot_steer_the_terminal():
    text = shown(look([rollouts(1, texts=("a", "\x1b]0;title\x07 \x9b31m [red]x"))]))
    assert "\x1b]" not in text and "\x9b" not in text and "\u241b]0;title" in text and "[red]x" in text
    assert harmless("a\tb\n\x1b\r") == "a\tb\n\u241b\u240d"


def test_a_long_response_is_shown_from_both_ends():
    assert shortened("a" * 10 + "b" * 10, 3, 2) == "aaa\n[... 15 characters ...]\nbb"
    assert shortened("short", 3, 2) == "short"


class WrongEngine:
    """Answers wrong until its `correct_from`-th query."""

    def __init__(self, tokenizer, correct_from=10**9):
        self.tokenizer, self.correct_from, self.calls = tokenizer, correct_from, 0

    async def sample(self, prompt_ids, sampling, *, n, seed):
        self.calls += 1
        answer = 7 if self.calls >= self.correct_from else 8
        await asyncio.sleep(0)
        ids = self.tokenizer.encode(rf"\boxed{{{answer}}}", add_special_tokens=False)
        return [Sample([*ids, self.tokenizer.eos_token_id], "stop")] * n

    async def close(self):
        pass


@pytest.fixture
def command(tokenizer, tmp_path, monkeypatch):
    """Runs `tapo rollout` with engines that answer as told; returns (output, engine or None, the exception)."""
    data = write_data(tmp_path / "data.parquet", [f"question {i}" for i in range(QUERIES + 20)])
    monkeypatch.setattr("tapo.generation.run_rollouts.load_tokenizer", lambda model: tokenizer)

    def run(*options, correct_from=10**9):
        engines = []

        def start(self, tokenizer, max_model_len):
            engines.append(WrongEngine(tokenizer, correct_from))
            return engines[-1]

        monkeypatch.setattr(EngineOptions, "start", start)
        arguments = ["rollout", str(data), "--model", "name/model", "--out", str(tmp_path / "s"), "--n", "2"]
        result = CliRunner().invoke(app, [*arguments, "--at-once", "1", *options])
        return " ".join(result.output.split()), engines[0] if engines else None, result.exception

    run.store = lambda: RolloutStore.open(tmp_path / "s")
    return run


def test_sampling_stops_after_the_first_queries_and_keeps_them(command):
    output, engine, error = command()
    assert isinstance(error, NothingCorrect) and "none of the first 128 responses to 64 queries is correct" in output
    assert len(command.store().done()) == QUERIES and engine.calls < QUERIES + 20


def test_what_a_former_call_sampled_counts_and_nothing_new_is_sampled_to_say_the_same(command):
    assert command("--limit", "40")[2] is None
    output, engine, error = command()
    assert isinstance(error, NothingCorrect) and "to 64 queries" in output
    again, engine, error = command()
    assert isinstance(error, NothingCorrect) and engine is None
    assert "Query q0" in again and "The reward returned" not in again
    assert len(command.store().done()) == QUERIES


def test_with_keep_going_the_rest_is_sampled(command):
    assert command()[2] is not None
    output, engine, error = command("--keep-going")
    assert error is None and "none of the first" in output
    assert engine.calls == 20 and len(command.store().done()) == QUERIES + 20
    assert "holds rollouts of all" in command()[0]


def test_one_correct_response_among_the_first_is_enough(command):
    output, _, error = command(correct_from=QUERIES)
    assert error is None and "responses to" not in output and len(command.store().done()) == QUERIES + 20


def test_fewer_queries_than_it_takes_are_sampled_to_the_end_with_a_warning(command):
    output, _, error = command("--limit", "5")
    assert error is None and "none of the first 10 responses to 5 queries is correct" in output
    assert "5 queries sampled" in output
