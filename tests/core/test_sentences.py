"""The wording of error pages."""

from __future__ import annotations

import pytest

from sidecar.core.reasons import REASONS
from sidecar.core.sentences import SENTENCES, Sentence, safe_sentence, sentence_for


def test_every_reason_and_status_has_a_sentence() -> None:
    said = {sentence_for(reason, status) for reason in ("", *REASONS) for status in range(400, 600)}
    assert said <= set(SENTENCES.values())


def test_a_reason_says_more_than_its_status() -> None:
    assert sentence_for("ambiguous_path", 400) == SENTENCES["ambiguous_path"]
    assert sentence_for("no_such_reason", 400) == SENTENCES["bad_request"]
    assert sentence_for("no_such_reason", 500) == SENTENCES["internal_error"]


@pytest.mark.parametrize("sentence", SENTENCES.values(), ids=SENTENCES)
def test_a_sentence_of_the_table_is_passed_on(sentence: Sentence) -> None:
    assert safe_sentence(403, sentence.title, sentence.message) == (sentence.title, sentence.message)


@pytest.mark.parametrize("status", [403, "403", None])
@pytest.mark.parametrize(
    ("title", "message"),
    [("<b>", "x"), ("", ""), (None, None), ("This is not open to you", "Call 0900-123456")],
)
def test_any_other_wording_is_replaced(status: object, title: object, message: object) -> None:
    """S67: what a provider or a request said never becomes our wording."""
    said = safe_sentence(status, title, message)
    assert said in {(sentence.title, sentence.message) for sentence in SENTENCES.values()}
