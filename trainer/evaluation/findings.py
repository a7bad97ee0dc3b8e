"""What is found: `report.json`, from which the page and the Markdown are drawn.

G = genres, in the order of the network's outputs. A value is null where it is not defined: the ranking of a
genre that no track has, or that every track has.
"""

from pydantic import BaseModel, ConfigDict, Field

from schemas.bundle import Genre

Matrix = tuple[tuple[float | None, ...], ...]
"""G × G"""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Estimate(_Part):
    """A value and the bounds of its confidence interval."""

    value: float | None
    low: float | None
    high: float | None


class Group(_Part):
    """Tracks that are measured together."""

    name: str
    tracks: int = Field(gt=0)
    metrics: dict[str, Estimate] = Field(description="As `trainer.evaluation.metrics.measure` defines them.")


class Curve(_Part):
    """Precision and recall as the threshold falls, at no more than `MOST_POINTS` thresholds."""

    precision: tuple[float, ...]
    recall: tuple[float, ...]


class GenreFinding(_Part):
    genre: Genre
    tracks: int = Field(description="Tracks that have it.")
    accepted: int = Field(description="Tracks that are given it.")
    threshold: float
    precision: float | None = Field(description="Of those that are given it, the share that have it.")
    recall: float | None = Field(description="Of those that have it, the share that are given it.")
    f1: Estimate
    average_precision: Estimate
    average_precision_lyrics_dropped: Estimate = Field(description="With every track's lyrics withheld.")
    roc_auc: Estimate
    calibration_error: float
    curve: Curve | None


class Bin(_Part):
    """Label decisions of nearly the same score."""

    decisions: int
    mean_score: float
    share_right: float = Field(description="The share of them where the track has the genre.")


class Calibration(_Part):
    error: float = Field(description="Expected calibration error, over all tracks and genres.")
    bins: tuple[Bin, ...] = Field(description="Equally wide, from 0 to 1; those without a decision left out.")


class Confusion(_Part):
    """`missed` was not seen, and `given` was given instead."""

    missed: str
    given: str
    tracks: int
    share: float = Field(description="Of the tracks that have `missed`.")


class Graphs(_Part):
    """Which genres go together: by the checkpoint, and by the tracks it is measured on."""

    correlations: Matrix = Field(description="A = ½(A¹ + A²), which the graph convolution is given.")
    learned: Matrix = Field(description="Cosines of the genre vectors, which training ends with.")
    observed: Matrix = Field(description="P(column given row) in the split; null where no track has the row.")


class Findings(_Part):
    """`report.json`"""

    report_version: int = 1
    trained_on: str
    synthetic: bool = Field(description="Whether the music trained on was made by a program.")
    data_set: str
    split: str
    tracks: int
    left_out: dict[str, int] = Field(description="Why tracks of the split are left out: error to count.")
    resamples: int = Field(description="Bootstrap resamples of the tracks behind each interval.")
    level: float = Field(description="Confidence of the intervals.")
    seed: int
    groups: tuple[Group, ...] = Field(min_length=1, description="All tracks come first.")
    genres: tuple[GenreFinding, ...]
    calibration: Calibration
    confusions: tuple[Confusion, ...] = Field(description="Commonest first.")
    graphs: Graphs
