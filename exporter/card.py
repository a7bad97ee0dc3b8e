"""The model card: what the model is, what it has heard, how good it is, where it fails."""

from schemas.bundle import BundleManifest, Measurement
from trainer.checkpoint import Description
from trainer.config import LittleBert, NetworkConfig


def model_card(manifest: BundleManifest, description: Description) -> str:
    """The bundle's README.md."""
    return (
        "\n\n".join(
            [
                f"# {manifest.name} {manifest.version}",
                _what(manifest, description),
                "## What it has heard\n\n" + _data(description),
                "## How good it is\n\n" + metrics_table(manifest.measurements),
                "## Genres\n\n" + genre_table(manifest),
                "## Limits\n\n" + _limits(description),
                "## This bundle\n\n" + _bundle(manifest),
            ]
        )
        + "\n"
    )


def _what(manifest: BundleManifest, description: Description) -> str:
    audio, network = manifest.audio, description.config.network
    heard_from = "its audio and its lyrics" if network.lyrics else "its audio alone"
    listener = f" with `{network.audio_model}`" if network.audio_model else ""
    return (
        f"Labels a track with any number of {len(manifest.genres)} genres, from {heard_from}. "
        'The network of Ru et al., "Improving Music Genre Classification from Multi-Modal Properties of '
        'Music and Genre Correlations Perspective" (ICASSP 2023, arXiv 2303.07667).\n\n'
        f"It hears up to {audio.windows} windows of {audio.window_seconds:g} s at {audio.sample_rate} Hz, "
        f"mono{listener}. {_reading(manifest, network)}"
    )


def _reading(manifest: BundleManifest, network: NetworkConfig) -> str:
    if not network.lyrics:
        return "It does not read lyrics."
    reader = network.lyrics_model
    reads = "a little BERT of its own" if isinstance(reader, LittleBert) else f"`{reader}`"
    return (
        f"It reads the first {manifest.lyrics.max_tokens} tokens of the lyrics with {reads}. "
        "Lyrics may be missing."
    )


def _data(description: Description) -> str:
    data = description.data_set
    tracks = ", ".join(f"{count} {split}" for split, count in data.tracks.items())
    text = f"{data.name}: {tracks} tracks."
    if data.synthetic:
        text += (
            "\n\n**It has only ever heard synthetic music, made by a program, and read lyrics made by one. "
            "On real music its labels mean nothing.** It shows that the whole path works, no more. "
            "Its scores never stand beside those of models measured on real music."
        )
    return text


def metrics_table(measurements: tuple[Measurement, ...]) -> str:
    names = list(measurements[0].metrics)
    header = "| | tracks | " + " | ".join(names) + " |"
    rule = "|---" * (len(names) + 2) + "|"
    rows = [
        f"| {one.data_set}, {one.split} | {one.tracks} | "
        + " | ".join(f"{one.metrics[name]:.3f}" for name in names)
        + " |"
        for one in measurements
    ]
    meaning = (
        "accuracy, f1: of each track's label set (intersection over union; F1), averaged over tracks. "
        "map, roc_auc: macro averages over genres. Thresholds were fitted on the validation split."
    )
    return "\n".join([header, rule, *rows]) + "\n\n" + meaning


def genre_table(manifest: BundleManifest) -> str:
    rows = [
        f"| {genre.name} | `{genre.slug}` | {f'`{genre.parent}`' if genre.parent else ''} | {threshold:.3f} |"
        for genre, threshold in zip(manifest.genres, manifest.thresholds, strict=True)
    ]
    return "\n".join(["| genre | slug | parent | threshold |", "|---|---|---|---|", *rows])


def _limits(description: Description) -> str:
    network = description.config.network
    limits = [
        "It knows the genres above and no others: a track of another genre gets the nearest ones, or none."
    ]
    if network.lyrics:
        limits.append(
            "A track without lyrics is labelled by its audio alone, less well: see the second row above."
        )
    limits.append("Scores are not calibrated probabilities; compare them with the thresholds.")
    names = [name for name in (network.audio_model, network.lyrics_model) if isinstance(name, str)]
    if names:
        begun = " and ".join(f"`{name}`" for name in names)
        limits.append(f"It began with the weights of {begun}: their licences bind it too.")
    if not description.data_set.synthetic:
        limits.append("Music, languages and eras that its data lacks are labelled worse.")
    return "\n".join(f"- {limit}" for limit in limits)


def _bundle(manifest: BundleManifest) -> str:
    made_with = ", ".join(f"{package} {version}" for package, version in manifest.made_with.items())
    costs = "".join(
        f" Its {precision} graph changes {cost.changed_decisions:.2%} of the label decisions"
        + ("" if cost.map_loss is None else f" and costs {cost.map_loss:.4f} mAP")
        + f" ({cost.data_set}, {cost.inputs})."
        for precision, cost in manifest.precision_cost.items()
    )
    return (
        f"Probabilities are within {manifest.parity.max_probability_difference:.1e} of the checkpoint's "
        f"over {manifest.parity.cases} cases.{product_sentences(manifest)}{costs} Made with {made_with}."
    )


def product_sentences(manifest: BundleManifest) -> str:
    """Of each precision how far `cogenre classify` is from what it was compared with, after a sentence."""
    return "".join(
        f" From file to labels, {precision} is within {parity.max_probability_difference:.1e} of it over "
        f"{parity.files} files ({', '.join(parity.providers)})."
        for precision, parity in manifest.product_parity.items()
    )
