"""The last label by the time it was given counts, in whatever order labels are read and however often they come."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from hypothesis import given, settings
from hypothesis import strategies as st

from radiolog.log.stage import Coordinates, Received
from schemas.events import NAMESPACE, Decision, Label, LabelSource, Severity
from training.labels import Labels

IMAGES = [uuid5(NAMESPACE, str(number)) for number in range(3)]
CODES = ["233604007", "309529002"]
THEN = datetime(2026, 1, 1, tzinfo=UTC)


def label(offset: int, image: UUID, code: str, author: str, hour: int, decision: Decision) -> Received[Label]:
    event = Label(
        event_id=uuid5(NAMESPACE, f"{image}{code}{author}{hour}{decision}"),
        code_version="test",
        study_uid="2.25.1",
        image_event_id=image,
        code=code,
        name="finding",
        decision=decision,
        severity=Severity.UNKNOWN,
        source=LabelSource.RADIOLOGIST,
        author=author,
        labelled_at=THEN + timedelta(hours=hour),
    )
    return Received(event, Coordinates("labels", 0, offset))


def folded(items: list[Received[Label]]) -> Labels:
    labels = Labels()
    for item in items:
        labels.add(item)
    return labels


SAID = st.tuples(
    *(st.sampled_from(IMAGES), st.sampled_from(CODES), st.sampled_from("ab"), st.integers(0, 3)),
    st.sampled_from([Decision.PRESENT, Decision.ABSENT, Decision.INDETERMINATE]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(SAID, max_size=25, unique=True), st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_matters(said: list, random) -> None:
    items = [label(offset, *one) for offset, one in enumerate(said)]
    shuffled = random.sample(items, len(items))
    resent = [Received(item.event, Coordinates("labels", 0, 100 + item.at.offset)) for item in shuffled]
    once, again = folded(items), folded([*shuffled, *resent])
    for image in IMAGES:
        known = [one for one in zip(said, range(len(said)), strict=True) if one[0][0] == image]
        for code in CODES:
            last = max((one for one in known if one[0][1] == code), key=lambda one: (one[0][3], one[1]), default=None)
            decision = last[0][4] if last is not None else None
            expected = {} if decision in (None, Decision.INDETERMINATE) else {code: decision is Decision.PRESENT}
            assert once.of(image, [code]) == again.of(image, [code]) == expected
        assert list(once.conflicts(image, CODES)) == list(again.conflicts(image, CODES))
        assert once.has(image) == bool(known)
    assert (again.read, again.resent) == (2 * len(said), len(said))


def test_authors_that_disagree_are_in_conflict_and_one_who_changes_its_mind_is_not() -> None:
    image, code = IMAGES[0], CODES[0]
    changed = [label(0, image, code, "a", 0, Decision.PRESENT), label(1, image, code, "a", 1, Decision.ABSENT)]
    assert list(folded(changed).conflicts(image, CODES)) == []
    disputed = folded([*changed, label(2, image, code, "b", 0, Decision.PRESENT)])
    assert list(disputed.conflicts(image, CODES)) == [code]
    assert disputed.of(image, CODES) == {code: False}


def test_a_label_counts_for_what_follows_from_it() -> None:
    image, (pneumonia, viral) = IMAGES[0], ("233604007", "75570004")
    both = (pneumonia, viral)
    kind = label(0, image, viral, "a", 0, Decision.PRESENT)
    none = label(1, image, pneumonia, "b", 1, Decision.ABSENT)
    assert folded([kind]).of(image, both) == {pneumonia: True, viral: True}
    assert folded([none, kind]).of(image, both) == {pneumonia: False, viral: False}
    again = label(2, image, pneumonia, "b", 2, Decision.PRESENT)
    assert folded([none, again]).of(image, both) == {pneumonia: True}
    assert folded([none, again, kind]).of(image, both) == {pneumonia: True, viral: True}
    later = label(3, image, viral, "a", 3, Decision.PRESENT)
    assert folded([none, later]).of(image, both) == {pneumonia: True, viral: True}
    assert folded([label(0, image, viral, "a", 0, Decision.ABSENT)]).of(image, both) == {viral: False}
    assert folded([label(0, image, pneumonia, "a", 0, Decision.PRESENT)]).of(image, both) == {pneumonia: True}
    assert folded([label(0, image, viral, "a", 0, Decision.INDETERMINATE)]).of(image, both) == {}
