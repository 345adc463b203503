"""A demo retailer with known truth: ordinary export files for a machine that has no data."""

from pipelines.demo.config import DemoConfig
from pipelines.demo.generate import DemoSummary, generate, load_demo_config, source_files

__all__ = ["DemoConfig", "DemoSummary", "generate", "load_demo_config", "source_files"]
