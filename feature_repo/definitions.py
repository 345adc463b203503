"""What Feast scans: the objects of `configs/features.yaml` over a workspace's lake.

The workspace is the environment's TWIN_WORKSPACE, else `default`, in its folder TWIN_HOME, else the checkout.
Only Feast imports this module.
"""

import os
from pathlib import Path

from feature_repo.event_table import ensure_table
from feature_repo.feast_objects import feast_objects
from feature_repo.spec_file import load_spec

_checkout = Path(__file__).resolve().parents[1]
_lake = (
    Path(os.environ.get("TWIN_HOME") or _checkout).resolve()
    / ".twin"
    / os.environ.get("TWIN_WORKSPACE", "default")
    / "lake"
)
_configs = Path(os.environ.get("TWIN_CONFIG_DIR", _checkout / "configs"))

# Feast reads the source's schema when it applies, so the table has to be there, if empty.
ensure_table(_lake)

_objects = feast_objects(load_spec(_configs / "features.yaml"), _lake)

# Feast finds objects by the names of this module.
globals().update({f"{type(item).__name__}_{item.name}": item for item in _objects})
