"""The time axis: order, labels, and what is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perdure.view.scale import BREAKS, axis
from perdure.view.words import DAY, HOUR, MILLISECOND, MINUTE, SECOND


def test_without_idle_time_the_axis_is_linear():
    scale = axis(0, 10 * SECOND, [2 * SECOND, 5 * SECOND], [(0, 10 * SECOND)])
    assert not scale.breaks
    assert [round(scale.position(t * SECOND), 6) for t in (0, 2, 5, 10)] == [0, 0.2, 0.5, 1]


def test_a_timer_of_thirty_days_is_cut_and_work_keeps_its_proportion():
    end = 30 * DAY + 4 * SECOND
    work = [(0, 2 * SECOND), (30 * DAY + 2 * SECOND, end)]
    scale = axis(0, end, [t for pair in work for t in pair], work)
    assert [(gap.start, gap.end) for gap in scale.breaks] == [(2 * SECOND, 30 * DAY + 2 * SECOND)]
    before = scale.position(2 * SECOND) - scale.position(0)
    after = scale.position(end) - scale.position(30 * DAY + 2 * SECOND)
    assert abs(before - after) < 1e-9
    assert before > 0.4


def test_work_is_never_cut():
    scale = axis(0, 30 * DAY, [SECOND], [(SECOND, 30 * DAY)])
    assert not scale.breaks


def test_back_offs_that_double_stay_in_proportion():
    edges, work, time = [], [], 0
    for power in range(12):
        work.append((time, time + SECOND // 10))
        edges += [time, time + SECOND // 10]
        time += SECOND // 10 + 2**power * SECOND
    assert not axis(0, time, edges, work).breaks


def test_a_hundred_nights_leave_room_for_the_days():
    edges, work = [], []
    for day in range(100):
        work.append((day * DAY, day * DAY + 2 * SECOND))
        edges += work[-1]
    scale = axis(0, 99 * DAY + 2 * SECOND, edges, work)
    assert len(scale.breaks) == 99
    assert sum(gap.right - gap.left for gap in scale.breaks) <= BREAKS + 1e-9


def test_a_run_that_only_waits_is_drawn_all_the_same():
    scale = axis(0, 5 * DAY, [], [])
    assert scale.position(5 * DAY) == 1


def test_a_run_of_no_length_has_an_axis():
    scale = axis(7, 7)
    assert scale.position(7) == 0
    assert scale.ticks[0].label == "0"


def labels(span: int) -> list[str]:
    return [tick.label for tick in axis(0, span, [], [(0, span)]).ticks]


def test_ticks_are_round_and_few():
    assert labels(10 * SECOND) == ["0", "2 s", "4 s", "6 s", "8 s", "10 s"]
    assert labels(45 * MILLISECOND)[:3] == ["0", "10 ms", "20 ms"]
    assert labels(90 * MINUTE) == ["0", "15 min", "30 min", "45 min", "1 h", "1 h 15 min", "1 h 30 min"]
    assert labels(20 * HOUR) == ["0", "3 h", "6 h", "9 h", "12 h", "15 h", "18 h"]
    assert labels(400 * DAY)[:2] == ["0", "50 d"]


def test_after_a_break_labels_count_from_its_end():
    end = 30 * DAY + 2 * SECOND
    scale = axis(0, end, [SECOND, 30 * DAY + SECOND], [(0, SECOND), (30 * DAY + SECOND, end)])
    said = [(tick.label, tick.cut) for tick in scale.ticks]
    assert ("30 d", True) in said
    assert any(label.startswith("+") for label, _ in said)


spans = st.lists(st.tuples(st.integers(0, 40 * DAY), st.integers(0, DAY)), max_size=30)


@given(spans, spans)
def test_later_is_never_drawn_further_left(work: list[tuple[int, int]], edges: list[tuple[int, int]]):
    stretches = [(start, start + length) for start, length in work]
    instants = [t for pair in stretches for t in pair] + [t for t, _ in edges]
    end = max(instants, default=0)
    scale = axis(0, end, instants, stretches)
    drawn = [scale.position(t) for t in sorted({0, end, *instants})]
    assert drawn == sorted(drawn)
    assert drawn[0] >= 0 and drawn[-1] <= 1 + 1e-9
    assert all(0 <= tick.at <= 1 + 1e-9 for tick in scale.ticks)
    for start, stop in stretches:
        assert not any(gap.start < stop and start < gap.end for gap in scale.breaks)
