"""Complete training runs on a small library of tones and lyrics."""

import csv
import json
import shutil
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tokenizers import Tokenizer
from torch import Tensor

from storage.errors import OutputError
from tests.conftest import ROOT
from tests.trainer.conftest import TINY
from trainer.checkpoint import Checkpoint, load_checkpoint
from trainer.config import TrainingConfig
from trainer.data.read import read_library
from trainer.data.splits import artist_digest
from trainer.data.track import SPLITS
from trainer.errors import ManifestError, TrainingError
from trainer.fit.run import fit
from trainer.network.genre_graph import correlations
from trainer.network.lyrics_model import LyricsModel, embed_names


def test_the_network_learns_from_audio_and_from_lyrics(checkpoint: Checkpoint) -> None:
    with_lyrics, lyrics_dropped = checkpoint.description.measurements
    assert (with_lyrics.split, lyrics_dropped.split) == ("test", "test, lyrics dropped")
    assert with_lyrics.tracks == lyrics_dropped.tracks == 12
    assert with_lyrics.metrics["map"] > 0.9
    # The pitch can be learned from audio only, love only from lyrics.
    assert 0.5 < lyrics_dropped.metrics["f1"] < with_lyrics.metrics["f1"]


def test_the_checkpoint_describes_its_training_data(checkpoint: Checkpoint, manifest: Path) -> None:
    description = checkpoint.description
    assert description.genres == read_library(manifest).genres
    assert description.data_set.tracks == {"train": 24, "valid": 12, "test": 12}
    assert description.data_set.synthetic
    library = read_library(manifest)
    known = [track for track in library.tracks if track.split != "test"]
    recordings = {sha256(library.load_audio(track)).hexdigest() for track in known}
    artists = {artist_digest(track) for track in known}
    assert checkpoint.trained_on == recordings | artists
    assert len(checkpoint.trained_on) == 2 * len(known)


def test_the_correlations_are_of_the_training_split(checkpoint: Checkpoint, manifest: Path) -> None:
    library = read_library(manifest)
    tokenizer = Tokenizer.from_file(str(checkpoint.tokenizer_file))
    lyrics_model = LyricsModel(checkpoint.network.lyrics_encoder, tokenizer)
    nodes = embed_names(lyrics_model, [genre.name for genre in library.genres])
    expected = correlations(library.labels(library.in_split("train")), nodes)
    torch.testing.assert_close(torch.tensor(checkpoint.description.correlations), expected)


def test_the_best_epoch_is_kept(
    manifest: Path, tiny: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weights_after(*scores: float) -> dict[str, Tensor]:
        """Return the weights of a run whose epochs have these validation mAPs."""
        remaining = iter(scores)
        with monkeypatch.context() as patched:
            patched.setattr(
                "trainer.fit.train.compute_metrics", lambda *_: {"map": next(remaining), "f1": 0.0}
            )
            fit_config = tiny.fit.model_copy(update={"epochs": len(scores)})
            config = tiny.model_copy(update={"fit": fit_config})
            out = tmp_path / str(len(scores))
            fit(manifest, config, out, "tones", synthetic=True)
        assert len((out / "metrics.csv").read_text().splitlines()) == 1 + len(scores)
        return load_checkpoint(out).network.state_dict()

    best, last = weights_after(0.2, 0.9, 0.1), weights_after(0.2, 0.9)
    assert all(torch.equal(best[name], last[name]) for name in last)


def test_the_metrics_are_written_for_tensorboard(checkpoint_folder: Path) -> None:
    events = EventAccumulator(str(checkpoint_folder / "tensorboard")).Reload()
    assert {"train/loss", "valid/map", "valid/f1"} <= set(events.Tags()["scalars"])
    with (checkpoint_folder / "metrics.csv").open() as file:
        expected = [float(row["valid/map"]) for row in csv.DictReader(file)]
    found = [event.value for event in events.Scalars("valid/map")]
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_same_seed_gives_the_same_weights(manifest: Path, tiny: TrainingConfig, tmp_path: Path) -> None:
    short = tiny.model_copy(update={"fit": tiny.fit.model_copy(update={"epochs": 2})})
    for name in ("one", "two"):
        fit(manifest, short, tmp_path / name, "tones", synthetic=True)
    one, two = (load_checkpoint(tmp_path / name).network.state_dict() for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert json.loads((tmp_path / "one" / "checkpoint.json").read_text()) == json.loads(
        (tmp_path / "two" / "checkpoint.json").read_text()
    )


def test_an_existing_folder_is_not_touched(manifest: Path, tiny: TrainingConfig, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="exists"):
        fit(manifest, tiny, tmp_path / "out", "tones", synthetic=True)
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_a_stopped_run_is_kept_and_resumed(
    manifest: Path, tiny: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    short = tiny.model_copy(update={"fit": tiny.fit.model_copy(update={"epochs": 1})})
    with monkeypatch.context() as patched:
        patched.setattr("trainer.fit.run.measure_with_and_without_lyrics", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(manifest, short, tmp_path / "out", "tones", synthetic=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out.unfinished"]
    with pytest.raises(OutputError, match="other settings"):
        fit(manifest, tiny, tmp_path / "out", "tones", synthetic=True)
    fit(manifest, short, tmp_path / "out", "tones", synthetic=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_run_that_is_killed_and_resumed_has_the_same_metrics(
    manifest: Path, checkpoint_folder: Path, tmp_path: Path
) -> None:
    """The fit of the fixture is repeated and killed three times: during preparation, and in two epochs."""
    out = tmp_path / "out"
    program = (
        "from pathlib import Path\n"
        "from tests.trainer.conftest import TINY\n"
        "from trainer.fit.run import fit\n"
        f"fit(Path({str(manifest)!r}), TINY, Path({str(out)!r}), 'tones', synthetic=True)\n"
    )
    unfinished = out.with_name("out.unfinished")
    for reached in (0, 3, 7):
        process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
        while _epochs(unfinished) < reached or not unfinished.exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.wait()
        assert [path.name for path in tmp_path.iterdir()] == ["out.unfinished"]
    assert _epochs(unfinished) < TINY.fit.epochs
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "metrics.csv").read_text() == (checkpoint_folder / "metrics.csv").read_text()
    found, expected = (load_checkpoint(folder).description for folder in (out, checkpoint_folder))
    assert found.measurements == expected.measurements
    assert found.thresholds == expected.thresholds


def _epochs(unfinished: Path) -> int:
    log = unfinished / "metrics.csv"
    return len(log.read_text().splitlines()) - 1 if log.exists() else 0


def test_a_moved_run_resumes_with_its_best_epoch(
    manifest: Path, tiny: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit_with_scores(out: Path, epochs: int, *scores: float) -> None:
        """Run `fit` with these validation mAPs; interrupt it in the first epoch without one."""
        remaining = iter(scores)

        def score(*_: object) -> dict[str, float]:
            if (value := next(remaining, None)) is None:
                raise KeyboardInterrupt
            return {"map": value, "f1": 0.0}

        monkeypatch.setattr("trainer.fit.train.compute_metrics", score)
        config = tiny.model_copy(update={"fit": tiny.fit.model_copy(update={"epochs": epochs})})
        fit(manifest, config, out, "tones", synthetic=True)

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit_with_scores(tmp_path / "here" / "out", 3, 0.9, 0.2)
    (tmp_path / "here").rename(tmp_path / "there")
    fit_with_scores(tmp_path / "there" / "out", 3, 0.3)
    fit_with_scores(tmp_path / "whole", 1, 0.9)
    kept, first = (load_checkpoint(tmp_path / name).network.state_dict() for name in ("there/out", "whole"))
    assert all(torch.equal(kept[name], first[name]) for name in first)


def test_a_run_that_diverges_raises_an_error(manifest: Path, tiny: TrainingConfig, tmp_path: Path) -> None:
    diverging = tiny.fit.model_copy(update={"learning_rate": 1e30})
    config = tiny.model_copy(update={"fit": diverging})
    with pytest.raises(TrainingError, match=r"diverged in epoch \d+: .*Lower fit.learning_rate"):
        fit(manifest, config, tmp_path / "out", "tones", synthetic=True)


def test_the_largest_seed_is_accepted(manifest: Path, tiny: TrainingConfig, tmp_path: Path) -> None:
    largest = tiny.fit.model_copy(update={"seed": 2**32 - 1, "epochs": 1})
    found = fit(manifest, tiny.model_copy(update={"fit": largest}), tmp_path / "out", "tones", synthetic=True)
    assert found.config.fit.seed == 2**32 - 1


def test_training_stops_if_validation_no_longer_improves(
    manifest: Path, tiny: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter((0.2, 0.5, 0.4, 0.5, 0.9))
    monkeypatch.setattr("trainer.fit.train.compute_metrics", lambda *_: {"map": next(scores), "f1": 0.0})
    early_stopping = tiny.fit.model_copy(update={"epochs": 6, "patience": 2})
    config = tiny.model_copy(update={"fit": early_stopping})
    fit(manifest, config, tmp_path / "out", "tones", synthetic=True)
    assert _epochs(tmp_path / "out") == 4


@pytest.mark.parametrize(
    "switches",
    [
        {"precision": "bf16-mixed"},
        {"negative_focus": 2.0, "negative_margin": 0.05},
        {"masked_bands": 2, "masked_frames": 2, "mixup": 0.1},
    ],
    ids=str,
)
def test_the_network_learns_with_each_option(
    manifest: Path, tiny: TrainingConfig, tmp_path: Path, switches: dict[str, object]
) -> None:
    config = tiny.model_copy(update={"fit": tiny.fit.model_copy(update=switches)})
    found = fit(manifest, config, tmp_path / "out", "tones", synthetic=True)
    assert found.measurements[0].metrics["map"] > 0.65


def test_a_recording_in_two_assigned_splits_is_left_out_of_the_later(
    manifest: Path, tiny: TrainingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = Path(shutil.copytree(manifest.parent, tmp_path / "music")) / manifest.name
    rows = [json.loads(line) for line in copy.read_text().splitlines()]
    copy.write_text("".join(json.dumps(row | {"split": None}) + "\n" for row in rows))
    library = read_library(copy)
    counts = {split: len(library.in_split(split)) for split in SPLITS}
    first, second = library.in_split("train")[0], library.in_split("test")[0]
    shutil.copy(copy.parent / first.audio, copy.parent / second.audio)
    config = tiny.model_copy(update={"fit": tiny.fit.model_copy(update={"epochs": 1})})
    found = fit(copy, config, tmp_path / "out", "tones", synthetic=True)
    assert found.data_set.tracks == counts | {"test": counts["test"] - 1}
    assert f"track {second.track_id} is left out: its recording is in the training data" in caplog.text


def test_a_genre_whose_only_track_is_unreadable_does_not_end_the_run(
    manifest: Path, tiny: TrainingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = Path(shutil.copytree(manifest.parent, tmp_path / "music")) / manifest.name
    rows = [json.loads(line) for line in copy.read_text().splitlines()]
    rows[0]["genres"] = ["polka"]
    copy.write_text("".join(json.dumps(row) + "\n" for row in rows))
    genres = json.loads((copy.parent / "genres.json").read_text())
    (copy.parent / "genres.json").write_text(json.dumps([*genres, {"slug": "polka", "name": "Polka"}]))
    (copy.parent / rows[0]["audio"]).write_bytes(b"no audio at all")
    config = tiny.model_copy(update={"fit": tiny.fit.model_copy(update={"epochs": 1})})
    found = fit(copy, config, tmp_path / "out", "tones", synthetic=True)
    assert found.data_set.tracks["train"] == 23
    assert "all training tracks of polka are left out: these genres are not learned" in caplog.text
    assert load_checkpoint(tmp_path / "out").description.genres[-1].slug == "polka"


def test_the_next_run_uses_restored_files(manifest: Path, tiny: TrainingConfig, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(manifest.parent, tmp_path / "music"))
    renamed = [file.rename(file.with_suffix(".away")) for file in copy.glob("*.wav")]
    config = tiny.model_copy(update={"fit": tiny.fit.model_copy(update={"epochs": 1})})
    with pytest.raises(ManifestError, match="fewer than two of 24 tracks are left"):
        fit(copy / manifest.name, config, tmp_path / "out", "tones", synthetic=True)
    for file in renamed:
        file.rename(file.with_suffix(".wav"))
    found = fit(copy / manifest.name, config, tmp_path / "out", "tones", synthetic=True)
    assert found.data_set.tracks["train"] == 24


def test_a_run_killed_after_early_stopping_trains_no_further_epoch(
    manifest: Path, tiny: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter((0.5, 0.4, 0.9))
    monkeypatch.setattr("trainer.fit.train.compute_metrics", lambda *_: {"map": next(scores), "f1": 0.0})
    early_stopping = tiny.fit.model_copy(update={"epochs": 6, "patience": 1})
    config = tiny.model_copy(update={"fit": early_stopping})
    with monkeypatch.context() as patched:
        patched.setattr("trainer.fit.run.choose_thresholds", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(manifest, config, tmp_path / "out", "tones", synthetic=True)
    fit(manifest, config, tmp_path / "out", "tones", synthetic=True)
    assert _epochs(tmp_path / "out") == 2


def interrupted(*_: object) -> Tensor:
    raise KeyboardInterrupt


def test_checkpoints_are_not_moved_from_the_temporary_folder(
    manifest: Path, tiny: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A move between disks is a copy, and a run that is killed during the copy would leave half a file."""
    monkeypatch.setattr("shutil.move", lambda *_: pytest.fail("moved"))
    config = tiny.model_copy(update={"fit": tiny.fit.model_copy(update={"epochs": 1})})
    fit(manifest, config, tmp_path / "out", "tones", synthetic=True)
    assert load_checkpoint(tmp_path / "out").network


def test_a_genre_without_validation_and_test_tracks_is_logged(
    manifest: Path, tiny: TrainingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = Path(shutil.copytree(manifest.parent, tmp_path / "music")) / manifest.name
    rows = [json.loads(line) for line in copy.read_text().splitlines()]
    first = next(row for row in rows if row["split"] == "train")
    first["genres"].append("polka")
    copy.write_text("".join(json.dumps(row) + "\n" for row in rows))
    genres = json.loads((copy.parent / "genres.json").read_text())
    (copy.parent / "genres.json").write_text(json.dumps([*genres, {"slug": "polka", "name": "Polka"}]))
    config = tiny.model_copy(update={"fit": tiny.fit.model_copy(update={"epochs": 1})})
    fit(copy, config, tmp_path / "out", "tones", synthetic=True)
    assert "no track of split valid has polka: their thresholds are 0.5" in caplog.text
    assert "no track of split test has polka: their quality is not measured" in caplog.text
