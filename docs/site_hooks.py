"""Hooks of the documentation site: the list of decisions, and links to files that are no pages."""

import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)\s#]+)(#[^)\s]*)?\)")
COMMANDS = re.compile(r"<!-- commands: .*? -->")


def on_config(config: Any) -> Any:
    """Fill the empty `Decisions` of the navigation with all pages of `adr/`."""
    docs = Path(config["docs_dir"])
    decisions = [f"adr/{path.name}" for path in sorted((docs / "adr").glob("*.md"))]
    for section in config["nav"]:
        for entry in section.get("Explanations", []):
            if "Decisions" in entry:
                entry["Decisions"] = decisions
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Links to files of the repository outside of `docs/` become text with the path: the site does not hold them.
    The page of commands gets their reference."""
    if page.file.src_uri == "commands.md":
        from fluidsr.cli.reference import reference

        return COMMANDS.sub(lambda _: reference(), markdown)
    docs = Path(config["docs_dir"]).resolve()
    folder = Path(page.file.abs_src_path).resolve().parent

    def replaced(match: re.Match[str]) -> str:
        target = (folder / match[2]).resolve()
        if target.is_relative_to(docs):
            return match[0]
        path = target.relative_to(docs.parent).as_posix()
        return match[1] if path in match[1] else f"{match[1]} (`{path}`)"

    return LINK.sub(replaced, markdown)
