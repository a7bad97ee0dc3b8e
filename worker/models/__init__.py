"""Loads bundles, runs them in batches, and follows the status of their models in the catalog."""
