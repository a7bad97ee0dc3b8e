"""The adopted network as one graph: from the waveform, by the bundle's contract, to genres."""

from pathlib import Path

import torch
from torch import Tensor, nn

from exporter.adopt.source import Source
from exporter.adopt.taxonomy import Mapping
from exporter.graph import write_graph
from trainer.network.feature_extractors import rebuild_extractor

ANY_TOKENS = 8
"""Lyrics are not read, so their length is free; the exporter wants a bound that is not one."""

SMALLEST = 1e-7
"""Of a softmax probability's rest: a logit beyond ±16 would round to 0 or 1."""


class Adopted(nn.Module):
    """Feature extractor, network and taxonomy. Lyrics are taken and not read."""

    columns: Tensor

    def __init__(self, source: Source, mapping: Mapping) -> None:
        super().__init__()
        self.frontend = rebuild_extractor(source.extractor)
        self.head: nn.Module = source.model.get_submodule("classifier")
        self.body = source.model
        self.softmax = source.activation == "softmax"
        longest = max(map(len, mapping.columns))
        # Repeating a column does not change the highest of them.
        columns = [(own + own[:1] * longest)[:longest] for own in mapping.columns]
        self.register_buffer("columns", torch.tensor(columns), persistent=False)

    def forward(self, waveform: Tensor, lyrics_ids: Tensor, lyrics_mask: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        embedding = self.body(**self.frontend(waveform)).logits
        logits = self.head(embedding)
        if self.softmax:
            # The worker's sigmoid of these is the softmax of those.
            log_p = logits.log_softmax(-1)
            logits = log_p - (1 - log_p.exp()).clamp(min=SMALLEST).log()
        return logits[:, self.columns].amax(-1), embedding


def export_adopted(source: Source, mapping: Mapping, window_samples: int, file: Path) -> int:
    """Write the fp32 graph to `file`; returns the embedding's width. `source` is as before when it ends."""
    module = Adopted(source, mapping).eval()
    # Without its last layer the network gives the vector that this layer sees: the embedding.
    setattr(source.model, "classifier", nn.Identity())  # noqa: B010 - not every model declares one
    try:
        write_graph(module, window_samples, ANY_TOKENS, file)
        with torch.no_grad():
            features = module.frontend(torch.zeros(1, window_samples))
            return int(source.model(**features).logits.shape[-1])
    finally:
        setattr(source.model, "classifier", module.head)  # noqa: B010
