"""Generate the configuration's schema, and the tables of keys, measures and columns."""

from pathlib import Path

from slidemill.config.reference import schema_text, with_limits, with_tables


def generated(root: Path) -> dict[Path, str]:
    """Return the generated files of a checkout with their contents."""
    page, example = root / "config/README.md", root / "config/config.yaml"
    return {
        root / "workflow/schemas/config.schema.yaml": schema_text(),
        example: with_limits(example.read_text(encoding="utf-8")),
        page: with_tables(page.read_text(encoding="utf-8")),
    }


def main(root: Path) -> None:
    """Write the generated files."""
    for path, text in generated(root).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(__file__).parents[1])
