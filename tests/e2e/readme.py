"""The command lines that the README shows."""

from __future__ import annotations

import re

from pipelines.settings import CHECKOUT

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
BLOCKS: list[str] = re.findall(r"```(?:bash|sh)\n(.*?)```", README, re.DOTALL)
# A block of Python, and what it prints.
CONVERSATION: tuple[str, str] = re.findall(r"```python\n(.*?)```\s+```text\n(.*?)```", README, re.DOTALL)[0]
COMMANDS = [line.split("  #")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]
