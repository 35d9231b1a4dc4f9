"""One optimiser for a small model: Muon for the layers' matrices, AdamW for the rest.

A model of a million parameters learns several times faster so. verl's trainers take it by
`optim.optimizer_impl=examples.common.muon optim.optimizer=MuonAdamW`.
"""

from collections.abc import Iterable

import torch

ADAM_SHARE = 0.15
"""AdamW's learning rate as a share of Muon's, so that one schedule drives both."""


def embeddings(params: list[torch.Tensor]) -> list[torch.Tensor]:
    """The input embedding and, where it is not tied, the output head.

    verl hands over parameters without names, so they are told by their place: Hugging Face's causal language models
    begin with the input embedding and end with the head, of the same shape, or else with a norm.

    Raises:
        ValueError: the first parameter is no matrix, as with FSDP1, which hands over flat shards.
    """
    first, last = params[0], params[-1]
    if first.ndim != 2:
        raise ValueError(
            f"optim.optimizer = MuonAdamW cannot tell the layers' matrices: the first parameter is of shape "
            f"{tuple(first.shape)}, expected an embedding of (tokens, hidden size); take strategy fsdp2"
        )
    return [first, last] if last.shape == first.shape else [first]


class MuonAdamW(torch.optim.Optimizer):
    """Muon on two-dimensional parameters but embeddings, AdamW on embeddings, norms and biases.

    Args:
        params: the parameters of a causal language model, in its own order.
        lr: Muon's learning rate; AdamW's is `ADAM_SHARE` of it.
        betas, weight_decay: AdamW's.

    Raises:
        ValueError: see `embeddings`.
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor],
        lr: float = 0.02,
        betas: tuple[float, float] = (0.9, 0.98),
        weight_decay: float = 0.0,
    ):
        params = list(params)
        embedding_ids = set(map(id, embeddings(params)))
        matrices = [p for p in params if p.ndim == 2 and id(p) not in embedding_ids]
        others = [p for p in params if p.ndim != 2 or id(p) in embedding_ids]
        super().__init__([{"params": matrices, "share": 1.0}, {"params": others, "share": ADAM_SHARE}], {"lr": lr})
        self.muon = torch.optim.Muon(matrices, lr=lr, weight_decay=0.0, momentum=0.95)
        self.adam = torch.optim.AdamW(others, lr=lr, betas=tuple(betas), weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure=None):
        """One step of both, at the learning rates that a schedule has set on this optimiser's groups."""
        for inner, group in zip((self.muon, self.adam), self.param_groups, strict=True):
            for inner_group in inner.param_groups:
                inner_group["lr"] = group["lr"] * group["share"]
            inner.step()

    def state_dict(self) -> dict:
        """Of both, and of this optimiser's groups, which schedules act on."""
        groups = [{key: value for key, value in group.items() if key != "params"} for group in self.param_groups]
        return {"state": {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}, "param_groups": groups}

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on where `state_dict` was taken."""
        self.muon.load_state_dict(state_dict["state"]["muon"])
        self.adam.load_state_dict(state_dict["state"]["adam"])
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.update(saved)
