"""The model card of an adopted model: its source, its licence, its metrics where they were measured."""

from exporter.card import genre_table, metrics_table, product_sentences
from schemas.bundle import BundleManifest, Weights


def adopted_card(manifest: BundleManifest, weights: Weights) -> str:
    """Return the bundle's README.md."""
    audio = manifest.audio
    measured = (
        metrics_table(manifest.measurements)
        if manifest.measurements
        else "Not measured, since no labelled tracks were given. All thresholds are 0.5."
    )
    licence = licence_sentence(weights)
    if weights.commercial_use is False:
        licence = f"**{licence}**"
    made_with = ", ".join(f"{package} {version}" for package, version in manifest.made_with.items())
    return (
        "\n\n".join(
            [
                f"# {manifest.name} {manifest.version}",
                f"Labels a track with any number of {len(manifest.genres)} genres, from its audio only. "
                f"Adopted from the transformers checkpoint `{weights.source}`; its "
                "feature extractor is part of the graph.\n\n"
                f"It analyses up to {audio.windows} windows of {audio.window_seconds:g} s at "
                f"{audio.sample_rate} Hz, mono, and averages their scores.",
                "## Licence of the weights\n\n" + licence,
                "## Metrics\n\n" + measured,
                "## Genres\n\n" + genre_table(manifest),
                "## Limits\n\n"
                "- Its training data and training metrics are documented by its publisher.\n"
                "- It has only the genres above.\n"
                "- It has no learned correlations between genres.\n"
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
    """Return a sentence about the licence of the weights, for the card and the command line."""
    if weights.licence is None:
        return "The checkpoint names no licence: ask its publisher before you use the model."
    if weights.commercial_use is None:
        return f"{weights.licence}: read it before you use the model commercially."
    allowed = "allows commercial use" if weights.commercial_use else "forbids commercial use"
    return f"{weights.licence}: {allowed}."
