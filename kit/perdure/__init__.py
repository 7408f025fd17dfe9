"""Durable workflows for notebooks."""
