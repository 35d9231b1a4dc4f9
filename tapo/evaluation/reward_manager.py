"""verl's naive reward manager, which also dumps each response's exact length and whether it was cut off.

The dump's text cannot tell: it holds no special tokens, and re-encoding it may give other tokens than were sampled.
`tapo eval run` sets it; in any run of your own::

    reward.reward_manager.source=importlib reward.reward_manager.name=LengthRewardManager
    reward.reward_manager.module.path=pkg://tapo.evaluation.reward_manager
"""

from typing import Any

from verl import DataProto
from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager


class LengthRewardManager(NaiveRewardManager):
    """Adds `response_tokens` and `truncated` (1 if the last token ends no sequence) to the reward extra info."""

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """Score one response as verl does, and measure it."""
        result = await super().run_single(data)
        response_T, mask_T = data[-1].batch["responses"], data[-1].batch["attention_mask"]
        # The mask is of prompt and response together; ids are padded on the right.
        tokens = int(mask_T[-response_T.shape[-1] :].sum())
        truncated = tokens == 0 or int(response_T[tokens - 1]) not in self.tokenizer.all_special_ids
        result["reward_extra_info"] |= {"response_tokens": tokens, "truncated": int(truncated)}
        return result
