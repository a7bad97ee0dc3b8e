"""A loaded bundle, without any server."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.bundle import sha256_of
from schemas.errors import BundleError, ConfigError
from tests.audio import encode, tone
from tests.conftest import DEMO_BUNDLE
from worker.models.model import Model, ModelInput, open_bundle
from worker.settings import ModelSettings

SONG = "love me tender love me true"


@pytest.fixture(scope="module")
def model() -> Model:
    return open_bundle(DEMO_BUNDLE)


def model_with_filter(tmp_path: Path, **lyrics: Any) -> Model:
    """Return the demo's model with other fields in the manifest's lyrics section."""
    folder = tmp_path / "gated"
    shutil.copytree(DEMO_BUNDLE, folder)
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["lyrics"] |= lyrics
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return open_bundle(folder)


def test_tracks_in_a_batch_do_not_change_each_other(model: Model) -> None:
    rng = np.random.default_rng(0)
    samples = model.manifest.audio.window_samples
    inputs = [
        ModelInput(
            rng.normal(0, 0.1, (windows, samples)).astype(np.float32), model.encode_lyrics(words, None)[0]
        )
        for windows, words in [(1, SONG), (3, None), (2, SONG * 20), (1, None), (2, "la")]
    ]
    together = model.predict(inputs)
    for track, result in zip(inputs, together, strict=True):
        (single,) = model.predict([track])
        np.testing.assert_allclose(result.scores, single.scores, atol=1e-5)
        np.testing.assert_allclose(result.embedding, single.embedding, atol=1e-4)


@pytest.mark.parametrize(
    ("lyrics", "language", "use"),
    [
        (None, "en", "absent"),
        (" ", "en", "absent"),
        ("[Instrumental]", None, "instrumental"),
        ("[Verse]\n(x2)", None, "instrumental"),
        ("love me", "en", "too_short"),
        (SONG, "de", "unsupported_language"),
        (SONG, "de-AT", "unsupported_language"),
        (SONG, "EN-gb", "used"),
        (SONG, None, "used"),
    ],
)
def test_the_result_states_why_lyrics_are_not_used(
    tmp_path: Path, lyrics: str | None, language: str | None, use: str
) -> None:
    ids, actual = model_with_filter(tmp_path, min_words=3, languages=["en"]).encode_lyrics(lyrics, language)
    assert actual == use
    assert bool(ids) == (use == "used")


def test_by_default_lyrics_of_any_length_and_language_are_used(model: Model) -> None:
    assert model.encode_lyrics("la", "xx")[1] == "used"


def test_the_number_of_windows_can_be_set(model: Model) -> None:
    encoded = encode(tone(60), 22_050)
    fewer = Model(ModelSettings(bundle=DEMO_BUNDLE, windows=1))
    assert model.classify(encoded, None).analysed_seconds == pytest.approx(30)
    assert fewer.classify(encoded, None).analysed_seconds == pytest.approx(10)


def changed_byte(folder: Path) -> None:
    content = bytearray((folder / "model.fp32.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.fp32.onnx").write_bytes(content)


def truncated(folder: Path) -> None:
    content = (folder / "model.fp32.onnx").read_bytes()
    (folder / "model.fp32.onnx").write_bytes(content[: len(content) // 2])


def edited(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(manifest | changes))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, "model.fp32.onnx is not the file that was exported"),
        (changed_byte, "model.fp32.onnx is not the file that was exported"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "lacks tokenizer.json"),
        (lambda folder: edited(folder, manifest_version=2), "manifest version 2; this release reads 1"),
        (lambda folder: edited(folder, thresholds=[0.5]), "1 thresholds for 16 genres"),
    ],
)
def test_an_incomplete_bundle_raises_at_load(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    folder = Path(shutil.copytree(DEMO_BUNDLE, tmp_path / "bundle"))
    damage(folder)
    with pytest.raises(BundleError, match=message):
        open_bundle(folder)


def test_a_graph_that_was_exported_truncated_raises_at_load(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DEMO_BUNDLE, tmp_path / "bundle"))
    truncated(folder)
    files = json.loads((folder / "bundle.json").read_text())["files"]
    edited(folder, files=files | {"model.fp32.onnx": sha256_of(folder / "model.fp32.onnx")})
    with pytest.raises(ConfigError, match=r"model.fp32.onnx does not load"):
        open_bundle(folder)


def test_a_bundle_that_loads_and_does_not_run_raises(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bundle demo:1\.0\.0 loads but does not run on cpu: .*Expand"):
        model_with_filter(
            tmp_path, max_tokens=5000, buckets=[5000]
        )  # more tokens than the graph has positions
