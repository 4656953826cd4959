//! When the connections of one I/O loop are to be turned though nothing happens.

use std::{collections::BTreeSet, time::Instant};

/// One time for each number that waits for one.
#[derive(Default)]
pub struct Timers(BTreeSet<(Instant, u32)>);

/// The place of one number among the timers: where it is set, and if it is.
#[derive(Default)]
pub struct Timer(Option<Instant>);

impl Timers {
    /// Sees to it that `number` is due at the deadline, or before. What is set is left alone unless the deadline comes to lie before
    /// it, so that a deadline that moves on with every request costs nothing.
    pub fn follow(&mut self, number: u32, timer: &mut Timer, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        if timer.0.is_some_and(|set_for| set_for <= deadline) {
            return;
        }
        self.forget(number, timer);
        self.0.insert((deadline, number));
        timer.0 = Some(deadline);
    }

    /// `number` is not due any more.
    pub fn forget(&mut self, number: u32, timer: &mut Timer) {
        if let Some(set_for) = timer.0.take() {
            self.0.remove(&(set_for, number));
        }
    }

    /// Takes out a number that is due. Its timer is to be told by [`Timer::fired`].
    pub fn due(&mut self, now: Instant) -> Option<u32> {
        let &(first, number) = self.0.first()?;
        (first <= now).then(|| {
            self.0.pop_first();
            number
        })
    }

    /// When the first is due.
    pub fn first(&self) -> Option<Instant> {
        self.0.first().map(|&(first, _)| first)
    }
}

impl Timer {
    /// It was due, and is set no more.
    pub fn fired(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_timer_follows_only_what_lies_before_it() {
        let (mut timers, mut timer, now) = (Timers::default(), Timer::default(), Instant::now());
        timers.follow(7, &mut timer, None);
        assert_eq!(timers.first(), None);
        timers.follow(7, &mut timer, Some(now + 5 * SECOND));
        timers.follow(7, &mut timer, Some(now + 9 * SECOND));
        timers.follow(7, &mut timer, None);
        assert_eq!((timers.first(), timers.due(now)), (Some(now + 5 * SECOND), None));
        timers.follow(7, &mut timer, Some(now + 2 * SECOND));
        assert_eq!((timers.first(), timers.0.len()), (Some(now + 2 * SECOND), 1));
        assert_eq!((timers.due(now + 3 * SECOND), timers.due(now + 9 * SECOND)), (Some(7), None));
        timer.fired();
        timers.follow(7, &mut timer, Some(now + 9 * SECOND));
        assert_eq!(timers.first(), Some(now + 9 * SECOND));
        timers.forget(7, &mut timer);
        assert_eq!(timers.first(), None);
    }

    #[test]
    fn the_first_is_due_first() {
        let (mut timers, now) = (Timers::default(), Instant::now());
        let mut set: Vec<_> = (0..3).map(|_| Timer::default()).collect();
        for (number, (timer, after)) in (0..).zip(set.iter_mut().zip([3, 1, 1])) {
            timers.follow(number, timer, Some(now + after * SECOND));
        }
        let due: Vec<_> = std::iter::from_fn(|| timers.due(now + 2 * SECOND)).collect();
        assert_eq!((due, timers.first()), (vec![1, 2], Some(now + 3 * SECOND)));
    }
}
