"""What the words of the report mean, for a reader of another field."""

from __future__ import annotations

GLOSSARY = (
    ("AUC", "The chance that a row with label 1 has a higher probability than one with label 0; 0.5 is a coin."),
    ("BG/NBD", "A model of repeat buying from the dates of orders alone (Fader, Hardie & Lee 2005)."),
    ("Calibration error (ECE)", "How far mean probabilities lie from what happened, over ten bins of equal mass."),
    ("Jaccard", "Features in both of two lists over those in either; 1 where the lists hold the same ones."),
    ("Log-loss, nats", "Mean −ln of the probability given to what happened; lower is better. A nat is its unit."),
    ("Log-odds", "ln(p / (1 − p)) of a probability p; 0 is one half, and effects add up on this scale."),
    ("Noise floor", "The calibration error that exactly right probabilities would show by chance."),
    ("Platt", "A straight line in log-odds, fitted on held-out rows, that makes scores into probabilities."),
    ("RFM", "Recency, frequency and monetary value: when a customer last ordered, how often, for how much."),
    ("SHAP", "A way to share a prediction out among the features, so that the shares sum to it (Lundberg 2017)."),
    ("Snapshot", "The rows of one as-of day, or of one span of openings; only what was known by then is read."),
)
