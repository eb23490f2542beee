"""The Slicer side of SegDL: nodes, results, the engine process and the panel."""
