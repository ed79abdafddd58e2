"""Gardener: a local assistant for people who live in many codebases."""

__version__ = "0.1.0"
