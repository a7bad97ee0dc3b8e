"""`cogenre-export`: makes bundles, which the worker loads, and copies them to and from S3."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from exporter.errors import PrecisionError
from schemas.bundle import Precision
from schemas.command import run_command

OutFolder = Annotated[Path, typer.Argument(help="Folder of the bundle; must not exist yet.")]
ModelName = Annotated[str, typer.Option(help="The model's name: lower case, digits, hyphens.")]
ModelVersion = Annotated[str, typer.Option(help="The model's version, e.g. 1.0.0.")]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Make bundles from checkpoints, and copy them to and from S3.",
)
console = Console(stderr=True)


@app.command()
def bundle(
    checkpoint: Annotated[Path, typer.Argument(help="Folder that cogenre-train fit wrote.")],
    out: OutFolder,
    name: ModelName,
    version: ModelVersion,
    precision: Annotated[
        str,
        typer.Option(help="Graphs, comma-separated: fp32 is always written; fp16 for GPUs, int8 for CPUs."),
    ] = "fp32",
    measure: Annotated[
        Path | None,
        typer.Option(
            help="Labelled tracks, as for cogenre-train fit. The cost of fp16 and int8 is measured on their "
            "validation split."
        ),
    ] = None,
    allow_loss: Annotated[
        bool,
        typer.Option("--allow-loss", help="Write fp16 and int8 at any cost, also without --measure."),
    ] = False,
) -> None:
    """Export a checkpoint, compare the graphs with it, and write a bundle."""
    precisions = _parse_precisions(precision)
    # Imported here, since torch takes seconds to import, and --help does not need it.
    from exporter.bundle import PrecisionOptions, write_bundle
    from trainer.checkpoint import load_checkpoint
    from trainer.data.read import read_library

    loaded = load_checkpoint(checkpoint)
    labelled = read_library(measure, loaded.description.genres) if measure else None
    with console.status("exporting") as status:
        manifest = write_bundle(
            loaded, out, name, version, PrecisionOptions(precisions, labelled, allow_loss), status.update
        )
    product_difference = max(parity.max_probability_difference for parity in manifest.product_parity.values())
    typer.echo(
        f"{manifest.label} written to {out}: {len(manifest.genres)} genres, probabilities within "
        f"{manifest.parity.max_probability_difference:.1e} of the checkpoint's, "
        f"{product_difference:.1e} from file to labels"
    )
    for reduced, cost in manifest.precision_cost.items():
        loss = "" if cost.map_loss is None else f", costs {cost.map_loss:.4f} mAP"
        typer.echo(
            f"{reduced}: changes {cost.changed_decisions:.2%} of the label decisions{loss} "
            f"({cost.data_set}, {cost.inputs})"
        )


def _parse_precisions(text: str) -> tuple[Precision, ...]:
    """Return the precisions besides fp32, which is always written. Raises PrecisionError."""
    reduced: tuple[Precision, ...] = ("fp16", "int8")
    requested = {part.strip() for part in text.split(",")}
    if requested - {"fp32", *reduced}:
        raise PrecisionError(f"--precision {text}: use fp32, fp16 and int8, separated by commas")
    return tuple(precision for precision in reduced if precision in requested)


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    checkpoint: Annotated[
        Path | None, typer.Argument(help="The checkpoint to compare with; default: the bundle's fp32 graph.")
    ] = None,
) -> None:
    """Check a bundle's files, and compare its graphs and `cogenre classify` with the checkpoint."""
    from exporter.checks.graph_parity import load_reference
    from exporter.checks.graph_parity import verify as verify_graphs
    from exporter.checks.product_parity import measure_product_parity
    from schemas.bundle import read_bundle
    from trainer.checkpoint import load_checkpoint

    with console.status("comparing the graphs") as status:
        loaded = load_checkpoint(checkpoint) if checkpoint else None
        parities = verify_graphs(bundle, loaded)
        status.update("comparing cogenre classify")
        manifest = read_bundle(bundle)
        name, reference = load_reference(bundle, manifest, loaded)
        product_parities = measure_product_parity(bundle, manifest, name, reference)
    for precision, parity in parities.items():
        product = product_parities[precision]
        typer.echo(
            f"{precision}: probabilities within {parity.max_probability_difference:.1e} of {name}'s in "
            f"{parity.cases} cases, {product.max_probability_difference:.1e} from file to labels in "
            f"{product.files} files on {', '.join(product.providers)}"
        )


@app.command()
def adopt(
    checkpoint: Annotated[str, typer.Argument(help="Hub name or folder of a transformers audio classifier.")],
    out: OutFolder,
    name: ModelName,
    version: ModelVersion,
    taxonomy: Annotated[
        Path | None,
        typer.Option(help="TOML file of the labels to keep, drop and rename. Default: keep all."),
    ] = None,
    valid: Annotated[
        Path | None,
        typer.Option(help="Labelled tracks to fit thresholds on: a manifest, or a folder like Music4All's."),
    ] = None,
    windows: Annotated[int, typer.Option(min=1, help="Maximum number of windows of a track.")] = 3,
    window_seconds: Annotated[
        float | None, typer.Option(min=1, help="Length of a window; default: the feature extractor's.")
    ] = None,
    activation: Annotated[
        Literal["sigmoid", "softmax"] | None,
        typer.Option(help="Turns logits into scores; default: by the checkpoint's problem_type."),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="Licence of the weights, e.g. cc-by-nc-4.0; default: from the model card."),
    ] = None,
) -> None:
    """Turn a transformers audio classifier into a bundle that does not use lyrics."""
    from exporter.adopt.bundle import WindowOptions
    from exporter.adopt.bundle import adopt as write_adopted_bundle
    from exporter.adopt.card import licence_sentence
    from exporter.adopt.source import load_source
    from exporter.adopt.taxonomy import Taxonomy, read_taxonomy

    rules = read_taxonomy(taxonomy) if taxonomy else Taxonomy()
    with console.status("loading"):
        source = load_source(checkpoint, activation, licence)
    console.print("exporting the graph and comparing it with the checkpoint")
    manifest = write_adopted_bundle(
        source, out, name, version, rules, WindowOptions(windows, window_seconds), valid
    )
    typer.echo(
        f"{manifest.label} written to {out}: {len(manifest.genres)} genres, probabilities within "
        f"{manifest.parity.max_probability_difference:.1e} of the checkpoint's own pipeline's"
    )
    typer.echo(f"licence of the weights: {licence_sentence(source.weights)}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def engine(context: typer.Context) -> None:
    """Build TensorRT engines ahead of time. Runs `cogenre engine` with the given arguments."""
    # The worker builds them, since the code that loads an engine must build it, and the exporter may not
    # import the worker.
    command = [sys.executable, "-m", "worker.cli", "engine", *context.args]
    raise typer.Exit(subprocess.run(command, check=False).returncode)  # noqa: S603 - the command is ours


@app.command()
def push(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    url: Annotated[
        str, typer.Argument(help="s3://bucket/prefix; the model's name and version are appended.")
    ],
) -> None:
    """Upload a bundle to S3. A version is written once. An interrupted push is continued."""
    from storage.bundles import push as push_bundle

    with console.status("pushing"):
        target = push_bundle(_s3(), bundle, url)
    typer.echo(f"pushed: COGENRE_BUNDLE={target}")


@app.command()
def pull(
    url: Annotated[str, typer.Argument(help="s3://bucket/prefix/name/version, as printed by push.")],
    out: OutFolder,
) -> None:
    """Download a bundle from S3 and check every file's hash."""
    from storage.bundles import pull as pull_bundle

    with console.status("pulling"):
        manifest = pull_bundle(_s3(), url, out)
    typer.echo(f"{manifest.label} pulled to {out}")


def _s3() -> Any:
    from storage.client import BOTO3_DEFAULTS, s3_client

    return s3_client(limits=BOTO3_DEFAULTS)


def main() -> None:
    """Run the console script `cogenre-export`."""
    run_command(app, "cogenre-export")
