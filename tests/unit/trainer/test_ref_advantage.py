"""Token weights of constructed rows."""

import math

import pytest
import torch
from tensordict import TensorDict

from tapo.config import TapoConfig
from tapo.trainer.ref_advantage import ref_rows

LOG_PROBS = [[-1.0, -3.0, -9.0, -2.0], [-0.5, -2.5, -1.5, 0.0]]
ENTROPY = [[1.0, 1.0, 0.0, 0.5], [0.5, 0.5, 0.5, 0.0]]
SUPPRESSED = [[1.0, math.exp(-2), 0.01, math.exp(-1.5)], [1.0, math.exp(-2), math.exp(-1)]]
"""By eq. 7; the last token of the second row is padding."""
TAGS = [
    {"source_key": "u_0_0", "prefix_length": 1, "reflection_length": 2},
    {"source_key": "u_1_0", "prefix_length": 2, "reflection_length": 0},
]


def rows_of(contrast=None, **options):
    data = TensorDict(
        {
            "token_level_rewards": torch.tensor([[0, 0, 0, 1.0], [0, 0, 0.0, 0]]),
            "response_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
            "old_log_probs": torch.tensor(LOG_PROBS),
            "entropy": torch.tensor(ENTROPY),
        },
        batch_size=[2],
    )
    config = TapoConfig.from_mapping(options)
    return ref_rows(data, ["u_ref", "u_ref"], TAGS, contrast, config, {})


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({"ots": {"spare_reflection": False}}, SUPPRESSED),
        ({}, [[1.0, 1.0, 1.0, math.exp(-1.5)], SUPPRESSED[1]]),
        ({"ots": {"enable": False}}, [[1.0] * 4, [1.0] * 3]),
        (
            {"ref": {"prefix_weight": 0.5}, "ots": {"spare_reflection": False}},
            [[0.5, *SUPPRESSED[0][1:]], [0.5, 0.5 * math.exp(-2), math.exp(-1)]],
        ),
        ({"ref": {"prefix_weight": 0.0}, "ots": {"enable": False}}, [[0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0]]),
    ],
    ids=["paper", "spared", "off", "prefix", "masked"],
)
def test_a_recognised_reflection_is_spared_and_the_prefix_scaled_and_nothing_else(options, weights):
    rows = rows_of(**options)
    for row, expected in zip(rows, weights, strict=True):
        assert row.weights_T.tolist() == pytest.approx(expected)


def test_what_a_group_is_contrasted_with_enters_its_mean_and_std():
    rows = rows_of(contrast={"u_ref": [0.0, 0.0]})
    members = torch.tensor([1.0, 0.0, 0.0, 0.0])
    expected = (members - 0.25) / (members.std() + 1e-6)
    assert [row.advantage for row in rows] == pytest.approx(expected[:2].tolist())


@pytest.mark.parametrize(("contrast", "credit"), [("source", 0.5 * 8**0.5), ("failed", 0.0)])
def test_a_reflection_earns_what_the_policys_success_behind_it_exceeds_its_sources(contrast, credit):
    """Four corrections of the policy's own behind one reflection, one of them right: beside their sources' rewards the
    advantages sum to (1 - 4/8) / sqrt(1/8), alone to nothing."""
    rewards = torch.tensor([1.0, 0.0, 0.0, 0.0])
    data = TensorDict(
        {
            "token_level_rewards": torch.stack([torch.zeros(4), torch.zeros(4), rewards], dim=1),
            "response_mask": torch.ones(4, 3),
            "old_log_probs": torch.full((4, 3), -9.0),
            "entropy": torch.zeros(4, 3),
        },
        batch_size=[4],
    )
    tags = [{"source_key": "u_0_0", "prefix_length": 1, "reflection_length": 1}] * 4
    sources = {"u_ref": [0.0] * 4} if contrast == "source" else None
    rows = ref_rows(data, ["u_ref"] * 4, tags, sources, TapoConfig.from_mapping({"contrast": contrast}), {})
    earned = sum(row.advantage * row.weights_T[1] for row in rows)
    assert float(earned) == pytest.approx(credit, abs=1e-4)
    assert [float(row.weights_T[2]) for row in rows] == pytest.approx([0.01] * 4)
