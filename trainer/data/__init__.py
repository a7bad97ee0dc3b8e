"""Labelled tracks: manifests, public data sets, genres, splits, and the files of the tracks."""
