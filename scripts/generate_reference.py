"""Generate the configuration's schema, config.yaml, and the tables of keys, measures and columns."""

from pathlib import Path

from slidemill.config.example import example_text
from slidemill.config.reference import schema_text, with_tables


def generated(root: Path) -> dict[Path, str]:
    """Return the generated files of a checkout with their contents."""
    page = root / "config/README.md"
    return {
        root / "workflow/schemas/config.schema.yaml": schema_text(),
        root / "config/config.yaml": example_text(),
        page: with_tables(page.read_text(encoding="utf-8")),
    }


def main(root: Path) -> None:
    """Write the generated files."""
    for path, text in generated(root).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(__file__).parents[1])
