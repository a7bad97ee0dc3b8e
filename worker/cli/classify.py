"""`cogenre classify`"""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from worker.cli.lyrics import lyrics_in


def register(app: typer.Typer) -> None:
    app.command()(classify)


def classify(
    files: Annotated[list[Path], typer.Argument(help="Encoded audio. A .txt of the same name = its lyrics.")],
    bundle: Annotated[
        str | None, typer.Option(help="Model bundle; default: COGENRE_BUNDLE, else the demo's.")
    ] = None,
    lyrics: Annotated[Path | None, typer.Option(help="Lyrics, where a single audio file is given.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON lines, with the scores of all genres.")
    ] = False,
) -> None:
    """Label files with a bundle. No server needed."""
    from media.errors import MediaError
    from schemas.errors import ConfigError
    from worker.models.model import open_bundle
    from worker.settings import bundle_or_demo

    if lyrics is not None and len(files) > 1:
        raise ConfigError(
            "--lyrics goes with one audio file; beside several, put a .txt of the same name each"
        )
    given = lyrics_in(lyrics) if lyrics else None
    model = open_bundle(bundle_or_demo(bundle))
    table = Table("file", "genres", "seconds", "lyrics")
    failed = 0
    for file in files:
        beside = file.with_suffix(".txt")
        try:
            text = given if lyrics else lyrics_in(beside) if beside.is_file() else None
            result = model.classify(file.read_bytes(), text)
        except (OSError, MediaError, ConfigError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            Console(stderr=True, soft_wrap=True, highlight=False).print(
                f"cogenre: {file}: {reason}", markup=False
            )
            failed += 1
            continue
        prediction = result.prediction
        slugs = [genre.slug for genre in model.manifest.genres]
        labels = [(slugs[label.genre], label.score) for label in model.rule.select_labels(prediction.scores)]
        if as_json:
            scores = dict(zip(slugs, (round(float(score), 6) for score in prediction.scores), strict=True))
            typer.echo(
                json.dumps(
                    {
                        "file": str(file),
                        "genres": {slug: round(score, 6) for slug, score in labels},
                        "scores": scores,
                        "seconds": round(result.track_seconds, 3),
                        "lyrics": result.lyrics,
                        "model": model.manifest.label,
                    }
                )
            )
        else:
            genres = ", ".join(f"{slug} {score:.2f}" for slug, score in labels) or "none above its threshold"
            table.add_row(str(file), genres, f"{result.track_seconds:.1f}", result.lyrics)
    if not as_json and table.row_count:
        Console().print(table)
    if failed:
        raise typer.Exit(2)
