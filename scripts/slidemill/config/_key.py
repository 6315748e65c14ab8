"""Building blocks of the configuration's model: sections, keys and types.

The types keep YAML's values unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, ValidatorFunctionWrapHandler, WrapValidator

REQUIRED: Any = ...

Spec = TypeVar("Spec")


@dataclass(frozen=True, slots=True)
class Documentation:
    """The documentation of a key made by code, which has no string below it."""

    text: str


class Section(BaseModel):
    """A mapping of keys.

    Each key has a type, a default, a description, and its documentation as the string below it.

    Types are strict: ``"256"`` is not a number, 256.0 not an integer, true not a number, and unknown keys are faults.
    Messages, tables and the schema list the keys in this order.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)


COMMENT = "$comment"
"""What the comment of a key in config.yaml is called in its schema."""


def key(default: Any, description: str | None = None, *, comment: str | None = None, **more: Any) -> Any:
    """Return a key of a section.

    A key whose default is None and whose type has no None may be left out, and is None then; null is a fault.

    Parameters
    ----------
    default
        The value of a key that is left out, as in YAML; `REQUIRED` where it may not be.
    description
        What belongs there, with unit and bounds: the remedy in messages, and what editors show. A section whose class
        describes it needs none.
    comment
        The comment above the key in config.yaml, with the alternatives. A key without one is not in that file, and the
        comment of another key names it.
    more
        As of `pydantic.Field`.
    """
    extra = more.pop("json_schema_extra", {}) | ({COMMENT: comment} if comment else {})
    return Field(default=default, description=description, json_schema_extra=extra, **more)


def _keep_given(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Return a number that `check` accepts, without making it a float.

    Otherwise rules would run again when 30 becomes 30.0.
    """
    check(value)
    return value


Text = InstanceOf[str]
"""A string. Pydantic's own refuses file names that are not UTF-8."""

AS_GIVEN = WrapValidator(_keep_given)

NonEmpty = Annotated[Text, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0), AS_GIVEN]
NotNegative = Annotated[float, Field(ge=0), AS_GIVEN]
Share = Annotated[float, Field(ge=0, le=1), AS_GIVEN]


def spec_of(spec: type[Spec], section: Section) -> Spec:
    """Return a section as the dataclass that stages take.

    The dataclass's fields have the names of keys; others keep their defaults.
    """
    names = [field.name for field in fields(cast("Any", spec)) if field.name in type(section).model_fields]
    return spec(**{name: getattr(section, name) for name in names})
