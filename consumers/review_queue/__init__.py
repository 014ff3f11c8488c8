"""Figures and exports of what reviewers decided."""
