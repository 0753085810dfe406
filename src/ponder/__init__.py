"""Ponder turns a causal language model into a reasoning model, measures it at every stage, and serves it."""

__version__ = "0.1.0"
