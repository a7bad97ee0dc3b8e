"""Measures the time that training's caches save, and its memory by epoch: `python benchmarks/train.py`.

The preset `small` is trained on a synthetic corpus. An epoch with cached log-mels and hidden states (as in
`fit`) alternates with the same epoch without them, which decodes and encodes every batch again. Then `fit`
itself runs, and its memory is read after every epoch. Writes `benchmarks/results/train.md`.
"""

import argparse
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.machine import machine
from media.cpus import available_cpus
from media.decode import decode_windows
from media.tokens import LyricsTokenizer, pad_tokens
from trainer.config import LittleBert, TrainingConfig, preset
from trainer.corpus.build import build_corpus
from trainer.data.library import Library
from trainer.data.read import read_library
from trainer.data.track import Track
from trainer.features.cache import Cache
from trainer.features.extract import Extractor, decoder_pool
from trainer.features.features import Example, RandomWindows
from trainer.fit import run as fit_run
from trainer.fit import train as fit_train
from trainer.network.genre_graph import correlations
from trainer.network.losses import contrastive_loss, genre_loss
from trainer.network.lyrics_model import embed_names, train_little_bert
from trainer.network.network import Network

RESULTS = Path(__file__).with_name("results") / "train.md"

SETTINGS = ("network.lyrics_model.steps=20",)
"""Few steps: the quality of the little BERT does not change the time of an epoch."""
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Cost:
    """Cost of an epoch, in seconds."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Bench:
    """A network and its training tracks."""

    network: Network
    config: TrainingConfig
    library: Library
    tokenizer: LyricsTokenizer
    tracks: list[Track]

    @classmethod
    def of(cls, manifest: Path, config: TrainingConfig, folder: Path) -> "Bench":
        library = read_library(manifest)
        tracks = library.in_split("train")
        texts = [text for track in tracks if (text := library.load_lyrics(track))]
        assert isinstance(config.network.lyrics_model, LittleBert)
        model = train_little_bert(config.network.lyrics_model, texts, config.network.max_tokens, seed=0)
        model.tokenizer.save(str(folder / "tokenizer.json"))
        nodes = embed_names(model, [genre.name for genre in library.genres])
        graph = correlations(library.labels(tracks), nodes)
        network = Network(config.network, model.encoder, nodes, graph)
        tokenizer = LyricsTokenizer(folder / "tokenizer.json", config.network.max_tokens)
        return cls(network, config, library, tokenizer, tracks)

    def epoch(self, batches: Iterable[Example]) -> None:
        """Do the training step of `fit` on every batch."""
        network, config = self.network.train(), self.config.fit
        trained = [weight for weight in network.parameters() if weight.requires_grad]
        optimiser = torch.optim.AdamW(trained, lr=config.learning_rate, fused=True)
        for log_mel, hidden, mask, labels in batches:
            lyrics_dropped = torch.rand(len(mask)) < config.lyrics_dropout
            output = network.classify(log_mel, hidden, mask, network.genre_vectors(), lyrics_dropped)
            optimiser.zero_grad()
            assert output.audio_embedding is not None
            assert output.lyrics_embedding is not None
            contrast = contrastive_loss(
                network.similarity(output.audio_embedding, output.lyrics_embedding), mask.any(1)
            )
            weight = config.contrastive_weight
            (weight * contrast + (1 - weight) * genre_loss(output.logits, labels)).backward()
            optimiser.step()

    @torch.no_grad()
    def computed_anew(self, tracks: list[Track]) -> Example:
        """Return a batch computed from the files: one window per track, decoded on all CPUs."""
        with ThreadPoolExecutor(available_cpus()) as pool:
            encoded = pool.map(self.library.load_audio, tracks)
            clips = list(pool.map(lambda one: decode_windows(one, self.config.network.audio), encoded))
        windows = torch.stack(
            [torch.from_numpy(clip.windows[int(torch.randint(len(clip.windows), ()))]) for clip in clips]
        )
        rows = [self.tokenizer.encode(self.library.load_lyrics(track)) for track in tracks]
        ids, mask = map(torch.from_numpy, pad_tokens(rows, self.config.network.max_tokens))
        log_mel: Tensor = self.network.frontend(windows)
        return log_mel, self.network.encode_lyrics(ids, mask), mask.bool(), self.library.labels(tracks)


def timed(work: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), cpu_seconds()
    work()
    return Cost(time.perf_counter() - wall, cpu_seconds() - cpu)


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def epochs(bench: Bench, folder: Path, rounds: int) -> dict[str, list[Cost]]:
    """Costs of so many epochs of each kind, taking turns, and of filling the cache and of finding it full."""
    batch = bench.config.fit.batch
    cache = Cache(folder / "cache")

    def fill() -> RandomWindows:
        with decoder_pool() as decoders:
            extractor = Extractor.for_network(bench.network, bench.tokenizer, cache, decoders)
            features = extractor.extract(bench.library, "train", Path(tempfile.mkdtemp(dir=folder)))
        return RandomWindows(features)

    found = {"filling the cache, once": [timed(fill)], "a run finds the cache full": [timed(fill)]}
    examples = fill()
    ways: dict[str, Callable[[], object]] = {
        "an epoch with warm caches": lambda: bench.epoch(DataLoader(examples, batch, shuffle=True)),
        "the same without them": lambda: bench.epoch(
            DataLoader(
                cast("Dataset[Track]", bench.tracks),
                batch,
                shuffle=True,
                collate_fn=bench.computed_anew,
            )
        ),
    }
    for work in ways.values():
        work()
    found |= {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            found[name].append(timed(work))
    return found


def memory_by_epoch(manifest: Path, config: TrainingConfig, folder: Path) -> list[int]:
    """Return the anonymous memory (RssAnon) of this process in bytes after each epoch of `fit`."""
    found: list[int] = []

    class Watched(fit_train.FitModule):
        def on_train_epoch_end(self) -> None:
            super().on_train_epoch_end()
            status = Path("/proc/self/status").read_text()
            found.extend(int(kib) << 10 for kib in re.findall(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE))

    setattr(fit_train, "FitModule", Watched)  # noqa: B010 - a class is no variable to mypy
    fit_run.fit(manifest, config, folder / "checkpoint", "corpus", True, folder / "cache")
    return found


def report(tracks: int, costs: dict[str, list[Cost]], memory: list[int]) -> str:
    """Return the content of `benchmarks/results/train.md`."""
    medians = {
        name: Cost(statistics.median(c.wall for c in own), statistics.median(c.cpu for c in own))
        for name, own in costs.items()
    }
    warm, cold = (medians[name] for name in ("an epoch with warm caches", "the same without them"))
    after_two, last = memory[1], memory[-1]
    lines = [
        "# Training, measured",
        f"`python benchmarks/train.py`, {datetime.now(UTC):%Y-%m-%d}, {machine()}.\n"
        f"Preset `small`, {tracks} synthetic training tracks, little BERT. Epochs of both kinds take "
        f"turns; medians of {len(costs['the same without them'])}.",
        "\n".join(
            ["| | wall: s | wall: tracks/s | CPU: s |", "|---|--:|--:|--:|"]
            + [
                f"| {name} | {cost.wall:.2f} | {tracks / cost.wall:.1f} | {cost.cpu:.2f} |"
                for name, cost in medians.items()
            ]
        ),
        f"Warm caches train **{cold.wall / warm.wall:.1f} times** as many tracks a second by the clock, "
        f"{cold.cpu / warm.cpu:.1f} times by CPU time. Load of the machine (1 minute) at the end: "
        f"{os.getloadavg()[0]:.1f}.",
        f"## Memory of `fit`, {len(memory)} epochs",
        f"Its own memory (`RssAnon`): {after_two / MEGABYTE:.0f} MiB after epoch 2, "
        f"{last / MEGABYTE:.0f} MiB after the last: {last / after_two - 1:+.1%}.",
    ]
    return "\n\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tracks", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    wanted = parser.parse_args()
    config = preset("small", [*SETTINGS, f"fit.epochs={wanted.epochs}"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_corpus(folder / "music", wanted.tracks, seed=1)
        manifest = folder / "music" / "manifest.jsonl"
        bench = Bench.of(manifest, config, folder)
        costs = epochs(bench, folder, wanted.rounds)
        memory = memory_by_epoch(manifest, config, folder)
    page = report(len(bench.tracks), costs, memory)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
