"""What the simulated engine answers to a prompt, told by the prompt's token ids alone."""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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


@dataclass
class Author:
    """The simulated model. The k-th request with the same prompt gets the same answer in every run of a seed.

    Attributes:
        template: the construction prompt, which tells a construction from a rollout.
        own: whether a correction is left to the policy: a construction then ends with the notice.
        response_length: most tokens of a rollout.
    """

    tokenizer: Any
    template: str
    policy: Policy
    own: bool
    response_length: int
    seed: int
    _seen: Counter[int] = field(default_factory=Counter)
    _rest: dict[int, list[int]] = field(default_factory=dict)
    """Of answers that were cut short: what follows, by the hash of all ids in front of it."""

    def __post_init__(self) -> None:
        chat = [{"role": "user", "content": "x"}]
        asked = self.tokenizer.apply_chat_template(chat, tokenize=False)
        whole = self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        self._turn = self.tokenizer.encode(whole.removeprefix(asked), add_special_tokens=False)
        pattern = re.escape(self.template)
        for name in PLACEHOLDERS:
            pattern = pattern.replace(re.escape(f"{{{name}}}"), f"(?P<{name}>.*)")
        self._construction = re.compile(pattern, re.DOTALL)

    def answer(self, prompt_ids: Sequence[int], params: Mapping[str, Any]) -> Answer:
        """Answer a prompt as far as `max_tokens` and `stop` allow."""
        prompt = list(prompt_ids)
        behind = self._begin_of_turn(prompt)
        asked = decode(self.tokenizer, prompt[:behind])
        construction = self._construction.search(asked)
        key = hash(tuple(prompt))
        whole = self._rest.get(key)
        if whole is None:
            self._seen[key] += 1
            draw = random.Random(f"{self.seed}/{sum(prompt)}/{len(prompt)}/{self._seen[key]}")
            said = decode(self.tokenizer, prompt[behind:])
            text = self._construct(construction, said, draw) if construction else self._respond(asked, said, draw)
            whole = [*self.tokenizer.encode(text, add_special_tokens=False), self.tokenizer.eos_token_id]
        ids, stopped = self._cut(whole, params)
        if len(ids) < len(whole):
            self._rest[hash((*prompt, *ids))] = whole[len(ids) :]
        return Answer(ids, stopped, bool(construction) or behind < len(prompt))

    def forget(self) -> None:
        """A step is over; nothing of it is asked for again."""
        self._rest.clear()

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
            return texts.rollout(asked, draw, steps, correct=draw.random() < ease)
        done = len(re.findall(r"^Step \d+", said, re.MULTILINE))
        left = max(2, steps - done)
        text = texts.correction(asked, draw, done + 1, left, correct=draw.random() < self.policy.own_accuracy)
        return text if said.endswith("\n") else "\n" + text

    def _construct(self, asked: re.Match[str], said: str, draw: random.Random) -> str:
        """The answer to a construction prompt, or what follows the part of it that is said already."""
        wrong = asked["wrong"]
        error = texts.find_error(wrong)
        if error is None or (not said and draw.random() < self.policy.bad_answers):
            return "I do not see what is wrong with it."
        notice = self._notice_and_correction(asked, error, draw)
        if OPEN in said:
            return notice
        analysis = f"The first error is <quote>{error.line}</quote>. The numbers do not add up to that."
        return f"<analysis>{analysis}</analysis>\n{OPEN}{wrong[: error.end]}{notice}"

    def _notice_and_correction(self, asked: re.Match[str], error: texts.Error, draw: random.Random) -> str:
        if self.own:
            return f"\n{error.notice}\n{CLOSE}"
        # As much of the sibling's length as the error left of the attempt's.
        left = 1 - error.number / error.steps
        steps = max(2, round(left * asked["correct"].count("\nStep ")))
        correct = draw.random() < self.policy.guided_accuracy
        rest = texts.correction(asked["query"], draw, error.number + 1, steps, correct=correct)
        return f"\n{error.notice}\n{rest}{CLOSE}"
