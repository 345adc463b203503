"""What each ingredient of a model buys: the model made again without it."""
