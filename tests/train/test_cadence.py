"""When a train stage writes previews and checkpoints."""

from headbench.harness.train.save_schedule import PREVIEWS, SHARE, SaveSchedule


def checkpoints(total: int, rate: float, cost: float, every: int | None = None) -> tuple[list[int], float]:
    """Steps of checkpoints of a synthetic run, and the share of its time that they took."""
    now = 0.0
    save_schedule = SaveSchedule(total, checkpoint_every=every, clock=lambda: now)
    found: list[int] = []
    for step in range(1, total + 1):
        now += 1 / rate
        if save_schedule.checkpoint(step):
            now += cost
            save_schedule.wrote(cost)
            found.append(step)
    return found, len(found) * cost / now


def test_slow_steps_have_a_checkpoint_every_thousand() -> None:
    found, _ = checkpoints(5500, rate=10, cost=0.5)
    assert found == [1000, 2000, 3000, 4000, 5000, 5500]


def test_fast_steps_do_not_wait_for_checkpoints_more_than_their_share() -> None:
    found, share = checkpoints(500_000, rate=500, cost=0.5)
    assert all(step % 1000 == 0 for step in found)
    assert 0.5 * SHARE < share <= 1.1 * SHARE
    assert found[-1] == 500_000


def test_steps_that_were_asked_for_are_kept() -> None:
    found, _ = checkpoints(100, rate=1e6, cost=10, every=30)
    assert found == [30, 60, 90, 100]


def test_a_run_has_a_handful_of_previews_however_long_it_is() -> None:
    for total, every in ((600, 600), (6000, 1000), (600_000, 30_000), (610_000, 31_000)):
        save_schedule = SaveSchedule(total)
        found = [step for step in range(1, total + 1) if save_schedule.preview(step)]
        assert found[0] == every
        assert found[-1] == total
        assert len(found) <= PREVIEWS
    save_schedule = SaveSchedule(100, preview_every=40)
    assert [step for step in range(1, 101) if save_schedule.preview(step)] == [40, 80, 100]
