"""The engine as a Ray actor: replicas and clock, and who has to be waited for before the clock may go on."""

import asyncio
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from transformers import AutoTokenizer
from verl.workers.rollout.replica import TokenOutput

from benchmarks.at_scale.answers import Author
from benchmarks.at_scale.options import Scale
from benchmarks.at_scale.world import World

NOW = "simulated_now"
"""Where an answer says what time it is; the client takes it out again."""


@dataclass
class Waiting:
    """A request or a sleep whose end someone waits for."""

    participant: int
    ended: asyncio.Future
    kind: str
    tokens: int = 0


@dataclass
class Counts:
    """What happened since the last look.

    Attributes:
        rollouts_end, constructions_end: when the last of each was answered; None where none was.
    """

    requests: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    rollouts_end: float | None = None
    constructions_end: float | None = None


class SimulatedEngine:
    """Serves all replicas.

    The clock may go on when every participant waits: it says how many messages it had sent and received when it fell
    asleep, and these are all that there are.
    """

    def __init__(self, scale: Scale, model: str, templates: Mapping[str, bool], participants: int):
        self._scale = scale
        self._world = World(scale.rates, scale.devices)
        tokenizer = AutoTokenizer.from_pretrained(model)
        self._author = Author(tokenizer, templates, scale.policy, scale.response_length, scale.seed)
        self._numbers = count()
        self._waiting: dict[int, Waiting] = {}
        self._named: dict[str, int] = {}
        self._got, self._told = [0] * participants, [0] * participants
        self._asleep: list[tuple[int, int] | None] = [None] * participants
        self._wake_at = [math.inf] * participants
        self._alarms: dict[int, asyncio.Future] = {}
        self._counts = Counts()

    async def generate(
        self,
        *,
        participant: int,
        replica: int,
        request_id: str,
        prompt_ids: Sequence[int],
        sampling_params: Mapping[str, Any],
        **_: Any,
    ) -> TokenOutput:
        """Answer as a server of verl's does, in simulated time."""
        number = next(self._numbers)
        answer = self._author.answer(prompt_ids, sampling_params)
        kind = "constructions" if answer.constructs else "rollouts"
        ended = asyncio.get_running_loop().create_future()
        self._waiting[number] = Waiting(participant, ended, kind, len(answer.ids))
        self._named[request_id] = number
        self._counts.requests[kind] += 1
        self._world.submit(replica, number, prompt_ids, answer.ids)
        self._got[participant] += 1
        self._go_on()
        await ended
        self._named.pop(request_id, None)
        log_probs = [-0.3] * len(answer.ids) if sampling_params.get("logprobs") else None
        return TokenOutput(
            token_ids=answer.ids,
            log_probs=log_probs,
            stop_reason="completed" if answer.stopped else "length",
            num_preempted=0,
            extra_fields={"global_steps": 0, NOW: self._world.now},
        )

    async def sleep(self, participant: int, seconds: float) -> None:
        """Return after so many simulated seconds."""
        number = next(self._numbers)
        ended = asyncio.get_running_loop().create_future()
        self._waiting[number] = Waiting(participant, ended, "sleeps")
        self._world.sleep(number, seconds)
        self._got[participant] += 1
        self._go_on()
        await ended

    async def alarm(self, participant: int) -> float:
        """Return when it is time for what a participant said in its last report, and that time."""
        self._alarms[participant] = rings = asyncio.get_running_loop().create_future()
        self._go_on()
        return await rings

    async def leave(self, participant: int, request_id: str) -> None:
        """Nobody waits for an answer any more, and its request is aborted in its replica."""
        self._got[participant] += 1
        number = self._named.pop(request_id, -1)
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            # Answered at the same simulated time: that message was counted and will not be read.
            self._told[participant] -= 1
        else:
            self._counts.tokens[waiting.kind] += self._world.abort(number)
        self._go_on()

    async def expect(self, participants: Sequence[int]) -> None:
        """Something other than the engine is about to send each of these a message."""
        for participant in participants:
            self._told[participant] += 1

    async def report(self, participant: int, sent: int, received: int, wake_at: float = math.inf) -> None:
        """A participant has fallen asleep, until it is told something or that time has come."""
        self._asleep[participant], self._wake_at[participant] = (sent, received), wake_at
        self._go_on()

    async def spend(self, seconds: float) -> None:
        """The clock goes on by itself, as while a model trains; whatever is still served is given up."""
        self._world.spend(seconds)
        self._author.forget()

    async def now(self) -> float:
        """Simulated seconds so far."""
        return self._world.now

    async def look(self) -> dict[str, Any]:
        """What happened since the last look, over all replicas, in plain containers."""
        counts, self._counts = self._counts, Counts()
        served = self._world.served
        result: dict[str, Any] = {
            "requests": dict(counts.requests),
            "decoded": dict(counts.tokens),
            "rollouts_end": counts.rollouts_end,
            "constructions_end": counts.constructions_end,
            "prefilled": sum(replica.prefilled for replica in served),
            "cached": sum(replica.cached for replica in served),
            "most_served": max(replica.most_served for replica in served),
        }
        for replica in served:
            replica.prefilled = replica.cached = replica.decoded = replica.most_served = 0
        return result

    async def state(self) -> str:
        """Who is waited for, to find out why a clock stands still."""
        return f"got {self._got}, told {self._told}, asleep {self._asleep}, waiting {len(self._waiting)}"

    def _go_on(self) -> None:
        """Let the clock jump until someone is told something."""
        numbers = enumerate(zip(self._got, self._told, strict=True))
        if any(self._asleep[participant] != state for participant, state in numbers):
            return
        told = False
        while not told:
            wake_at, sleeper = min(zip(self._wake_at, count(), strict=False))
            if wake_at < math.inf and sleeper not in self._alarms:
                return
            numbers = self._world.jump(wake_at)
            told = any([self._tell(number) for number in numbers]) if numbers else self._ring(sleeper)

    def _ring(self, participant: int) -> bool:
        self._told[participant] += 1
        self._alarms.pop(participant).set_result(self._world.now)
        return True

    def _tell(self, number: int) -> bool:
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            return False
        if waiting.kind != "sleeps":
            self._counts.tokens[waiting.kind] += waiting.tokens
            setattr(self._counts, f"{waiting.kind}_end", self._world.now)
        self._told[waiting.participant] += 1
        waiting.ended.set_result(None)
        return True
