"""JSON as we accept it from a provider: one object, UTF-8, each name once, no NaN, every string encodable."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sidecar.core.identity import Json

__all__ = ["parse_json_object"]


def parse_json_object(text: bytes) -> dict[str, Json]:
    """Return the object that `text` holds. Raises ValueError with a sentence that quotes nothing of it.

    A name that occurs twice is refused, at any depth: two readers of the same document could see two
    different values (RFC 8725 §3.10's kin). Neither is NaN a number nor a lone surrogate a character.
    """
    try:
        value = json.loads(
            text.decode("utf-8"), object_pairs_hook=_unique_object, parse_constant=_refuse_constant
        )
        _refuse_lone_surrogates(text, value)
    except UnicodeError as error:
        raise ValueError("not UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON at character {error.pos}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  it is the document that is wrong, not a type of ours
    return value


def _unique_object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse_lone_surrogates(text: bytes, value: Json) -> None:
    # Only an escape can bring one in. It would fail much later, when the value becomes a header.
    if b"\\u" in text:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
