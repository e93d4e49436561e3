"""Tests of the contract on disk."""
