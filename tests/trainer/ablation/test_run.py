"""The ablation: its rows, its tables, and that it resumes after it was stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ConfigError
from storage.errors import OutputError
from tests.conftest import ROOT
from tests.trainer.fit.process_group import wait_for_group
from trainer.ablation.rows import FULL, LAMBDAS, PAPER, Result, plan_runs
from trainer.ablation.run import RUNS, TABLES_JSON, ablate
from trainer.ablation.tables import Scores, as_json, as_markdown, differences
from trainer.config import TrainingConfig, preset
from trainer.errors import TrainingError
from trainer.fit.train import train
from trainer.network.network import Network

RUNS_OF_ONE_SEED = 18
"""Audio only, late fusion, eight combinations, and the eight values of λ that no other row has."""

SETTINGS = [
    'network.audio={"sample_rate":8000,"window_seconds":1,"windows":1,"picking":"spread"}',
    'network.lyrics_model={"vocabulary":100,"layers":1,"width":16,"heads":2,"steps":2}',
    *("network.fusion_layers=1", "network.attention_hidden=0", "network.graph_width=16"),
    *("network.n_fft=512", "network.hop=256", "network.width=16", "network.max_tokens=12", "fit.epochs=1"),
]
CONFIG = preset("ablation", SETTINGS)


def ablate_command(manifest: Path, out: Path) -> list[str]:
    """Return the command line, with two processes and a cache beside `out`."""
    program = str(Path(sys.executable).with_name("cogenre-train"))
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return [
        *(program, "ablate", str(out), "--source", str(manifest), "--cache", str(out.parent / "cache")),
        *("--preset", "ablation", "--seeds", "1", "--processes", "2", *settings),
    ]


@pytest.fixture(scope="module")
def finished(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an ablation that was killed after some of its runs, and then resumed."""
    folder = tmp_path_factory.mktemp("ablation")
    out = folder / "out"
    command = ablate_command(manifest, out)
    process = subprocess.Popen(command, start_new_session=True, cwd=ROOT)
    while not list(out.glob(f"{RUNS}/*.json")):
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.wait()
    wait_for_group(process.pid)
    done = {file: file.stat().st_mtime_ns for file in out.glob(f"{RUNS}/*.json")}
    assert 0 < len(done) < RUNS_OF_ONE_SEED
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    assert {file: file.stat().st_mtime_ns for file in done} == done
    assert not (out / "scratch").exists()
    return out


def test_every_row_differs_from_the_full_method_only_in_its_parts(tiny: TrainingConfig) -> None:
    runs = {run.name: run.config for run in plan_runs(tiny, seeds=1)}
    assert len(runs) == RUNS_OF_ONE_SEED
    full = runs["full-0"].model_dump()
    switches = ("contrastive", "cross_attention", "genre_graph")
    assert all(full["network"][switch] for switch in switches)
    differing = {
        name: {
            key
            for part in ("network", "fit")
            for key, value in config.model_dump()[part].items()
            if value != full[part][key]
        }
        for name, config in runs.items()
    }
    assert differing["concatenation-0"] == set(switches)
    assert differing["late-fusion-0"] == {*switches, "fusion_layers"}
    assert all(config.network.fusion_layers == 1 for name, config in runs.items() if name != "late-fusion-0")
    assert differing["contrastive+genre-graph-0"] == {"cross_attention"}
    assert differing["audio-only-0"] == {*switches, "lyrics"}
    assert differing["lambda-0.7-0"] == {"contrastive_weight"}
    assert runs["lambda-0.7-0"].fit.contrastive_weight == 0.7


def test_late_fusion_is_concatenation_where_every_row_has_its_layer(tiny: TrainingConfig) -> None:
    network = tiny.network.model_copy(update={"fusion_layers": 2})
    runs = plan_runs(tiny.model_copy(update={"network": network}), seeds=1)
    assert len(runs) == RUNS_OF_ONE_SEED - 1
    assert "late-fusion" not in {run.row for run in runs}
    without = as_markdown([result("concatenation", 0, 0.5)], {}, configured=0.3)
    assert "it is the row concatenation" in without
    assert "| late-fusion |" not in without
    both = [result(row, 0, 0.5) for row in ("concatenation", "late-fusion")]
    assert "| late-fusion |" in as_markdown(both, {}, configured=0.3)


def test_runs_are_ordered_by_seed_and_the_sweep_has_one_seed(tiny: TrainingConfig) -> None:
    runs = plan_runs(tiny, seeds=3)
    assert len(runs) == 3 * 10 + 8
    assert [run.seed for run in runs[:20]] == [0] * 10 + [1] * 10
    assert {run.config.fit.seed for run in runs} == {0, 1, 2}
    assert all(run.row.startswith("lambda") and run.seed == 0 for run in runs[30:])


def test_a_finished_ablation_repeats_no_run(finished: Path, manifest: Path) -> None:
    files = sorted((finished / RUNS).iterdir())
    assert len(files) == RUNS_OF_ONE_SEED
    before = {file: file.stat().st_mtime_ns for file in files}
    ablate(manifest, CONFIG, finished, seeds=1, cache=finished.parent / "cache", processes=1)
    assert {file: file.stat().st_mtime_ns for file in files} == before


def test_runs_of_other_settings_or_tracks_are_not_mixed(
    finished: Path, manifest: Path, tmp_path: Path
) -> None:
    longer = preset("ablation", [*SETTINGS, "fit.epochs=2"])
    with pytest.raises(OutputError, match="other settings"):
        ablate(manifest, longer, finished, seeds=1, cache=tmp_path, processes=1)
    lines = manifest.read_text().splitlines()
    (manifest.parent / "fewer.jsonl").write_text("\n".join(lines[:-1]))
    with pytest.raises(OutputError, match="other tracks"):
        ablate(manifest.parent / "fewer.jsonl", CONFIG, finished, seeds=1, cache=tmp_path, processes=1)


def test_the_error_names_a_damaged_result(finished: Path, manifest: Path) -> None:
    file = finished / RUNS / "concatenation-0.json"
    content = file.read_text()
    file.write_text(content[:40])
    with pytest.raises(OutputError, match="is not the result of a run"):
        ablate(manifest, CONFIG, finished, seeds=1, cache=finished.parent / "cache", processes=1)
    file.write_text(content)


def result(row: str, seed: int, score: float) -> Result:
    metrics = dict.fromkeys(
        ("accuracy", "f1", "micro_f1", "macro_f1", "map", "roc_auc", "subset_accuracy"), score
    )
    return Result(row=row, seed=seed, config=TrainingConfig(), tracks="t", metrics=metrics, seconds=60)


def test_means_and_spreads_are_over_seeds() -> None:
    scores = Scores([result(FULL, seed, score) for seed, score in enumerate((0.5, 0.6, 0.7))])
    assert str(scores.summary(FULL, "f1")) == "0.600 ± 0.100"
    assert scores.summary("audio-only", "f1") is None


def test_differences_are_computed_by_seed() -> None:
    results = [result(FULL, seed, score) for seed, score in enumerate((0.5, 0.7))]
    results += [result("audio-only", seed, score) for seed, score in enumerate((0.4, 0.6))]
    above = differences(Scores(results), "accuracy")["full above audio-only"]
    assert above is not None
    assert above.mean == pytest.approx(0.1)
    assert above.spread == pytest.approx(0)


def test_a_part_is_measured_with_every_combination_of_the_others() -> None:
    rows = dict.fromkeys(PAPER, 0.5) | {"contrastive": 0.9}
    added = differences(Scores([result(name, 0, score) for name, score in rows.items()]), "f1")
    gains = [added[f"{part} added"] for part in ("L_AL", "SCMA", "GCEM")]
    assert [round(gain.mean, 6) for gain in gains if gain] == [0.1, -0.1, -0.1]


def test_the_papers_numbers_are_in_their_own_section() -> None:
    page = as_markdown([result(FULL, 0, 0.75)], {"data": "tones"}, configured=0.3)
    ours, papers = page.split("## The paper's numbers")
    assert "0.456" in papers
    assert "another data set" in papers
    assert "0.456" not in ours
    assert "0.750" in ours
    assert "0.750" not in papers


def test_lambda_0_and_the_configured_lambda_use_existing_rows() -> None:
    results = [
        result(FULL, 0, 0.8),
        result("cross-attention+genre-graph", 0, 0.7),
        result("lambda-0.5", 0, 0.6),
    ]
    page = as_markdown(results, {}, configured=0.3)
    assert "| 0.0 | 0.700 |" in page
    assert "| 0.3 | 0.800 |" in page
    assert "| 0.5 | 0.600 |" in page
    assert "| 0.9 | – |" in page


def test_the_json_contains_every_run(finished: Path) -> None:
    tables = json.loads((finished / TABLES_JSON).read_text())
    assert len(tables["runs"]) == RUNS_OF_ONE_SEED
    assert set(tables["lambda_rows"]) == {str(weight) for weight in LAMBDAS}
    assert set(tables["rows"][FULL]) >= {"accuracy", "f1", "map"}
    assert tables["paper"]["rows"][FULL] == {"accuracy": 0.456, "f": 0.534}
    assert as_json([], {}, 0.3)


def test_more_than_one_device_is_refused(manifest: Path, tmp_path: Path) -> None:
    """With two devices, Lightning starts the command a second time, which would clear the scratch folder."""
    config = preset("ablation", [*SETTINGS, "fit.devices=2"])
    with pytest.raises(ConfigError, match=r"uses one device: remove fit.devices"):
        ablate(manifest, config, tmp_path / "out", 1, tmp_path / "cache", 1)


def test_a_killed_process_is_reported_in_one_line(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(ablate_command(manifest, out), stderr=subprocess.PIPE, text=True, cwd=ROOT)
    while not list(out.glob(f"{RUNS}/*.json")):
        assert process.poll() is None
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    runs = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(runs[0]), signal.SIGKILL)
    stderr = process.communicate()[1]
    assert process.returncode == 2
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1].endswith(
        "a process was killed, probably because memory ran out: lower --processes"
    )


def test_a_run_that_diverges_does_not_stop_the_others(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges(network: Network, *rest: Any, **settings: Any) -> bool:
        if not network.config.lyrics:
            raise TrainingError("diverged")
        return train(network, *rest, **settings)

    monkeypatch.setattr("trainer.ablation.run.train", diverges)
    monkeypatch.setattr("trainer.ablation.run.plan_runs", lambda *_: plan_runs(CONFIG, 1)[:4])
    out = tmp_path / "out"
    with pytest.raises(TrainingError, match=r"missing from the tables: audio-only-0"):
        ablate(manifest, CONFIG, out, 1, tmp_path / "cache", 1)
    done = {f"{run.name}.json" for run in plan_runs(CONFIG, 1)[:4]} - {"audio-only-0.json"}
    assert {file.name for file in (out / RUNS).iterdir()} == done
    assert (out / TABLES_JSON).exists()
