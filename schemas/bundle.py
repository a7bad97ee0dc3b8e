"""The bundle: a folder that the exporter writes and the worker loads.

```
bundle.json       the manifest, `BundleManifest`
model.fp32.onnx   one graph per precision, from waveform and token ids to logits
tokenizer.json    Hugging Face tokenizers' own format
README.md         the model card
```

Every graph has the same inputs and outputs (B = batch, S = samples, T = tokens, G = genres, D = width):

| name | shape, type | meaning |
|---|---|---|
| `waveform` | (B, S) float32 | mono, at `audio.sample_rate`, one window of `audio.window_samples` |
| `lyrics_ids` | (B, T) int64 | token ids, padded |
| `lyrics_mask` | (B, T) int64 | 1 = token; a row of zeros = no lyrics |
| `logits` | (B, G) float32 | before the sigmoid, genres in the manifest's order |
| `embedding` | (B, D) float32 | the fused vector, for similarity search |
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import BundleError

MANIFEST_FILE = "bundle.json"
MANIFEST_VERSION = 1

INPUTS = ("waveform", "lyrics_ids", "lyrics_mask")
OUTPUTS = ("logits", "embedding")

Precision = Literal["fp32", "fp16", "int8"]
Probability = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]


class _ManifestPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Genre(_ManifestPart):
    """A genre of the model. A track with this genre also has its parent."""

    slug: Slug = Field(description="Stable key, for URLs and SQL.")
    name: str = Field(min_length=1, description="Display name.")
    parent: Slug | None = Field(default=None, description="The slug of the parent genre.")


class AudioInput(_ManifestPart):
    """The audio input of the graph."""

    sample_rate: int = Field(gt=0, description="Hz.")
    window_seconds: float = Field(gt=0, description="Length of one window.")
    windows: int = Field(
        gt=0, description="Number of windows of a track that are classified. Their scores are averaged."
    )
    picking: Literal["spread"] = Field(description="spread = the centres of equal parts of the track.")

    @property
    def window_samples(self) -> int:
        return round(self.window_seconds * self.sample_rate)


LyricsUse = Literal["used", "absent", "instrumental", "too_short", "unsupported_language"]
"""Use of a track's lyrics: used, or the reason why the model did not read them."""


class LyricsFilter(_ManifestPart):
    """The rule that selects the lyrics that a model reads. Training and serving both apply it."""

    min_words: int = Field(default=1, gt=0, description="Lyrics of fewer words are not read.")
    languages: tuple[str, ...] | None = Field(
        default=None,
        description="BCP 47 primary subtags that are read, such as en. null = lyrics in every language are "
        "read, also of jobs without a language. An empty list = the graph reads no lyrics.",
    )

    def accepts_language(self, language: str | None) -> bool:
        """Return whether the model reads lyrics in a language (BCP 47 tag; None if unknown).

        Lyrics in an unknown language are read, unless the model reads no lyrics.
        """
        if not self.languages:
            return self.languages is None
        return not language or language.lower().split("-")[0] in self.languages

    def lyrics_use(self, words: str, language: str | None) -> LyricsUse:
        """Return the use of the lyrics of a job.

        `words`: the lyrics cleaned by `media.lyrics`, empty if nothing is sung.
        `language`: BCP 47 tag; None if unknown.
        """
        if self.languages == ():
            return "unsupported_language"
        if not words:
            return "instrumental"
        if len(words.split()) < self.min_words:
            return "too_short"
        return "used" if self.accepts_language(language) else "unsupported_language"


class LyricsInput(LyricsFilter):
    """The lyrics input of the graph."""

    tokenizer: str = Field(description="File in the bundle.")
    max_tokens: int = Field(gt=0, description="Longer lyrics are cut to this number of tokens.")
    buckets: tuple[int, ...] = Field(
        min_length=1, description="Ascending lengths to which batches are padded; the last is `max_tokens`."
    )

    @model_validator(mode="after")
    def _validate_buckets(self) -> Self:
        if list(self.buckets) != sorted(set(self.buckets)) or self.buckets[-1] != self.max_tokens:
            raise ValueError("buckets must ascend and end with max_tokens")
        return self


class Measurement(_ManifestPart):
    """Metrics of the model on a split of a data set."""

    data_set: str
    split: str
    tracks: int = Field(gt=0)
    metrics: dict[str, float]


class Parity(_ManifestPart):
    """Difference between the graph and the checkpoint that it was exported from."""

    max_probability_difference: float = Field(ge=0)
    cases: int = Field(gt=0, description="Number of batch and token sizes that were compared.")


class ProductParity(_ManifestPart):
    """Difference between `cogenre classify` and the checkpoint, on encoded files and raw lyrics."""

    max_probability_difference: float = Field(ge=0)
    files: int = Field(gt=0)
    providers: tuple[str, ...] = Field(
        min_length=1, description="Execution providers that `cogenre classify` ran on."
    )


class PrecisionCost(_ManifestPart):
    """Difference between the graph of a lower precision and the fp32 graph."""

    data_set: str = Field(description="Data set that both graphs classified.")
    inputs: int = Field(gt=0, description="Tracks of the data set, or windows of noise.")
    changed_decisions: Probability = Field(description="Share of the label decisions that differ.")
    map_loss: float | None = Field(
        description="mAP of the fp32 graph minus mAP of this one; null without labelled tracks."
    )


class Weights(_ManifestPart):
    """Origin of weights that were trained elsewhere."""

    source: str = Field(min_length=1, description="Hub name, or the name of a folder.")
    licence: str | None = Field(
        description="Licence name of the publisher, such as cc-by-nc-4.0; null = not known."
    )
    commercial_use: bool | None = Field(description="Whether the licence allows it; null = not known.")


class BundleManifest(_ManifestPart):
    """`bundle.json`: everything that the worker needs to run a model."""

    manifest_version: Literal[1]
    name: Slug
    version: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+_-]*$", max_length=64)
    genres: tuple[Genre, ...] = Field(min_length=1, description="In the order of the graph's logits.")
    thresholds: tuple[Probability, ...] = Field(
        description="Threshold of each genre, which is accepted if its score is at least this."
    )
    correlations: tuple[tuple[float, ...], ...] = Field(
        description="The genre graph's A = ½(A¹ + A²), G × G: row i, column j = learned correlation of "
        "genre j given genre i."
    )
    audio: AudioInput
    lyrics: LyricsInput
    embedding_width: int = Field(gt=0)
    graphs: dict[Precision, str] = Field(min_length=1, description="Precision to file.")
    files: dict[str, Sha256] = Field(description="SHA-256 of every file of the bundle but the manifest.")
    measurements: tuple[Measurement, ...]
    parity: Parity
    product_parity: dict[Precision, ProductParity] = Field(
        default={},
        description="Precision to the difference from the checkpoint, measured from encoded files.",
    )
    precision_cost: dict[Precision, PrecisionCost] = Field(
        default={}, description="Precision to the difference from the fp32 graph, for every other graph."
    )
    weights: Weights | None = Field(
        default=None,
        description="Origin of the weights of an adopted model; null = trained with cogenre-train.",
    )
    made_with: dict[str, str] = Field(description="Package to version.")

    @model_validator(mode="after")
    def _validate_consistency(self) -> Self:
        count = len(self.genres)
        slugs = {genre.slug for genre in self.genres}
        if len(slugs) != count:
            raise ValueError("a genre is listed twice")
        if len(self.thresholds) != count:
            raise ValueError(f"{len(self.thresholds)} thresholds for {count} genres")
        if len(self.correlations) != count or any(len(row) != count for row in self.correlations):
            raise ValueError(f"correlations are not {count} × {count}")
        for genre in self.genres:
            if genre.parent is not None and genre.parent not in slugs:
                raise ValueError(f"{genre.slug}'s parent {genre.parent} is not among the genres")
        _check_acyclic(self.genres)
        for file in (*self.graphs.values(), self.lyrics.tokenizer):
            if file not in self.files:
                raise ValueError(f"{file} has no SHA-256 in files")
        if any(Path(file).name != file for file in self.files):
            raise ValueError("files must lie in the bundle's own folder")
        return self

    @property
    def label(self) -> str:
        """The model's `name:version`, as in commands."""
        return f"{self.name}:{self.version}"


def _check_acyclic(genres: Sequence[Genre]) -> None:
    """Raise ValueError if a genre is its own ancestor. Every parent must be among `genres`."""
    parents = {genre.slug: genre.parent for genre in genres}
    for slug in parents:
        line, parent = [slug], parents[slug]
        while parent is not None and parent not in line:
            line.append(parent)
            parent = parents[parent]
        if parent is not None:
            cycle = [*line[line.index(parent) :], parent]
            raise ValueError(f"the parents of genres form a cycle: {' → '.join(cycle)}")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> BundleManifest:
    """Return the manifest of a bundle, without checking its files. Raises BundleError."""
    path = folder / MANIFEST_FILE
    try:
        text = path.read_text()
    except OSError as error:
        raise BundleError(f"no bundle at {folder}: cannot read {MANIFEST_FILE} ({error.strerror})") from error
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}") from error
    version = raw.get("manifest_version") if isinstance(raw, dict) else None
    if version != MANIFEST_VERSION:
        raise BundleError(
            f"{path} has manifest version {version!r}; this release reads {MANIFEST_VERSION}: "
            "export the model again or install the matching release"
        )
    try:
        return BundleManifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "manifest"
        raise BundleError(f"{path}: {where}: {first['msg']}") from error


def read_bundle(folder: Path) -> BundleManifest:
    """Return the manifest of a bundle after checking the SHA-256 of every file.

    Raises BundleError if a file is missing or changed, or if the manifest is invalid.
    """
    manifest = read_manifest(folder)
    for name, expected in manifest.files.items():
        file = folder / name
        if not file.is_file():
            raise BundleError(f"bundle {manifest.label} lacks {name}: copy it to {folder} again")
        if sha256_of(file) != expected:
            raise BundleError(
                f"bundle {manifest.label}: {name} is not the file that was exported "
                "(SHA-256 differs): copy the bundle again"
            )
    return manifest


def artefact_sha256(folder: Path) -> str:
    """Return the identity of a bundle: the SHA-256 of its manifest, which lists those of all other files."""
    return sha256_of(folder / MANIFEST_FILE)
