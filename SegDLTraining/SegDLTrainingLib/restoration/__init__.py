"""Pretraining without labels: restore a distorted cube (Models Genesis, Zhou et al. 2019; report 003)."""
