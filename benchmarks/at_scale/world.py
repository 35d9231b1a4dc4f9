"""The simulated clock: it jumps from one event of the replicas, or one end of a sleep, to the next."""

import heapq
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
    _cancelled: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.served = [Replica(self.rates) for _ in range(self.replicas)]

    def submit(self, replica: int, number: int, prompt: Sequence[int], answer: Sequence[int]) -> None:
        """A request reaches a replica now; `number` is its own."""
        self.served[replica].submit(self.now, Request(number, prompt, answer))

    def sleep(self, number: int, seconds: float) -> None:
        """Something waits so long; `number` is its own."""
        heapq.heappush(self._sleeps, (self.now + seconds, number))

    def cancel(self, number: int) -> None:
        """A sleep need not end any more."""
        self._cancelled.add(number)

    def spend(self, seconds: float) -> None:
        """The clock goes on while the engine stands still, and forgets what it was at."""
        self.now += seconds
        for replica in self.served:
            replica.abort(self.now)

    def jump(self) -> list[int]:
        """Go on to the next time at which something is answered or a sleep ends: the numbers of all that do then.

        Raises:
            RuntimeError: nothing will ever happen again.
        """
        while True:
            while self._sleeps and self._sleeps[0][1] in self._cancelled:
                self._cancelled.discard(heapq.heappop(self._sleeps)[1])
            times = [(at, i) for i, replica in enumerate(self.served) if (at := replica.next_event()) is not None]
            at, first = min(times, default=(None, None))
            wakes = self._sleeps[0][0] if self._sleeps else None
            if at is None and wakes is None:
                raise RuntimeError("everyone waits, and the engine has nothing to do")
            if at is None or (wakes is not None and wakes <= at):
                self.now, number = heapq.heappop(self._sleeps)
                return [number]
            assert first is not None
            self.now, finished = self.served[first].take_event()
            if finished is not None:
                return [finished.number]
