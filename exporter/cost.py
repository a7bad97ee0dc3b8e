"""What a smaller precision costs in labels, and whether that is too much."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporter.errors import LossError
from exporter.scores import scores_of_graph
from exporter.verify import checkpoint_cases
from schemas.bundle import PrecisionCost
from trainer.checkpoint import Checkpoint
from trainer.metrics import decide

MAP_LOSS = 0.005
CHANGED_DECISIONS = 0.005
"""What a precision may cost at most, unless told otherwise."""


def cost_on_noise(checkpoint: Checkpoint, fp32: Path, other: Path) -> PrecisionCost:
    """Compare two graphs' labels on windows of noise, whose labels nobody knows. Raises GraphError."""
    cases = list(checkpoint_cases(checkpoint))
    before, after = (
        np.concatenate([scores(feed) for feed in cases])
        for scores in (scores_of_graph(fp32), scores_of_graph(other))
    )
    changed = decisions(checkpoint, before) != decisions(checkpoint, after)
    return PrecisionCost(
        data_set="noise",
        inputs=len(before),
        changed_decisions=float(changed.double().mean()),
        map_loss=None,
    )


def decisions(checkpoint: Checkpoint, scores: NDArray[np.float64]) -> Tensor:
    """Accepted genres (inputs, genres), bool."""
    description = checkpoint.description
    return decide(torch.from_numpy(scores), torch.tensor(description.thresholds), description.genres)


def refuse_loss(file: str, cost: PrecisionCost) -> None:
    """Raises LossError where a precision costs more than is allowed."""
    if cost.changed_decisions > CHANGED_DECISIONS or (cost.map_loss or 0) > MAP_LOSS:
        loss = "" if cost.map_loss is None else f" and costs {cost.map_loss:.4f} mAP"
        raise LossError(
            f"{file} changes {cost.changed_decisions:.2%} of the label decisions{loss} on {cost.data_set}; "
            f"at most {CHANGED_DECISIONS:.1%} and {MAP_LOSS} are allowed: leave it out, or add --allow-loss"
        )
