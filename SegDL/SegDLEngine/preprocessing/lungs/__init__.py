"""Lung isolation of report 001 as separate steps; ``isolation.isolate_lungs`` runs them in order."""
