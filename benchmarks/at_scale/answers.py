"""What the simulated engine answers to a prompt, told by the prompt's token ids alone."""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks.at_scale import texts
from benchmarks.at_scale.options import Policy
from tapo.core.prompts import PLACEHOLDERS
from tapo.core.tokens import decode

OPEN, CLOSE = "<reconstruction>", "</reconstruction>"


@dataclass(frozen=True)
class Answer:
    """Token ids of an answer.

    Attributes:
        stopped: whether it is all there is: the turn has ended, or a stop string was met; else it was cut off.
        constructs: whether it belongs to a construction, a rollout's continuation behind a notice included.
    """

    ids: list[int]
    stopped: bool
    constructs: bool


class Begun(NamedTuple):
    """All that will be answered, whatever of it is asked for at once."""

    ids: list[int]
    constructs: bool


@dataclass
class Author:
    """The simulated model. The k-th request with the same prompt gets the same answer in every run of a seed.

    Attributes:
        templates: the construction prompts, which tell a construction from a rollout, and of each whether it leaves the
            correction to the policy: such a construction ends with the notice.
        response_length: most tokens of a rollout.
    """

    tokenizer: Any
    templates: Mapping[str, bool]
    policy: Policy
    response_length: int
    seed: int
    _seen: Counter[int] = field(default_factory=Counter)
    _cut_short: dict[int, tuple[Begun, int]] = field(default_factory=dict)
    """Answers that go on behind some ids, by the hash of these, and where."""

    def __post_init__(self) -> None:
        chat = [{"role": "user", "content": "x"}]
        asked = self.tokenizer.apply_chat_template(chat, tokenize=False)
        whole = self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        self._turn = self.tokenizer.encode(whole.removeprefix(asked), add_special_tokens=False)
        self._asks = [(_pattern(template), own) for template, own in self.templates.items()]

    def answer(self, prompt_ids: Sequence[int], params: Mapping[str, Any]) -> Answer:
        """Answer a prompt as far as `max_tokens` and `stop` allow."""
        prompt = list(prompt_ids)
        key = hash(tuple(prompt))
        begun, at = self._cut_short.get(key) or (self._begin(prompt, key), 0)
        ids, stopped = self._cut(begun.ids[at:], params)
        if at + len(ids) < len(begun.ids):
            self._cut_short[hash((*prompt, *ids))] = begun, at + len(ids)
        return Answer(ids, stopped, begun.constructs)

    def forget(self) -> None:
        """A step is over; nothing of it is asked for again."""
        self._cut_short.clear()

    def _begin(self, prompt: list[int], key: int) -> Begun:
        self._seen[key] += 1
        draw = random.Random(f"{self.seed}/{sum(prompt)}/{len(prompt)}/{self._seen[key]}")
        turn = self._begin_of_turn(prompt)
        asked, said = (decode(self.tokenizer, part) for part in (prompt[:turn], prompt[turn:]))
        found = [(match, own) for pattern, own in self._asks if (match := pattern.search(asked))]
        text = self._construct(*found[0], said, draw) if found else self._respond(asked, said, draw)
        ids = [*self.tokenizer.encode(text, add_special_tokens=False), self.tokenizer.eos_token_id]
        return Begun(ids, bool(found) or bool(said))

    def _begin_of_turn(self, prompt: list[int]) -> int:
        """Where the answer's turn begins: behind the last ids with which the chat template opens one."""
        size = len(self._turn)
        for end in range(len(prompt), size - 1, -1):
            if prompt[end - size : end] == self._turn:
                return end
        raise ValueError("the prompt opens no turn")

    def _cut(self, ids: list[int], params: Mapping[str, Any]) -> tuple[list[int], bool]:
        """The answer up to the token that completes a stop string, at most `max_tokens` of it."""
        end = len(ids)
        for stop in params.get("stop") or ():
            end = min(end, self._completes(ids, stop))
        most = params.get("max_tokens") or self.response_length
        return ids[: min(end, most)], end <= most

    def _completes(self, ids: list[int], stop: str) -> int:
        if stop not in decode(self.tokenizer, ids):
            return len(ids)
        low, high = 1, len(ids)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if stop in decode(self.tokenizer, ids[:middle]) else (middle + 1, high)
        return low

    def _respond(self, asked: str, said: str, draw: random.Random) -> str:
        """A rollout, or what follows the beginning of one that ends in a notice."""
        tokens = draw.lognormvariate(0.0, self.policy.sigma) * self.policy.median_share * self.response_length
        steps = max(3, round(tokens / texts.TOKENS_PER_STEP))
        if not said:
            ease = random.Random(f"{self.seed}/{asked}").random()
            correct = draw.random() < ease
            return texts.rollout(asked, draw, steps, correct=correct, errors_from=self.policy.errors_from)
        done = len(re.findall(r"^Step \d+", said, re.MULTILINE))
        left = max(2, steps - done)
        text = texts.correction(asked, draw, done + 1, left, correct=draw.random() < self.policy.own_accuracy)
        return text if said.endswith("\n") else "\n" + text

    def _construct(self, asked: re.Match[str], own: bool, said: str, draw: random.Random) -> str:
        """The answer to a construction prompt, or what follows the part of it that is said already."""
        wrong = asked["wrong"]
        error = texts.find_error(wrong)
        if error is None or (not said and draw.random() < self.policy.bad_answers):
            return "I do not see what is wrong with it."
        new = f"{error.notice}\n" if own else f"{error.notice}\n{self._correct(asked, error, draw)}"
        if OPEN in said:
            return f"{new}{CLOSE}" if said.endswith("\n") else f"\n{new}{CLOSE}"
        analysis = f"The first error is <quote>{error.line}</quote>. The numbers do not add up to that."
        return f"<analysis>{analysis}</analysis>\n{OPEN}{wrong[: error.end]}\n{new}{CLOSE}"

    def _correct(self, asked: re.Match[str], error: texts.Error, draw: random.Random) -> str:
        # As much of the sibling's length as the error left of the attempt's.
        left = 1 - error.number / error.steps
        steps = max(2, round(left * asked["correct"].count("\nStep ")))
        correct = draw.random() < self.policy.guided_accuracy
        return texts.correction(asked["query"], draw, error.number + 1, steps, correct=correct)


def _pattern(template: str) -> re.Pattern[str]:
    """Finds a filled-in template and what fills it."""
    pattern = re.escape(template)
    for name in PLACEHOLDERS:
        pattern = pattern.replace(re.escape(f"{{{name}}}"), f"(?P<{name}>.*)")
    return re.compile(pattern, re.DOTALL)
