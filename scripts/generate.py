"""Write the files that are derived from the configuration's model: its schema, and the table of its keys."""

from pathlib import Path

from slidemill.runs.config_reference import schema_text, with_key_table


def generated(root: Path) -> dict[Path, str]:
    """Return the generated files of a checkout with their contents."""
    page = root / "config/README.md"
    return {
        root / "workflow/schemas/config.schema.yaml": schema_text(),
        page: with_key_table(page.read_text(encoding="utf-8")),
    }


def main(root: Path) -> None:
    """Write the generated files anew."""
    for path, text in generated(root).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(__file__).parents[1])
