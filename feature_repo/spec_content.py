"""The content of a spec as text: it travels with what was made from it, so that no file of today is needed.

The text is JSON, and so YAML too: put back as `configs/features.yaml`, it compiles to the same features.
"""

from __future__ import annotations

import json

from feature_repo.configuration import ConfigurationError, Problem, parse
from feature_repo.spec import FeatureSpec
from feature_repo.spec_file import SpecFile, compile_spec

FILE = "features.json"


def text_of(content: SpecFile) -> str:
    """The canonical text: equal for equal contents, whatever the layout and the comments of the file were."""
    # What stands at its default is left out, so that a later default key does not change the text.
    plain = content.model_dump(mode="json", exclude_defaults=True)
    return json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def content_of(text: str, file: str = FILE) -> SpecFile:
    """What `text_of` wrote.

    Raises:
        ConfigurationError: it is not the content of a spec.
    """
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise ConfigurationError([Problem("file", "JSON", type(error).__name__, "", file)]) from None
    return parse(raw, SpecFile, file)


def compile_content(content: SpecFile, spec_hash: str, file: str = FILE) -> FeatureSpec:
    """The spec with this hash, compiled from its content.

    Raises:
        ConfigurationError: the content has mistakes, or compiles to another hash.
    """
    spec = compile_spec(content, file)
    if spec.hash != spec_hash:
        hint = "the content was changed, or another version of this program wrote it: train the model again"
        raise ConfigurationError([Problem("spec_hash", spec_hash, spec.hash, hint, file)])
    return spec
