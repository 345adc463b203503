"""How good probabilities are, and how sure one can be of it: shared by the steps that judge models."""
