"""Labelled tracks: manifests, public data sets, genres, splits, and the files that they name."""
