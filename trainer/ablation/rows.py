"""The networks that the ablation compares, and the paper's numbers for them."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from trainer.config import TrainingConfig

PARTS = {
    "contrastive": "L_AL",
    "cross_attention": "SCMA",
    "genre_graph": "GCEM",
}
"""Parts of the method: the setting in the network's configuration, and the name in the paper."""

FULL, CONCATENATION, LATE_FUSION, AUDIO_ONLY = "full", "concatenation", "late-fusion", "audio-only"

LAMBDAS = tuple(number / 10 for number in range(10))
"""Values of λ in the paper's sweep."""


@dataclass(frozen=True)
class Row:
    """A row of the tables: the settings in which its network differs from the full method."""

    name: str
    network: tuple[tuple[str, Any], ...]
    """Settings that differ from the full method."""
    contrastive_weight: float | None = None
    """λ of this row; None means the configured one."""

    def make_run(self, config: TrainingConfig, seed: int) -> "Run":
        """Return the run of this row with a seed. `config` has the settings common to all rows."""
        fit: dict[str, Any] = {"seed": seed}
        if self.contrastive_weight is not None:
            fit["contrastive_weight"] = self.contrastive_weight
        network = config.network.model_dump() | dict(self.network)
        changed = {"network": network, "fit": config.fit.model_dump() | fit}
        return Run(self.name, seed, TrainingConfig.model_validate(changed))


@dataclass(frozen=True)
class Run:
    """A training run: a row with a seed, and all its settings."""

    row: str
    seed: int
    config: TrainingConfig

    @property
    def name(self) -> str:
        """Unique name, such as `full-0`."""
        return f"{self.row}-{self.seed}"


class Result(BaseModel):
    """The result of a finished run, as its file stores it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    row: str
    seed: int
    config: TrainingConfig
    tracks: str
    """Digest of the tracks, their splits and their genres."""
    metrics: dict[str, float]
    """Metrics of the test split, with thresholds fitted on the validation split."""
    seconds: float
    """Duration of the run."""


def part_row_name(parts: tuple[bool, ...]) -> str:
    """Return the name of the row in which the given `PARTS` are on.

    Without any part, the outputs of both encoders are concatenated.
    """
    names = [name.replace("_", "-") for name, is_on in zip(PARTS, parts, strict=True) if is_on]
    if len(names) == len(PARTS):
        return FULL
    return "+".join(names) or CONCATENATION


AUDIO_ONLY_ROW = Row(AUDIO_ONLY, tuple((dict.fromkeys(PARTS, False) | {"lyrics": False}).items()))
"""Santana et al. (2020): the same audio encoder and head, and no lyrics."""

LATE_FUSION_ROW = Row(LATE_FUSION, tuple((dict.fromkeys(PARTS, False) | {"fusion_layers": 2}).items()))
"""Pandeya and Lee (2021): both encoders' outputs concatenated, followed by a hidden layer.

If every row has that layer, this equals the row without any part."""

COMBINATIONS = (
    (False, False, False),
    (True, False, False),
    (False, True, False),
    (False, False, True),
    (True, True, False),
    (True, False, True),
    (False, True, True),
    (True, True, True),
)
"""Which of `PARTS` are on, in the order of the paper's table."""

PART_ROWS = tuple(Row(part_row_name(parts), tuple(zip(PARTS, parts, strict=True))) for parts in COMBINATIONS)


def lambda_row(weight: float, configured: float) -> Row:
    """Return the row of the full method with λ = `weight`; an existing row if one is equal to it."""
    if weight == configured:
        return PART_ROWS[-1]
    if weight == 0:
        return next(row for row in PART_ROWS if row.name == part_row_name((False, True, True)))
    return Row(f"lambda-{weight}", PART_ROWS[-1].network, weight)


def plan_runs(config: TrainingConfig, seeds: int) -> list[Run]:
    """Return every run once: all rows with the first seed, then with the second, …, the sweep of λ last.

    The full method and the baselines come first within a seed.
    """
    late_fusion = () if config.network.fusion_layers == 2 else (LATE_FUSION_ROW,)
    order = (PART_ROWS[-1], PART_ROWS[0], *late_fusion, AUDIO_ONLY_ROW, *PART_ROWS[1:-1])
    rows = [(row, seed) for seed in range(seeds) for row in order]
    sweep = [(lambda_row(weight, config.fit.contrastive_weight), 0) for weight in LAMBDAS]
    return [row.make_run(config, seed) for row, seed in dict.fromkeys(rows + sweep)]


PAPER_BASELINES = {
    "Santana et al., audio only": (0.354, 0.419),
    "Pandeya and Lee, concatenated": (0.387, 0.442),
}
PAPER = {
    CONCATENATION: (0.372, 0.438),
    "contrastive": (0.396, 0.475),
    "cross-attention": (0.408, 0.491),
    "genre-graph": (0.403, 0.487),
    "contrastive+cross-attention": (0.425, 0.513),
    "contrastive+genre-graph": (0.419, 0.508),
    "cross-attention+genre-graph": (0.437, 0.515),
    FULL: (0.456, 0.534),
}
"""Accuracy and F-measure on Music4All, from the tables of Ru et al."""

PAPER_LAMBDAS = dict(
    zip(LAMBDAS, (0.437, 0.440, 0.443, 0.456, 0.452, 0.423, 0.411, 0.392, 0.383, 0.351), strict=True)
)
"""Accuracy on Music4All by λ."""
