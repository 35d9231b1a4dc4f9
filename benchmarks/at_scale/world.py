"""The simulated clock: it jumps from one event of the replicas, or one end of a sleep, to the next."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.at_scale.options import Rates
from benchmarks.at_scale.serving import Replica, Request


@dataclass
class World:
    """Replicas and sleepers under one clock.

    Attributes:
        now: simulated seconds.
    """

    rates: Rates
    replicas: int
    now: float = 0.0
    _sleeps: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.served = [Replica(self.rates) for _ in range(self.replicas)]

    def submit(self, replica: int, number: int, prompt: Sequence[int], answer: Sequence[int]) -> None:
        """A request reaches a replica now; `number` is its own."""
        self.served[replica].submit(self.now, Request(number, prompt, answer))

    def abort(self, number: int) -> int:
        """A request is given up now: the tokens that were decoded of its answer."""
        return sum(replica.abort(self.now, number) for replica in self.served)

    def sleep(self, number: int, seconds: float) -> None:
        """Something waits so long; `number` is its own."""
        heapq.heappush(self._sleeps, (self.now + seconds, number))

    def spend(self, seconds: float) -> None:
        """The clock goes on while the engine stands still, and forgets what it was at."""
        self.now += seconds
        for replica in self.served:
            replica.put_to_sleep(self.now)

    def jump(self, until: float = math.inf) -> list[int]:
        """Go on to the next time at which something is answered or a sleep ends: the number of what does.

        Args:
            until: go on to this time, and return nothing, if nothing happens before.

        Raises:
            RuntimeError: nothing will ever happen again.
        """
        while True:
            at, first = min((replica.next_event(), i) for i, replica in enumerate(self.served))
            wakes = self._sleeps[0][0] if self._sleeps else math.inf
            if (soonest := min(at, wakes, until)) == math.inf:
                raise RuntimeError("everyone waits, and the engine has nothing to do")
            if soonest == wakes:
                self.now, number = heapq.heappop(self._sleeps)
                return [number]
            if soonest == until:
                self.now = until
                return []
            self.now, finished = self.served[first].take_event()
            if finished is not None:
                return [finished.number]
