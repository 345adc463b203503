"""Where one customer base keeps what is made for it: its lake, state, models and reports."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")


@dataclass(frozen=True, slots=True)
class Workspace:
    """One customer base: `.twin/<name>/` for data, `mlruns/<name>/` for MLflow. Nothing is shared."""

    name: str
    checkout: Path = CHECKOUT

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError("a letter, then at most 40 letters, digits, - and _, all lower case")

    @property
    def root(self) -> Path:
        return self.checkout / ".twin" / self.name

    @property
    def lake(self) -> Path:
        """Delta Lake table of all events."""
        return self.root / "lake"

    @property
    def journal(self) -> Path:
        """SQLite file of the events that arrived live and are not in the lake yet."""
        return self.root / "journal.db"

    @property
    def decisions(self) -> Path:
        """SQLite file of what was decided for customers: the ledger that caps and budgets are counted in."""
        return self.root / "decisions.db"

    @property
    def outbox(self) -> Path:
        """SQLite file of what triggers set off: where they stand with customers, and messages to be delivered."""
        return self.root / "outbox.db"

    @property
    def outbox_lock(self) -> Path:
        """Held by the one process that looks at what events set off."""
        return self.root / "outbox.lock"

    @property
    def access(self) -> Path:
        """SQLite file of the keys that clients show."""
        return self.root / "access.db"

    @property
    def identity(self) -> Path:
        """SQLite file of identifiers, the links between them, and what customers consented to."""
        return self.root / "identity.db"

    @property
    def membership(self) -> Path:
        """Versions of who every event belongs to, as Parquet, for SQL over the lake."""
        return self.root / "membership"

    @property
    def demo_key(self) -> Path:
        """The encryption key that the demo makes for itself; elsewhere the key comes from the environment."""
        return self.root / "demo.key"

    @property
    def encryption_id(self) -> Path:
        """Id of the key that personal data here is encrypted with; not the key."""
        return self.root / "encryption.id"

    @property
    def audit(self) -> Path:
        """Log of administrative acts, one JSON line each; its anchor is `audit.head` beside it."""
        return self.root / "audit.jsonl"

    @property
    def quarantine(self) -> Path:
        """Rows that could not become events, one file an ingest, in the layout of their source."""
        return self.root / "quarantine"

    @property
    def staging(self) -> Path:
        """Batches on their way into the lake; empty between two ingests."""
        return self.root / "staging"

    @property
    def state(self) -> Path:
        """SQLite file of the online store: one row of state per customer."""
        return self.root / "state.db"

    @property
    def moments(self) -> Path:
        """SQLite file of the newest events of each kind, one record per customer."""
        return self.root / "moments.db"

    @property
    def state_builds(self) -> Path:
        """Which bulk build the states of each feature spec go back to, JSON."""
        return self.root / "state_builds.json"

    @property
    def served(self) -> Path:
        """What the service served, JSON lines (`feature_repo.served`), one file a day and process."""
        return self.root / "served"

    @property
    def state_lock(self) -> Path:
        """Held while states are built in bulk; nobody folds live events meanwhile."""
        return self.root / "state.lock"

    @property
    def specs(self) -> Path:
        """Versions of the feature spec that were seen here, and the locks of those that are served from."""
        return self.root / "specs"

    @property
    def catalogues(self) -> Path:
        """Versions of the catalogue of actions that decisions were made with."""
        return self.root / "catalogues"

    @property
    def compaction_lock(self) -> Path:
        """Held by the one process that moves the journal into the lake."""
        return self.root / "compaction.lock"

    @property
    def ingest_lock(self) -> Path:
        """Held while a file is ingested."""
        return self.root / "ingest.lock"

    @property
    def erasure(self) -> Path:
        """The erasure that runs, or that a process which died left to be finished; nothing there otherwise."""
        return self.root / "erasure.json"

    @property
    def erasure_lock(self) -> Path:
        """Held while a customer is erased; no live event is taken meanwhile."""
        return self.root / "erasure.lock"

    @property
    def feast_registry(self) -> Path:
        return self.root / "registry.db"

    @property
    def data_docs(self) -> Path:
        """Great Expectations' Data Docs."""
        return self.root / "data_docs"

    @property
    def sources(self) -> Path:
        """Files a generator wrote for this workspace."""
        return self.root / "sources"

    @property
    def bentoml_home(self) -> Path:
        return self.root / "bentoml"

    def artefacts(self, model: str) -> Path:
        """Named artefacts that the steps of one model hand to each other."""
        return self.root / "artefacts" / model

    @property
    def mlruns(self) -> Path:
        return self.checkout / "mlruns" / self.name

    @property
    def tracking_uri(self) -> str:
        """MLflow's database; its artifacts lie in `artifacts/` beside it."""
        return f"sqlite:///{self.mlruns / 'mlflow.db'}"
