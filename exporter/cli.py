"""`cogenre-export`: from a checkpoint to a bundle that the worker loads."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from exporter.errors import PrecisionError
from schemas.bundle import Precision
from schemas.errors import CogenreError
from trainer.command import run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Makes bundles of checkpoints.",
)
console = Console(stderr=True)


@app.command()
def bundle(
    checkpoint: Annotated[Path, typer.Argument(help="Folder that cogenre-train fit wrote.")],
    out: Annotated[Path, typer.Argument(help="Folder of the bundle; must not exist yet.")],
    name: Annotated[str, typer.Option(help="The model's name: lower case, digits, hyphens.")],
    version: Annotated[str, typer.Option(help="The model's version, e.g. 1.0.0.")],
    precision: Annotated[
        str, typer.Option(help="fp32, and after a comma fp16 for GPUs, int8 for CPUs, or both.")
    ] = "fp32",
    measure: Annotated[
        Path | None,
        typer.Option(
            help="Labelled tracks, as cogenre-train fit takes them: on their validation split it is measured "
            "what fp16 and int8 cost."
        ),
    ] = None,
    allow_loss: Annotated[
        bool,
        typer.Option("--allow-loss", help="Write fp16 and int8 whatever they cost, and without --measure."),
    ] = False,
) -> None:
    """Export a checkpoint, compare the graph with it, and write a bundle."""
    wanted = _precisions(precision)
    # Torch takes seconds to import: not for --help.
    from exporter.bundle import Rounded, write_bundle
    from trainer.checkpoint import load_checkpoint
    from trainer.data.read import read_library

    loaded = load_checkpoint(checkpoint)
    labelled = read_library(measure, loaded.description.genres) if measure else None
    with console.status("exporting") as status:
        manifest = write_bundle(
            loaded, out, name, version, Rounded(wanted, labelled, allow_loss), status.update
        )
    product = max(parity.max_probability_difference for parity in manifest.product_parity.values())
    typer.echo(
        f"{manifest.label} written to {out}: {len(manifest.genres)} genres, probabilities within "
        f"{manifest.parity.max_probability_difference:.1e} of the checkpoint's, {product:.1e} from file to "
        "labels"
    )
    for smaller, cost in manifest.precision_cost.items():
        loss = "" if cost.map_loss is None else f", costs {cost.map_loss:.4f} mAP"
        typer.echo(
            f"{smaller}: changes {cost.changed_decisions:.2%} of the label decisions{loss} "
            f"({cost.data_set}, {cost.inputs})"
        )


def _precisions(text: str) -> tuple[Precision, ...]:
    """What is written besides fp32, which always is. Raises PrecisionError."""
    known: tuple[Precision, ...] = ("fp16", "int8")
    wanted = {part.strip() for part in text.split(",")}
    if wanted - {"fp32", *known}:
        raise PrecisionError(f"--precision {text}: write fp32, or with more graphs fp32,fp16,int8")
    return tuple(precision for precision in known if precision in wanted)


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    checkpoint: Annotated[
        Path | None, typer.Argument(help="The checkpoint that it was made of; without it, its fp32 graph.")
    ] = None,
) -> None:
    """Check a bundle's files, and compare its graphs and `cogenre classify` with the checkpoint."""
    from exporter.checks.graph_parity import reference_of
    from exporter.checks.graph_parity import verify as verify_graphs
    from exporter.checks.product_parity import measure_product
    from schemas.bundle import read_bundle
    from trainer.checkpoint import load_checkpoint

    with console.status("comparing the graphs") as status:
        own = load_checkpoint(checkpoint) if checkpoint else None
        found = verify_graphs(bundle, own)
        status.update("comparing cogenre classify")
        manifest = read_bundle(bundle)
        name, reference = reference_of(bundle, manifest, own)
        product = measure_product(bundle, manifest, name, reference)
    for precision, parity in found.items():
        files = product[precision]
        typer.echo(
            f"{precision}: probabilities within {parity.max_probability_difference:.1e} of {name}'s in "
            f"{parity.cases} cases, {files.max_probability_difference:.1e} from file to labels in "
            f"{files.files} files on {', '.join(files.providers)}"
        )


@app.command()
def adopt(
    checkpoint: Annotated[str, typer.Argument(help="Hub name or folder of a transformers audio classifier.")],
    out: Annotated[Path, typer.Argument(help="Folder of the bundle; must not exist yet.")],
    name: Annotated[str, typer.Option(help="The model's name: lower case, digits, hyphens.")],
    version: Annotated[str, typer.Option(help="The model's version, e.g. 1.0.0.")],
    taxonomy: Annotated[
        Path | None,
        typer.Option(help="TOML: which labels are kept, dropped, renamed. Default: all are kept."),
    ] = None,
    valid: Annotated[
        Path | None,
        typer.Option(help="Labelled tracks to fit thresholds on: a manifest, or a folder like Music4All's."),
    ] = None,
    windows: Annotated[int, typer.Option(min=1, help="Windows of a track, at most.")] = 3,
    window_seconds: Annotated[
        float | None, typer.Option(min=1, help="Of a window; default: what the feature extractor takes.")
    ] = None,
    activation: Annotated[
        Literal["sigmoid", "softmax"] | None,
        typer.Option(help="From logits to scores; default: as the checkpoint's problem_type says."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Of the weights, e.g. cc-by-nc-4.0; default: as the model card says.")
    ] = None,
) -> None:
    """Turn a transformers audio classifier into a bundle that reads no lyrics."""
    from exporter.adopt.bundle import Listening
    from exporter.adopt.bundle import adopt as write
    from exporter.adopt.card import licence_sentence
    from exporter.adopt.source import load_source
    from exporter.adopt.taxonomy import Taxonomy, read_taxonomy

    chosen = read_taxonomy(taxonomy) if taxonomy else Taxonomy()
    with console.status("loading"):
        source = load_source(checkpoint, activation, licence)
    console.print("exporting, and comparing with the checkpoint")
    manifest = write(source, out, name, version, chosen, Listening(windows, window_seconds), valid)
    typer.echo(
        f"{manifest.label} written to {out}: {len(manifest.genres)} genres, probabilities within "
        f"{manifest.parity.max_probability_difference:.1e} of the checkpoint's own pipeline's"
    )
    typer.echo(f"licence of the weights: {licence_sentence(source.weights)}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def engine(context: typer.Context) -> None:
    """Build TensorRT engines ahead of time: `cogenre engine`, which has the worker's own session code."""
    # The exporter does not know the worker, and engines must be built by what loads them.
    command = [sys.executable, "-m", "worker.cli", "engine", *context.args]
    raise typer.Exit(subprocess.run(command, check=False).returncode)  # noqa: S603 - the command is ours


@app.command()
def push(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    url: Annotated[str, typer.Argument(help="s3://bucket/prefix; name and version are added.")],
) -> None:
    """Put a bundle into S3, once a version. Goes on where an earlier push was interrupted."""
    from storage.bundles import push as put

    with console.status("pushing"):
        target = put(_s3(), bundle, url)
    typer.echo(f"pushed: COGENRE_BUNDLE={target}")


@app.command()
def pull(
    url: Annotated[str, typer.Argument(help="s3://bucket/prefix/name/version, as push said.")],
    out: Annotated[Path, typer.Argument(help="Folder of the bundle; must not exist yet.")],
) -> None:
    """Get a bundle from S3 and check every file's hash."""
    from storage.bundles import pull as get

    with console.status("pulling"):
        manifest = get(_s3(), url, out)
    typer.echo(f"{manifest.label} pulled to {out}")


def _s3() -> Any:
    from storage.client import BOTO3_DEFAULTS, s3_client

    return s3_client(limits=BOTO3_DEFAULTS)


def main() -> None:
    """The console script."""
    run(app, "cogenre-export", CogenreError)
