"""The results of an evaluation: `report.json`, from which the page and the Markdown are made.

G = genres, in the order of the network's outputs. A value is null where it is undefined: for example the
ranking of a genre that no track has, or that every track has.
"""

from pydantic import BaseModel, ConfigDict, Field

from schemas.bundle import Genre

Matrix = tuple[tuple[float | None, ...], ...]
"""Values of pairs of genres, G × G."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Estimate(_Model):
    """A value and the bounds of its confidence interval."""

    value: float | None
    low: float | None
    high: float | None


class Group(_Model):
    """Tracks that are measured together."""

    name: str
    tracks: int = Field(gt=0)
    metrics: dict[str, Estimate] = Field(
        description="Metrics by name, as `trainer.evaluation.metrics.compute_metrics` defines them."
    )


class Curve(_Model):
    """Precision and recall as the threshold falls, at no more than `MAX_CURVE_POINTS` thresholds."""

    precision: tuple[float, ...]
    recall: tuple[float, ...]


class GenreFinding(_Model):
    """The results of one genre."""

    genre: Genre
    tracks: int = Field(description="Tracks that have the genre.")
    accepted: int = Field(description="Tracks for which the genre is accepted.")
    threshold: float
    precision: float | None = Field(description="Share of the accepted tracks that have the genre.")
    recall: float | None = Field(description="Share of the tracks with the genre for which it is accepted.")
    f1: Estimate
    average_precision: Estimate
    average_precision_lyrics_dropped: Estimate = Field(description="With every track's lyrics dropped.")
    roc_auc: Estimate
    calibration_error: float
    curve: Curve | None


class Bin(_Model):
    """Decisions (a track and a genre) with nearly the same score."""

    decisions: int
    mean_score: float
    share_correct: float = Field(description="Share of the decisions in which the track has the genre.")


class Calibration(_Model):
    """How well scores agree with the shares of tracks that have the genre."""

    error: float = Field(description="Expected calibration error, over all tracks and genres.")
    bins: tuple[Bin, ...] = Field(description="Equally wide bins from 0 to 1, without the empty ones.")


class Confusion(_Model):
    """Tracks for which the genre `missed` was not accepted, and `predicted` was accepted instead."""

    missed: str
    predicted: str
    tracks: int
    share: float = Field(description="Share of the tracks that have `missed`.")


class Graphs(_Model):
    """Which genres occur together: as the checkpoint was given, as it learned, and in the measured tracks."""

    correlations: Matrix = Field(description="A = ½(A¹ + A²), the input of the graph convolution.")
    learned: Matrix = Field(description="Cosine similarities of the trained genre vectors.")
    observed: Matrix = Field(description="P(column given row) in the split; null if no track has the row.")


class Findings(_Model):
    """The content of `report.json`."""

    report_version: int = 1
    trained_on: str
    synthetic: bool = Field(description="Whether the model was trained on music made by a program.")
    data_set: str
    split: str
    tracks: int
    left_out: dict[str, int] = Field(description="Tracks of the split that were left out, by error class.")
    resamples: int = Field(description="Bootstrap resamples of the tracks behind each interval.")
    level: float = Field(description="Confidence level of the intervals.")
    seed: int
    groups: tuple[Group, ...] = Field(min_length=1, description="Groups of tracks; the first is all tracks.")
    genres: tuple[GenreFinding, ...]
    calibration: Calibration
    confusions: tuple[Confusion, ...] = Field(description="Most frequent first.")
    graphs: Graphs
