"""One replica of the engine as a discrete-event model: slots, prefill, decoding in a batch, a prefix cache."""

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.at_scale.options import Rates
from benchmarks.at_scale.prefix_cache import PrefixCache


@dataclass(frozen=True)
class Request:
    """A prompt and what will be answered, in token ids."""

    number: int
    prompt: Sequence[int]
    answer: Sequence[int]


class Replica:
    """Requests get a slot in the order in which they come, are prefilled one by one, and decode together.

    All sequences of a batch advance alike, so that one number, the tokens that each has decoded since the replica
    began, says how far every one of them is.
    """

    def __init__(self, rates: Rates):
        self._rates = rates
        self._cache = PrefixCache(rates.cache_tokens, rates.block)
        self._line: deque[Request] = deque()
        self._prefills: deque[Request] = deque()
        self._prefilled_at = math.inf
        self._decoding: list[tuple[float, int, Request]] = []
        self._advanced, self._at = 0.0, 0.0
        self.prefilled = self.cached = self.decoded = 0
        """Tokens computed and found in the cache, of prompts; tokens of answers."""
        self.most_served = 0

    def submit(self, now: float, request: Request) -> None:
        """A request comes in."""
        self._line.append(request)
        self._move_on(now)

    def next_event(self) -> float:
        """When the next prompt is prefilled or the next answer is complete, if nothing else comes in; infinity where
        nothing is served."""
        if not self._decoding:
            return self._prefilled_at
        return min(self._prefilled_at, self._at + (self._decoding[0][0] - self._advanced) / self._rate())

    def take_event(self) -> tuple[float, Request | None]:
        """Carry out that event: its time, and the request that it answers, if it does."""
        now = self.next_event()
        assert now < math.inf
        if now == self._prefilled_at:
            self._begin_to_decode(now)
            finished = None
        else:
            self._advance(now)
            self._advanced, _, finished = heapq.heappop(self._decoding)
            self.decoded += len(finished.answer)
            self._cache.add([*finished.prompt, *finished.answer])
        self._move_on(now)
        return now, finished

    def abort(self, now: float, number: int) -> int:
        """Give up a request: how many tokens of its answer were decoded; 0 where there is none of the number."""
        self._advance(now)
        decoded = 0
        if any(request.number == number for request in self._line):
            self._line = deque(request for request in self._line if request.number != number)
        elif any(request.number == number for request in self._prefills):
            if self._prefills[0].number == number:
                self._prefilled_at = math.inf
            self._prefills = deque(request for request in self._prefills if request.number != number)
        elif found := [entry for entry in self._decoding if entry[1] == number]:
            [(end, _, request)] = found
            self._decoding.remove(found[0])
            heapq.heapify(self._decoding)
            decoded = int(len(request.answer) - (end - self._advanced))
            self.decoded += decoded
        self._move_on(now)
        return decoded

    def put_to_sleep(self, now: float) -> None:
        """Forget whatever is being served and cached, as an engine does that is put to sleep for new weights."""
        self._advance(now)
        self._line.clear()
        self._prefills.clear()
        self._decoding.clear()
        self._cache = PrefixCache(self._rates.cache_tokens, self._rates.block)
        self._prefilled_at = math.inf

    def _rate(self) -> float:
        return self._rates.decode_tokens_per_s(len(self._decoding))

    def _advance(self, now: float) -> None:
        if self._decoding:
            self._advanced += (now - self._at) * self._rate()
        self._at = now

    def _served(self) -> int:
        return len(self._prefills) + len(self._decoding)

    def _move_on(self, now: float) -> None:
        while self._line and self._served() < self._rates.slots:
            self._prefills.append(self._line.popleft())
        self.most_served = max(self.most_served, self._served())
        if self._prefills and self._prefilled_at == math.inf:
            prompt = self._prefills[0].prompt
            # An engine computes at least the last token, whose output it needs.
            found = min(self._cache.find(prompt), len(prompt) - 1)
            self.cached += found
            self.prefilled += len(prompt) - found
            self._prefilled_at = now + (len(prompt) - found) / self._rates.prefill_tokens_per_s

    def _begin_to_decode(self, now: float) -> None:
        self._advance(now)
        request = self._prefills.popleft()
        self._prefilled_at = math.inf
        self._cache.add(request.prompt)
        heapq.heappush(self._decoding, (self._advanced + len(request.answer), request.number, request))
