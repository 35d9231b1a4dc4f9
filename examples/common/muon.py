"""One optimiser for a small model: Muon for the layers' matrices, AdamW for the rest.

A model of a million parameters learns several times faster so. verl's trainers take it by
`optim.optimizer_impl=muon optim.optimizer=MuonAdamW` with this folder on the Python path.
"""

from collections.abc import Iterable

import torch

ADAM_SHARE = 0.15
"""AdamW's learning rate as a share of Muon's, so that one schedule drives both."""


class MuonAdamW(torch.optim.Optimizer):
    """Muon on two-dimensional parameters but embeddings, AdamW on embeddings, norms and biases.

    Args:
        params: the model's parameters.
        lr: Muon's learning rate; AdamW's is `ADAM_SHARE` of it.
        vocab_size: rows by which embeddings are told from other matrices.
        betas, weight_decay: AdamW's.
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor],
        lr: float = 0.02,
        vocab_size: int = 0,
        betas: tuple[float, float] = (0.9, 0.98),
        weight_decay: float = 0.0,
    ):
        params = list(params)
        matrices = [p for p in params if p.ndim == 2 and p.shape[0] != vocab_size]
        others = [p for p in params if p.ndim != 2 or p.shape[0] == vocab_size]
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
