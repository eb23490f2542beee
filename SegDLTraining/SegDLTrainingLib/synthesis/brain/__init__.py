"""Generated brains: four-modality MRI phantoms, skull-stripped, with and without tumours."""

from SegDLTrainingLib.synthesis.brain.case import make_case

__all__ = ["make_case"]
