"""Training by the method of the paper: data, network, fit, evaluation, ablation and a synthetic corpus."""
