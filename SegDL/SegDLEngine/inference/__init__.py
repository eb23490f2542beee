"""Running a network over a volume: device, precision, slices, Monte Carlo, postprocessing."""
