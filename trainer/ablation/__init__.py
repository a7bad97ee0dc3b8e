"""The ablation: which networks it compares, the runs, the tables."""
