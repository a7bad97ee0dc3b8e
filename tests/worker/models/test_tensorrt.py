"""TensorRT engines. The build itself needs a GPU; a script replaces it here."""

import dataclasses
import fcntl
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from onnxruntime import get_available_providers as available

from schemas.bundle import read_manifest
from schemas.errors import ConfigError
from storage.atomic import LOCK_FILE
from tests.conftest import DEMO_BUNDLE
from worker.models.gpu import GpuStack
from worker.models.tensorrt import (
    CONTEXT_FILE,
    EnginePlan,
    make_plan,
    make_profile,
    provide_engine,
    tensorrt_options,
)

FOUND = GpuStack("1.27.0", (13, 0), frozenset({13}), frozenset({9}), frozenset({10}), "10.13.3", "9.0")
MANIFEST = read_manifest(DEMO_BUNDLE)
PLAN = make_plan(MANIFEST, "fp32", 16, context=False, stack=FOUND)
GRAPH = DEMO_BUNDLE / "model.fp32.onnx"

WRITES = """
import json, pathlib, sys
request = json.load(sys.stdin)
folder, timing = (pathlib.Path(request["options"][f"trt_{name}_cache_path"]) for name in ("engine", "timing"))
(folder / "graph.engine").write_text(json.dumps(request))
count = timing / "sm90.timing"
count.write_text(str(int(count.read_text()) + 1 if count.exists() else 1))
"""


def script(code: str) -> Sequence[str]:
    return (sys.executable, "-c", code)


def left(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()} - {LOCK_FILE}


def test_the_profile_covers_what_the_worker_runs() -> None:
    samples = MANIFEST.audio.window_samples
    profile = make_profile(MANIFEST, 16)
    assert profile.min_shape == {"waveform": (1, samples), "lyrics_ids": (1, 16), "lyrics_mask": (1, 16)}
    assert profile.max_shape == {"waveform": (16, samples), "lyrics_ids": (16, 64), "lyrics_mask": (16, 64)}
    for name, opt in profile.opt_shape.items():
        pairs = zip(profile.min_shape[name], opt, profile.max_shape[name], strict=True)
        assert all(least <= middle <= most for least, middle, most in pairs)


def test_every_dynamic_input_has_a_profile(tmp_path: Path) -> None:
    options = tensorrt_options(PLAN, tmp_path)
    samples = MANIFEST.audio.window_samples
    assert options["trt_profile_min_shapes"] == f"waveform:1x{samples},lyrics_ids:1x16,lyrics_mask:1x16"
    assert options["trt_profile_max_shapes"] == f"waveform:16x{samples},lyrics_ids:16x64,lyrics_mask:16x64"
    assert options["trt_engine_cache_path"] == str(tmp_path)
    assert options["trt_cuda_graph_enable"] == "0"
    assert "trt_fp16_enable" not in options


def test_a_context_model_lies_beside_its_engine(tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, context=True)
    options = tensorrt_options(plan, tmp_path, timing=tmp_path / "timing")
    assert options["trt_ep_context_file_path"] == str(tmp_path / CONTEXT_FILE)
    assert "trt_engine_cache_path" not in options
    loading = tensorrt_options(plan, tmp_path)
    assert not [name for name in loading if "context" in name or "timing" in name]


@pytest.mark.parametrize(
    "other",
    [
        {"graph_sha256": "0" * 64},
        {"precision": "fp16"},
        {"profile": make_profile(MANIFEST, 8)},
        {"context": True},
        {"onnxruntime": "1.28.0"},
        {"tensorrt": "10.14.0"},
        {"capability": "8.0"},
        {"tf32": True},
    ],
    ids=lambda other: next(iter(other)),
)
def test_the_key_changes_with_every_field_of_the_plan(other: dict[str, object]) -> None:
    changed: EnginePlan = dataclasses.replace(PLAN, **other)  # type: ignore[arg-type]
    assert changed.key != PLAN.key


def test_every_field_of_a_plan_is_tested_above() -> None:
    (mark,) = test_the_key_changes_with_every_field_of_the_plan.pytestmark  # type: ignore[attr-defined]
    tried = {name for other in mark.args[1] for name in other}
    assert tried == {field.name for field in dataclasses.fields(EnginePlan)}


def test_the_same_plan_has_the_same_folder() -> None:
    assert make_plan(MANIFEST, "fp32", 16, context=False, stack=FOUND).key == PLAN.key


def test_an_engine_is_built_once(tmp_path: Path) -> None:
    cache = tmp_path / "engines"
    built = provide_engine(PLAN, GRAPH, cache, 60, script(WRITES))
    assert built.built
    assert built.folder == cache / PLAN.key
    request = json.loads((built.folder / "graph.engine").read_text())
    assert request["graph"] == str(GRAPH)
    assert request["shapes"] == json.loads(json.dumps([PLAN.profile.min_shape, PLAN.profile.max_shape]))
    # Built elsewhere, and moved there whole.
    assert request["options"]["trt_engine_cache_path"] != str(built.folder)
    again = provide_engine(PLAN, GRAPH, cache, 60, script("raise SystemExit('built again')"))
    assert again == dataclasses.replace(built, built=False)
    assert left(cache) == {PLAN.key, PLAN.timing}


def test_the_next_build_uses_the_timings(tmp_path: Path) -> None:
    other = dataclasses.replace(PLAN, precision="fp16")
    for plan in (PLAN, other):
        provide_engine(plan, GRAPH, tmp_path, 60, script(WRITES))
    assert (tmp_path / PLAN.timing / "sm90.timing").read_text() == "2"
    assert dataclasses.replace(PLAN, tensorrt="10.14.0").timing != PLAN.timing


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.exit('out of memory')", "cannot be built: out of memory"),
        (
            WRITES + "sys.exit('too late')",
            "cannot be built: too late",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "cannot be built: exit code -9"),
        ("", "built no engine of this graph"),
    ],
    ids=["fails", "fails late", "dies", "builds nothing"],
)
def test_nothing_is_left_of_a_failed_build(tmp_path: Path, code: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        provide_engine(PLAN, GRAPH, tmp_path, 60, script(code))
    assert not left(tmp_path)
    assert provide_engine(PLAN, GRAPH, tmp_path, 60, script(WRITES)).built


def test_an_engine_without_its_context_model_is_not_cached(tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, context=True)
    writes = """
import json, pathlib, sys
context = pathlib.Path(json.load(sys.stdin)["options"]["trt_ep_context_file_path"])
(context.parent / "graph.engine").touch()
"""
    with pytest.raises(ConfigError, match="built no engine of this graph"):
        provide_engine(plan, GRAPH, tmp_path, 60, script(writes))
    assert not left(tmp_path)
    assert provide_engine(plan, GRAPH, tmp_path, 60, script(writes + "context.touch()")).built


@pytest.mark.skipif("TensorrtExecutionProvider" in available(), reason="onnxruntime-gpu is installed")
def test_the_real_builder_reports_the_missing_provider(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be built: TensorRT's provider did not start"):
        provide_engine(PLAN, GRAPH, tmp_path, 60)
    assert not left(tmp_path)


def test_a_build_is_killed_at_its_time_limit(tmp_path: Path) -> None:
    hanging = "import os, pathlib, time; pathlib.Path(r'{}').write_text(str(os.getpid())); time.sleep(600)"
    note = tmp_path / "pid"
    cache = tmp_path / "engines"
    with pytest.raises(ConfigError, match="not built in 3 s: allow more time with COGENRE_ENGINE_SECONDS"):
        provide_engine(PLAN, GRAPH, cache, 3, script(hanging.format(note)))
    assert not Path(f"/proc/{note.read_text()}").exists()
    assert not left(cache)


def test_one_build_at_a_time(tmp_path: Path) -> None:
    with (tmp_path / LOCK_FILE).open("a") as held:
        # Shared: two that only shared the lock would not keep each other out.
        fcntl.flock(held, fcntl.LOCK_SH)
        with pytest.raises(ConfigError, match="another process was building"):
            provide_engine(PLAN, GRAPH, tmp_path, 0.5, script(WRITES))
        assert not left(tmp_path)
    assert provide_engine(PLAN, GRAPH, tmp_path, 60, script(WRITES)).built


def test_an_engine_that_another_process_built_meanwhile_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / LOCK_FILE).open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        def the_other_ends(_: float) -> None:
            (tmp_path / PLAN.key).mkdir()
            fcntl.flock(held, fcntl.LOCK_UN)

        monkeypatch.setattr("time.sleep", the_other_ends)
        assert not provide_engine(PLAN, GRAPH, tmp_path, 60, script("raise SystemExit('built again')")).built


def test_leftovers_of_a_killed_build_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".building-old").mkdir()
    provide_engine(PLAN, GRAPH, tmp_path, 60, script(WRITES))
    assert left(tmp_path) == {PLAN.key, PLAN.timing}


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ConfigError, match=r"cannot write engines to .* set COGENRE_ENGINE_CACHE"):
        provide_engine(PLAN, GRAPH, tmp_path / "file" / "cache", 60, script(WRITES))
