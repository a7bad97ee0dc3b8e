"""`cogenre engine`"""

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


def register(app: typer.Typer) -> None:
    app.command()(engine)


def engine(
    bundle: Annotated[
        str | None,
        typer.Option(help="Bundle, or folder of bundles; default: COGENRE_BUNDLE, else the demo's."),
    ] = None,
) -> None:
    """Build TensorRT engines ahead of time, with the settings of the worker. Run it on the GPU machine."""
    from schemas.bundle import read_bundle
    from worker.models.bundle_cache import fetch_bundles
    from worker.models.rollout import find_bundles
    from worker.models.session import prepare_engine, require_gpu_stack
    from worker.settings import ModelSettings, bundle_or_demo

    settings = ModelSettings.load(bundle=bundle_or_demo(bundle), provider="tensorrt")
    require_gpu_stack("tensorrt")
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        for folder in find_bundles(*fetch_bundles(settings)):
            manifest = read_bundle(folder)
            name = f"{manifest.label} ({settings.precision})"
            progress.add_task(f"building the engine of {name}: this takes minutes", total=None)
            _, options, built = prepare_engine(folder, manifest, settings)
            state = "built" if built else "already cached"
            typer.echo(f"engine of {name} {state}: {options['trt_engine_cache_path']}")
