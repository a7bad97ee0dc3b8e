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
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Cost:
    """Cost of an epoch, in seconds."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class TrainingSetup:
    """A network and its training tracks."""

    network: Network
    config: TrainingConfig
    library: Library
    tokenizer: LyricsTokenizer
    tracks: list[Track]

    @classmethod
    def prepare(cls, manifest: Path, config: TrainingConfig, folder: Path) -> "TrainingSetup":
        """Return a network with a little BERT trained on the lyrics. Writes its tokenizer to `folder`."""
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

    def train_epoch(self, batches: Iterable[Example]) -> None:
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
    def compute_batch(self, tracks: list[Track]) -> Example:
        """Return a batch computed from the files: one window per track, decoded on all CPUs."""
        with ThreadPoolExecutor(available_cpus()) as pool:
            encoded = pool.map(self.library.load_audio, tracks)
            clips = list(
                pool.map(lambda content: decode_windows(content, self.config.network.audio), encoded)
            )
        windows = torch.stack(
            [torch.from_numpy(clip.windows[int(torch.randint(len(clip.windows), ()))]) for clip in clips]
        )
        rows = [self.tokenizer.encode(self.library.load_lyrics(track)) for track in tracks]
        ids, mask = map(torch.from_numpy, pad_tokens(rows, self.config.network.max_tokens))
        log_mel: Tensor = self.network.frontend(windows)
        return log_mel, self.network.encode_lyrics(ids, mask), mask.bool(), self.library.labels(tracks)


def timed(work: Callable[[], object]) -> Cost:
    """Return the cost of a call."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    work()
    return Cost(time.perf_counter() - wall, cpu_seconds() - cpu)


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure_epochs(setup: TrainingSetup, folder: Path, rounds: int) -> dict[str, list[Cost]]:
    """Return the costs of filling the cache, of reading it, and of `rounds` epochs of each kind in turns."""
    batch = setup.config.fit.batch
    cache = Cache(folder / "cache")

    def fill() -> RandomWindows:
        with decoder_pool() as decoders:
            extractor = Extractor.for_network(setup.network, setup.tokenizer, cache, decoders)
            features = extractor.extract(setup.library, "train", Path(tempfile.mkdtemp(dir=folder)))
        return RandomWindows(features)

    costs = {"filling the cache, once": [timed(fill)], "a run with a full cache": [timed(fill)]}
    examples = fill()
    variants: dict[str, Callable[[], object]] = {
        "an epoch with caches": lambda: setup.train_epoch(DataLoader(examples, batch, shuffle=True)),
        "an epoch without caches": lambda: setup.train_epoch(
            DataLoader(
                cast("Dataset[Track]", setup.tracks),
                batch,
                shuffle=True,
                collate_fn=setup.compute_batch,
            )
        ),
    }
    for work in variants.values():
        work()
    costs |= {name: [] for name in variants}
    for _ in range(rounds):
        for name, work in variants.items():
            costs[name].append(timed(work))
    return costs


def memory_by_epoch(manifest: Path, config: TrainingConfig, folder: Path) -> list[int]:
    """Return the anonymous memory (RssAnon) of this process in bytes after each epoch of `fit`."""
    readings: list[int] = []

    class MeasuredModule(fit_train.FitModule):
        def on_train_epoch_end(self) -> None:
            super().on_train_epoch_end()
            status = Path("/proc/self/status").read_text()
            rss = re.findall(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
            readings.extend(int(kib) << 10 for kib in rss)

    setattr(fit_train, "FitModule", MeasuredModule)  # noqa: B010 - mypy does not allow an assignment to a class
    fit_run.fit(manifest, config, folder / "checkpoint", "corpus", True, folder / "cache")
    return readings


def report(tracks: int, costs: dict[str, list[Cost]], memory: list[int]) -> str:
    """Return the content of `benchmarks/results/train.md`."""
    medians = {
        name: Cost(statistics.median(c.wall for c in runs), statistics.median(c.cpu for c in runs))
        for name, runs in costs.items()
    }
    cached, uncached = (medians[name] for name in ("an epoch with caches", "an epoch without caches"))
    after_two, last = memory[1], memory[-1]
    lines = [
        "# Training, measured",
        f"`python benchmarks/train.py`, {datetime.now(UTC):%Y-%m-%d}, {machine()}.\n"
        f"Preset `small`, {tracks} synthetic training tracks, little BERT. Epochs of both kinds "
        f"alternate; medians of {len(costs['an epoch without caches'])}.",
        "\n".join(
            ["| | wall: s | wall: tracks/s | CPU: s |", "|---|--:|--:|--:|"]
            + [
                f"| {name} | {cost.wall:.2f} | {tracks / cost.wall:.1f} | {cost.cpu:.2f} |"
                for name, cost in medians.items()
            ]
        ),
        f"With caches, an epoch trains **{uncached.wall / cached.wall:.1f} times** as many tracks per "
        f"second, and {uncached.cpu / cached.cpu:.1f} times as many per CPU-second. "
        f"Load average (1 minute) at the end: {os.getloadavg()[0]:.1f}.",
        f"## Memory of `fit`, {len(memory)} epochs",
        f"Anonymous memory of the process (`RssAnon`): {after_two / MEBIBYTE:.0f} MiB after epoch 2, "
        f"{last / MEBIBYTE:.0f} MiB after the last: {last / after_two - 1:+.1%}.",
    ]
    return "\n\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tracks", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    arguments = parser.parse_args()
    config = preset("small", [*SETTINGS, f"fit.epochs={arguments.epochs}"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_corpus(folder / "music", arguments.tracks, seed=1)
        manifest = folder / "music" / "manifest.jsonl"
        setup = TrainingSetup.prepare(manifest, config, folder)
        costs = measure_epochs(setup, folder, arguments.rounds)
        memory = memory_by_epoch(manifest, config, folder)
    page = report(len(setup.tracks), costs, memory)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
