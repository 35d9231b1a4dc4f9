"""What the first scored responses say about prompt, reward and limits, before the rest is sampled."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from tapo.data.rollout_store import QueryRollouts, RolloutStore
from tapo.generation.options import RolloutOptions
from tapo.generation.scoring import DEFAULT_PATH, Judgement
from tapo.terminal import harmless, shortened

QUERIES = 64
"""Queries whose responses are looked at: of 512 responses, a policy that is correct once in a hundred times has none
correct with probability 0.006."""
EXAMPLES = 2
TAIL = 400
"""Characters of a response's end, where its answer stands."""


class NothingCorrect(ValueError):
    """None of the first responses is correct."""


@dataclass
class ResponseCounts:
    """Sampled queries, and their responses by outcome."""

    queries: int = 0
    responses: int = 0
    correct: int = 0
    truncated: int = 0

    def count(self, rollouts: QueryRollouts, reward_threshold: float) -> None:
        """Add a query."""
        self.queries += 1
        self.responses += len(rollouts.scores)
        self.correct += sum(score > reward_threshold for score in rollouts.scores)
        self.truncated += sum(reason == "length" for reason in rollouts.finish_reasons)


@dataclass
class FirstLook(ResponseCounts):
    """Counts the responses of a store from its first query on, whichever call sampled them."""

    options: RolloutOptions = field(kw_only=True)
    with_truth: int = 0
    """Responses whose last `TAIL` characters hold the ground truth to the letter."""
    asks_for_box: bool = False
    highest: float = float("-inf")
    examples: list[tuple[QueryRollouts, int, Mapping[str, Any]]] = field(default_factory=list)
    """Query, number of one of its responses, and what the reward returned beside the score in this call, if any."""

    def add(self, rollouts: QueryRollouts, judgements: Sequence[Judgement] | None = None) -> None:
        """Count the responses of one query; `judgements` are those of this call's reward."""
        self.count(rollouts, self.options.reward_threshold)
        self.with_truth += sum(_holds(text[-TAIL:], rollouts.ground_truth) for text in rollouts.responses)
        self.asks_for_box |= any("\\boxed" in message["content"] for message in rollouts.prompt)
        self.highest = max(self.highest, *rollouts.scores)
        if len(self.examples) < EXAMPLES:
            # One that ended by itself says more than one that was cut off.
            number = rollouts.finish_reasons.index("stop") if "stop" in rollouts.finish_reasons else 0
            self.examples.append((rollouts, number, judgements[number].info if judgements else {}))

    def read(self, store: RolloutStore) -> None:
        """Count what is in a store: all of its queries, if none of the first ones is correct."""
        for rollouts in store:
            self.add(rollouts)
            if self.queries >= QUERIES and self.correct:
                return

    @property
    def finding(self) -> str | None:
        """What all responses have in common that no cold start can be made of; None if there is nothing."""
        first = f"of the first {self.responses} responses to {self.queries} queries"
        if not self.responses:
            return None
        if not self.correct:
            return f"none {first} is correct"
        if self.correct == self.responses:
            return f"all {first} are correct"
        return f"all {first} were cut off at their length" if self.truncated == self.responses else None

    def reasons(self) -> list[str]:
        """Likely causes of the finding, those that the responses speak for first."""
        reward = self.options.reward
        cut = f"{self.truncated} of them were cut off at --max-tokens {self.options.max_tokens}"
        if self.correct == self.responses:
            accepts = f"is {reward} your run's reward? One that accepts everything would look like this"
            return [accepts, "the data is too easy for this model: trajectories are built from wrong responses"]
        if self.correct:
            return [f"{cut}: what does not end by itself is no example of a correct response"]
        found = [f"{cut}, before their answer perhaps"] if 2 * self.truncated >= self.responses else []
        if self.with_truth:
            found.append(
                f"{self.with_truth} of them hold the ground truth near their end: the reward may read another form of "
                "answer than the prompt asks for"
            )
        if self.options.reward_path == DEFAULT_PATH and not self.asks_for_box:
            found.append(
                f"no prompt asks for \\boxed{{}}, which {reward} reads: `tapo data prepare --instruction TEXT`, "
                "or the reward of your run"
            )
        return [
            *found,
            f"the highest score is {self.highest:g}, and correct is more than --reward-threshold "
            f"{self.options.reward_threshold:g} (--correct-key takes another number than the score)",
            f"is {reward} your run's reward? --reward-path, --reward-name, --reward-kwarg",
            "is the prompt above what your run shows its model, and one that it can answer? --template is the run's "
            "data.apply_chat_template_kwargs, --instruction of `tapo data prepare` the text behind a problem",
        ]

    def panel(self, render: Any) -> Panel:
        """Finding, responses and likely reasons; `render` gives the text of a prompt as the model is shown it."""
        assert self.finding
        text = Text()
        for row, number, info in self.examples:
            tokens = f"{len(row.response_ids[number])} tokens, ended by {row.finish_reasons[number]}"
            parts = {
                f"Query {row.index}, as the model is shown it": shortened(render(row.prompt), 200, 500),
                f"Response ({tokens})": shortened(row.responses[number], 300, TAIL) or "(empty)",
                "Ground truth": shortened(row.ground_truth, 200, 100),
                "Score": f"{row.scores[number]:g}",
            }
            if info:
                parts["The reward returned"] = shortened(json.dumps(info, default=str, ensure_ascii=False), 300, 100)
            for name, content in parts.items():
                text.append(f"{name}\n", style="bold cyan").append(f"{content}\n")
            text.append("\n")
        text.append("Likely reasons\n", style="bold cyan")
        text.append("".join(f"- {reason}\n" for reason in self.reasons()))
        text.plain = harmless(text.plain)
        return Panel(text, title=self.finding, title_align="left", border_style="yellow")


def _holds(text: str, truth: str) -> bool:
    return bool(truth) and re.search(rf"(?<![\w.]){re.escape(truth)}(?!\w)", text) is not None


def say_what_is_wrong(look: FirstLook, render: Any, console: Console, *, keep_going: bool = False) -> None:
    """Print what is wrong with the first responses, if anything; `NothingCorrect` if none is correct and nobody
    (neither caller nor user) has asked to keep going."""
    if not look.finding:
        return
    console.print(look.panel(render))
    if not look.correct and not keep_going and not look.options.keep_going:
        raise NothingCorrect(
            f"{look.finding}: stopped, with all of them kept. Mend what the panel above shows and name another folder, "
            "or start again with --keep-going"
        )
