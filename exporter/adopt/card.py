"""The model card of an adopted model: where it comes from, what its licence allows, what nobody measured."""

from exporter.card import genre_table, metrics_table, product_sentences
from schemas.bundle import BundleManifest, Weights


def adopted_card(manifest: BundleManifest, weights: Weights) -> str:
    """The bundle's README.md."""
    audio = manifest.audio
    measured = (
        metrics_table(manifest.measurements)
        if manifest.measurements
        else "Not measured: the thresholds are all 0.5, and no labelled tracks were given."
    )
    licence = licence_sentence(weights)
    if weights.commercial_use is False:
        licence = f"**{licence}**"
    made_with = ", ".join(f"{package} {version}" for package, version in manifest.made_with.items())
    return (
        "\n\n".join(
            [
                f"# {manifest.name} {manifest.version}",
                f"Labels a track with any number of {len(manifest.genres)} genres, from its audio alone: "
                f"lyrics are not read. Adopted from the transformers checkpoint `{weights.source}`; its "
                "feature extractor is part of the graph.\n\n"
                f"It hears up to {audio.windows} windows of {audio.window_seconds:g} s at "
                f"{audio.sample_rate} Hz, mono, and averages their scores.",
                "## Licence of the weights\n\n" + licence,
                "## How good it is\n\n" + measured,
                "## Genres\n\n" + genre_table(manifest),
                "## Limits\n\n"
                "- What it was trained on, and how well, its publisher says, not this card.\n"
                "- It knows the genres above and no others.\n"
                "- No correlations between genres were learned: each speaks for itself alone.\n"
                "- Scores are not calibrated probabilities; compare them with the thresholds.",
                "## This bundle\n\n"
                f"Probabilities are within {manifest.parity.max_probability_difference:.1e} of the "
                f"checkpoint's own pipeline over {manifest.parity.cases} cases.{product_sentences(manifest)} "
                f"Made with {made_with}.",
            ]
        )
        + "\n"
    )


def licence_sentence(weights: Weights) -> str:
    """What one may do with the weights, in a sentence for the card and the command line."""
    if weights.licence is None:
        return "The checkpoint names no licence: ask its publisher before you use it."
    if weights.commercial_use is None:
        return f"{weights.licence}: read it before you use the model commercially."
    allowed = "allows commercial use" if weights.commercial_use else "forbids commercial use"
    return f"{weights.licence}: {allowed}."
