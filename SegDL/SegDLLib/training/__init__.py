"""The Slicer side of training: cases of the scene out, a training beside the application, its curves in.

It stands here and not beside the training module, so that panel and module share it: both run on SegDLLib,
while SegDLTrainingLib stays pure Python.
"""
