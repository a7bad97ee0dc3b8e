"""A session runs on the requested provider, or is not opened."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest
from onnx import parser

from schemas.bundle import read_manifest
from schemas.errors import ConfigError
from tests.conftest import DEMO_BUNDLE
from tests.worker.models.test_gpu import RIGHT
from worker.models.model import Model
from worker.models.session import PROVIDERS, open_session, prepare_engine, provider_options, require_provider
from worker.settings import ModelSettings, Provider

MANIFEST = read_manifest(DEMO_BUNDLE)

without_gpu_runtime = pytest.mark.skipif(
    PROVIDERS["cuda"] in onnxruntime.get_available_providers(), reason="onnxruntime-gpu is installed"
)


def test_the_cpu_is_used_if_requested() -> None:
    opened = open_session(DEMO_BUNDLE, MANIFEST, ModelSettings(bundle=DEMO_BUNDLE))
    assert opened.provider == "cpu"
    assert opened.session.get_providers() == ["CPUExecutionProvider"]


@without_gpu_runtime
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_installed_raises(provider: Provider) -> None:
    with pytest.raises(ConfigError, match=f"provider {provider} is not in the installed ONNX Runtime"):
        open_session(DEMO_BUNDLE, MANIFEST, ModelSettings(bundle=DEMO_BUNDLE, provider=provider))


@without_gpu_runtime
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_the_fallback_to_the_cpu_is_logged_if_allowed(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ModelSettings(bundle=DEMO_BUNDLE, provider=provider, cpu_fallback=True)
    with caplog.at_level(logging.WARNING):
        model = Model(settings)
    assert model.provider == "cpu"
    assert "the model runs on the CPU, because COGENRE_CPU_FALLBACK is set: provider" in caplog.text


def test_a_silent_fallback_is_noticed() -> None:
    with pytest.raises(ConfigError, match="fell back to CPUExecutionProvider"):
        require_provider(["CPUExecutionProvider"], "cuda")
    with pytest.raises(ConfigError, match="fell back to CUDAExecutionProvider"):
        require_provider(["CUDAExecutionProvider", "CPUExecutionProvider"], "tensorrt")
    # There, but not first: it runs nothing.
    with pytest.raises(ConfigError, match="fell back to CUDAExecutionProvider"):
        require_provider(["CUDAExecutionProvider", "TensorrtExecutionProvider"], "tensorrt")
    require_provider(["TensorrtExecutionProvider", "CUDAExecutionProvider"], "tensorrt")


def test_int8_is_for_cpus() -> None:
    manifest = MANIFEST.model_copy(update={"graphs": {"int8": "model.fp32.onnx"}})
    settings = ModelSettings(bundle=DEMO_BUNDLE, provider="cuda", precision="int8")
    with pytest.raises(ConfigError, match="int8 graphs have no GPU kernels"):
        open_session(DEMO_BUNDLE, manifest, settings)
    with pytest.raises(ConfigError, match="int8 graphs have no GPU kernels"):
        prepare_engine(DEMO_BUNDLE, manifest, settings)
    assert open_session(DEMO_BUNDLE, manifest, settings.model_copy(update={"provider": "cpu"}))


def test_a_graph_that_tensorrt_would_cut_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.models.session.require_gpu_stack", lambda _: RIGHT)
    settings = ModelSettings(bundle=tmp_path, provider="tensorrt", engine_cache=tmp_path / "engines")

    class Reached(Exception):
        pass

    def provide_engine(*_: object) -> None:
        raise Reached

    monkeypatch.setattr("worker.models.session.provide_engine", provide_engine)
    for operator, expected in (("NonZero", ConfigError), ("Relu", Reached)):
        graph = parser.parse_graph(f"g (float[n] x) => (float[m, k] y) {{ y = {operator} (x) }}")
        onnx.save(onnx.helper.make_model(graph), tmp_path / MANIFEST.graphs["fp32"])
        with pytest.raises(expected) as raised:
            prepare_engine(tmp_path, MANIFEST, settings)
        assert expected is Reached or "set COGENRE_PRECISION=fp16" in str(raised.value)


def test_a_graph_of_another_precision_is_named() -> None:
    with pytest.raises(ConfigError, match="has no fp16 graph: set COGENRE_PRECISION to one of fp32"):
        open_session(DEMO_BUNDLE, MANIFEST, ModelSettings(bundle=DEMO_BUNDLE, precision="fp16"))


def test_a_graph_that_does_not_load_is_named(tmp_path: Path) -> None:
    (tmp_path / MANIFEST.graphs["fp32"]).write_bytes(b"no graph")
    with pytest.raises(ConfigError, match="does not load with provider cpu"):
        open_session(tmp_path, MANIFEST, ModelSettings(bundle=tmp_path, cpu_fallback=True))


def test_fp32_products_are_not_rounded() -> None:
    assert provider_options("cuda", ModelSettings(bundle=DEMO_BUNDLE))["use_tf32"] == "0"


def test_the_arena_is_limited_by_the_setting() -> None:
    settings = ModelSettings(bundle=DEMO_BUNDLE, gpu_memory_bytes=2**30)
    assert provider_options("cuda", settings)["gpu_mem_limit"] == str(2**30)
    assert "gpu_mem_limit" not in provider_options("cuda", ModelSettings(bundle=DEMO_BUNDLE))


@without_gpu_runtime
@pytest.mark.parametrize("package", ["worker", "exporter"])
def test_without_a_gpu_the_engine_command_says_what_is_missing(package: str, tmp_path: Path) -> None:
    main = f"from {package}.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", main, "engine", "--bundle", str(DEMO_BUNDLE)],
        env={"PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("cogenre: provider tensorrt is not in the installed ONNX Runtime: install")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("engines"))


def test_a_wrong_setting_of_the_engine_command_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli", "engine"],
        env={**os.environ, "COGENRE_BATCH_ROWS": "many"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("cogenre: COGENRE_BATCH_ROWS: input should be a valid integer")
