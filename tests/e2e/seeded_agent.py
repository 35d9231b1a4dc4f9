"""verl's single-turn agent loop, each session with a sampling seed of its own."""

import hashlib
from typing import Any

from verl.experimental.agent_loop.agent_loop import register
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop


@register("seeded_agent")
class SeededAgentLoop(SingleTurnAgentLoop):
    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> Any:
        text = f"{kwargs['raw_prompt'][-1]['content']}/{kwargs['session_id']}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        return await super().run({**sampling_params, "seed": seed}, **kwargs)
