"""Exports the adopted network as one graph with a bundle's inputs and outputs."""

from pathlib import Path

import torch
from torch import Tensor, nn

from exporter.adopt.source import Source
from exporter.adopt.taxonomy import Mapping
from exporter.graph import write_graph
from trainer.network.feature_extractors import rebuild_extractor

MAX_TOKENS = 8
"""Bound of the tokens dimension. Lyrics are ignored; the exporter needs a bound greater than 1."""

MIN_COMPLEMENT = 1e-7
"""Lower bound of 1 − p of a softmax probability p: the sigmoid of a logit beyond ±16 rounds to 0 or 1."""


class AdoptedNetwork(nn.Module):
    """Feature extractor, classifier, and mapping of labels to genres. The lyrics inputs are ignored."""

    columns: Tensor

    def __init__(self, source: Source, mapping: Mapping) -> None:
        super().__init__()
        self.frontend = rebuild_extractor(source.extractor)
        self.head: nn.Module = source.model.get_submodule("classifier")
        self.body = source.model
        self.softmax = source.activation == "softmax"
        longest = max(map(len, mapping.columns))
        # Repeating a column does not change the maximum.
        columns = [(group + group[:1] * longest)[:longest] for group in mapping.columns]
        self.register_buffer("columns", torch.tensor(columns), persistent=False)

    def forward(self, waveform: Tensor, lyrics_ids: Tensor, lyrics_mask: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        embedding = self.body(**self.frontend(waveform)).logits
        logits = self.head(embedding)
        if self.softmax:
            # Logits whose sigmoid, which the worker applies, is the softmax: log(p / (1 - p)).
            log_p = logits.log_softmax(-1)
            logits = log_p - (1 - log_p.exp()).clamp(min=MIN_COMPLEMENT).log()
        return logits[:, self.columns].amax(-1), embedding


def export_adopted(source: Source, mapping: Mapping, window_samples: int, file: Path) -> int:
    """Write the fp32 graph to `file` and return the embedding's width. `source` is restored afterwards."""
    module = AdoptedNetwork(source, mapping).eval()
    # Without its last layer the network returns that layer's input: the embedding.
    setattr(source.model, "classifier", nn.Identity())  # noqa: B010 - not every model declares one
    try:
        write_graph(module, window_samples, MAX_TOKENS, file)
        with torch.no_grad():
            features = module.frontend(torch.zeros(1, window_samples))
            return int(source.model(**features).logits.shape[-1])
    finally:
        setattr(source.model, "classifier", module.head)  # noqa: B010
