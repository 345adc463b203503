"""How models are made: ingest, validate, dataset, tune, train, evaluate, explain, register."""

import os

# Libraries that call home by default do not, unless the user has decided otherwise.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
# Idle threads of LightGBM sleep instead of spinning: on a busy machine spinning is 20 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
