from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.engines.express.frames import FrameTracker, build_going_away


def frame(opcode: int, payload: bytes, *, fin: bool = True, mask: bytes = b"") -> bytes:
    first = bytes(((0x80 if fin else 0) | opcode,))
    bit = 0x80 if mask else 0
    size = len(payload)
    if size < 126:
        length = bytes((bit | size,))
    elif size < 65536:
        length = bytes((bit | 126,)) + size.to_bytes(2)
    else:
        length = bytes((bit | 127,)) + size.to_bytes(8)
    masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload)) if mask else payload
    return first + length + mask + masked


FRAMES = st.builds(
    frame,
    st.sampled_from([0, 1, 2, 9, 10]),
    st.sampled_from([b"", b"a", b"b" * 125, b"c" * 126, b"d" * 300, b"e" * 65535, b"f" * 65536]),
    fin=st.booleans(),
    mask=st.sampled_from([b"", b"mask"]),
)


@given(st.lists(FRAMES, min_size=1, max_size=5), st.lists(st.integers(1, 70_000), max_size=20))
def test_boundaries_are_where_frames_end(frames: list[bytes], steps: list[int]) -> None:
    """RFC 6455 §5.2: whatever the cuts, every stop is at the end of a frame, and every end is found."""
    data = b"".join(frames)
    ends = {sum(map(len, frames[: n + 1])) for n in range(len(frames))}
    tracker = FrameTracker()
    found = set()
    at = 0
    cuts = iter(steps)
    while at < len(data):
        piece = data[at : at + next(cuts, 4096)]
        at += tracker.scan(piece, until_boundary=True)
        if tracker.is_at_boundary:
            found.add(at)
    assert found == ends
    assert not tracker.has_closed


@given(st.lists(FRAMES, max_size=4), st.integers(1, 9))
def test_a_close_frame_is_seen_once_it_is_whole(frames: list[bytes], step: int) -> None:
    data = b"".join(frames) + frame(8, b"\x03\xe8bye", mask=b"mask")
    tracker = FrameTracker()
    for at in range(0, len(data) - 1, step):
        tracker.scan(data[at : min(at + step, len(data) - 1)])
        assert not tracker.has_closed
    tracker.scan(data[-1:])
    assert tracker.has_closed


def test_going_away_is_1001() -> None:
    """RFC 6455 §7.4.1; §5.1: masked towards a server, never towards a client."""
    assert build_going_away() == b"\x88\x02\x03\xe9"
    assert build_going_away(b"mask") == frame(8, b"\x03\xe9", mask=b"mask")
