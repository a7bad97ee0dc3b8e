"""An adopted checkpoint of transformers gives the same scores in the worker as in its own pipeline."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sqlalchemy import Engine, text
from transformers import ASTFeatureExtractor, ASTForAudioClassification

from exporter.adopt.bundle import WindowOptions, adopt
from exporter.adopt.source import load_source
from exporter.adopt.taxonomy import Taxonomy
from media.decode import decode_windows
from schemas.bundle import read_bundle
from tests.conftest import SHARED
from tests.exporter.adopt import checkpoints
from tests.worker.jobs import count, job, push, put_audio
from tests.worker.processes import running_worker, wait_until

RECORDINGS = sorted((SHARED / "audio").glob("*.ogg"))

TOLERANCE = 1e-3


@pytest.mark.skipif(not RECORDINGS, reason=f"no recordings in {SHARED / 'audio'}")
def test_scores_are_those_of_the_original_pipeline(
    environment: dict[str, str], catalog: Engine, s3: Any, tmp_path: Path
) -> None:
    checkpoint = checkpoints.ast(tmp_path / "hub")
    bundle = tmp_path / "bundle"
    adopt(load_source(checkpoint, None, None), bundle, "adopted", "1", Taxonomy(), WindowOptions())
    with running_worker(COGENRE_BUNDLE=str(bundle)):
        push(
            *(
                job(file.stem, put_audio(s3, file.name, file.read_bytes()), lyrics={"text": "la la la la"})
                for file in RECORDINGS
            )
        )
        wait_until(lambda: count(catalog, "track_current") == len(RECORDINGS))
    with catalog.connect() as connection:
        rows = connection.execute(text("select track_id, scores, lyrics, provider from classification")).all()
    assert {(row.lyrics, row.provider) for row in rows} == {("unsupported_language", "cpu")}
    got = {row.track_id: np.array(row.scores) for row in rows}

    manifest = read_bundle(bundle)
    extractor = ASTFeatureExtractor.from_pretrained(checkpoint)
    model = ASTForAudioClassification.from_pretrained(checkpoint).eval()
    leaves = {"punk": "Rock---Punk", "techno": "Electronic---Techno", "jazz": "Jazz", "speech": "Speech"}
    max_difference = 0.0
    for file in RECORDINGS:
        windows = decode_windows(file.read_bytes(), manifest.audio).windows
        features = extractor(list(windows), sampling_rate=manifest.audio.sample_rate, return_tensors="pt")
        with torch.no_grad():
            expected = model(**features).logits.sigmoid().mean(0)
        for column, genre in enumerate(manifest.genres):
            if genre.slug in leaves:
                label = checkpoints.LABELS.index(leaves[genre.slug])
                assert got[file.stem][column] == pytest.approx(float(expected[label]), abs=TOLERANCE)
        max_difference = max(max_difference, float(np.abs(got[file.stem] - got[RECORDINGS[0].stem]).max()))
    # Weights that score every file the same would prove nothing.
    assert max_difference > 10 * TOLERANCE
