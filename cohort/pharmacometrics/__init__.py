"""What pharmacometricians do with curves, once they have them: exposure, predictive checks, scans, sensitivity."""
