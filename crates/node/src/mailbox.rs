//! The two mailboxes of one I/O loop. Each is a few vectors behind a mutex, swapped whole.
//!
//! Hot: one lock per batch on either side, and one per wake-up of a connection.
//!
//! No wake-up is lost, because what says "asleep" lies under the same lock as what is waited for. Who puts something
//! in sees either a sleeper, and rings, or nobody asleep, and then the receiver has yet to look under this lock.

use std::{mem, sync::atomic::Ordering::AcqRel, task::Waker};

use crate::{
    batch::Batch,
    stats::Stats,
    submit::Submission,
    sync::{AtomicBool, Mutex, lock},
};

/// From an I/O loop to JavaScript.
#[derive(Default)]
pub struct Outlet(Mutex<Published>);

#[derive(Default)]
struct Published {
    batch: Batch,
    stats: Stats,
    /// Something has been published and not been taken.
    news: bool,
    /// The receiver has been rung for and has not rested since: it looks once more before it does.
    awake: bool,
}

impl Outlet {
    /// Appends the batch, which comes back empty with its memory or other memory. True: ring.
    pub fn publish(&self, batch: &mut Batch, stats: &Stats) -> bool {
        let mut published = lock(&self.0);
        if published.batch.is_empty() {
            mem::swap(&mut published.batch, batch);
        } else {
            published.batch.append(batch);
        }
        published.stats.clone_from(stats);
        published.news = true;
        !mem::replace(&mut published.awake, true)
    }

    /// The same for a loop that has come to its end by a fault, and lost its counters.
    pub fn publish_last(&self, batch: &mut Batch) -> bool {
        let mut stats = lock(&self.0).stats.clone();
        stats.end();
        self.publish(batch, &stats)
    }

    /// Something has been published and not been taken.
    pub fn has_news(&self) -> bool {
        lock(&self.0).news
    }

    /// Swaps an empty batch for what has been published, and writes the counters.
    pub fn take(&self, batch: &mut Batch, stats: &mut [f64]) {
        let mut published = lock(&self.0);
        if mem::replace(&mut published.news, false) {
            mem::swap(&mut published.batch, batch);
            published.stats.write(stats);
        }
    }

    /// True: all has been taken, and who publishes more is told to ring.
    pub fn rest(&self) -> bool {
        let mut published = lock(&self.0);
        published.awake = published.news;
        !published.news
    }
}

/// What an I/O loop has been woken for.
#[derive(Default)]
pub struct Work {
    /// Connections to be turned, by number.
    pub ready: Vec<u32>,
    /// Commands, oldest first.
    pub submissions: Vec<Submission>,
    /// The loop has to end at once.
    pub stop: bool,
    /// A place has become free at a gate.
    pub gates: bool,
}

impl Work {
    fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.submissions.is_empty() && !self.stop && !self.gates
    }
}

/// To an I/O loop, from JavaScript, from its own connections, and from the other I/O loops of its listener.
#[derive(Default)]
pub struct Inbox {
    state: Mutex<Waiting>,
    waits_for_gates: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    work: Work,
    /// The loop, while it is asleep.
    sleeper: Option<Waker>,
}

impl Inbox {
    fn put(&self, put: impl FnOnce(&mut Work)) {
        self.put_and(true, put);
    }

    fn put_and(&self, wake: bool, put: impl FnOnce(&mut Work)) {
        let mut waiting = lock(&self.state);
        put(&mut waiting.work);
        let sleeper = if wake { waiting.sleeper.take() } else { None };
        drop(waiting);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }

    /// A connection has something to do.
    pub fn ready(&self, connection: u32) {
        self.put(|work| work.ready.push(connection));
    }

    /// Commands from JavaScript. Quiet ones let a sleeper sleep: it finds them when it is woken for something else.
    pub fn submit(&self, submission: Submission) {
        self.put_and(submission.quiet_since.is_none(), |work| work.submissions.push(submission));
    }

    /// The loop ends as soon as it sees this.
    pub fn stop(&self) {
        self.put(|work| work.stop = true);
    }

    /// The loop wants to be told when a gate is no longer full. To be followed by one more try at the gate.
    pub fn wait_for_gates(&self) {
        self.waits_for_gates.swap(true, AcqRel);
    }

    /// A gate was full and is no longer.
    pub fn gate_opened(&self) {
        if self.waits_for_gates.swap(false, AcqRel) {
            self.put(|work| work.gates = true);
        }
    }

    /// There is something to do.
    #[cfg(any(unix, test))]
    pub fn has_work(&self) -> bool {
        !lock(&self.state).work.is_empty()
    }

    /// True: there is nothing to do, and `waker` is woken when there is.
    pub fn sleep(&self, waker: &Waker) -> bool {
        let mut waiting = lock(&self.state);
        let sleeps = waiting.work.is_empty();
        if sleeps {
            waiting.sleeper = Some(waker.clone());
        }
        sleeps
    }

    /// Swaps `work`, whose vectors are empty, for what there is to do. Nobody sleeps any more.
    pub fn take(&self, work: &mut Work) {
        let mut waiting = lock(&self.state);
        waiting.sleeper = None;
        mem::swap(&mut waiting.work, work);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };
    use std::{task::Wake, time::Instant};

    use bytes::Bytes;

    use super::*;
    use crate::batch::Batch;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn one_ring_until_it_is_answered() {
        let outlet = Outlet::default();
        let (mut batch, stats) = (Batch::default(), Stats::default());
        assert!(outlet.publish(&mut batch, &stats));
        assert!(!outlet.publish(&mut batch, &stats) && !outlet.rest());
        outlet.take(&mut batch, &mut []);
        assert!(!outlet.publish(&mut batch, &stats));
        outlet.take(&mut batch, &mut []);
        assert!(outlet.rest() && outlet.publish(&mut batch, &stats));
    }

    #[test]
    fn a_sleeper_is_woken_once_and_finds_everything() {
        let (inbox, count) = (Inbox::default(), Arc::new(Count::default()));
        let waker = Waker::from(count.clone());
        assert!(inbox.sleep(&waker));
        inbox.ready(3);
        inbox.ready(4);
        inbox.stop();
        assert_eq!(count.0.load(SeqCst), 1);
        assert!(!inbox.sleep(&waker));
        let mut work = Work::default();
        inbox.take(&mut work);
        assert_eq!((work.ready, work.stop, work.gates), (vec![3, 4], true, false));
        inbox.ready(5);
        assert_eq!(count.0.load(SeqCst), 1, "nobody sleeps");
    }

    #[test]
    fn a_sleeper_sleeps_on_over_what_is_quiet_and_finds_it() {
        let quiet = || Submission {
            words: Vec::new(),
            bytes: Bytes::new(),
            blobs: Vec::new(),
            quiet_since: Some(Instant::now()),
        };
        let (inbox, count) = (Inbox::default(), Arc::new(Count::default()));
        let waker = Waker::from(count.clone());
        assert!(inbox.sleep(&waker));
        inbox.submit(quiet());
        assert_eq!(count.0.load(SeqCst), 0);
        inbox.ready(3);
        assert_eq!(count.0.load(SeqCst), 1);
        let mut work = Work::default();
        inbox.take(&mut work);
        assert_eq!((work.submissions.len(), work.ready), (1, vec![3]));
        inbox.submit(quiet());
        assert!(!inbox.sleep(&waker), "who is awake looks at it first");
    }

    #[test]
    fn gates_are_told_only_to_who_waits() {
        let (inbox, mut work) = (Inbox::default(), Work::default());
        inbox.gate_opened();
        assert!(!inbox.has_work());
        inbox.wait_for_gates();
        inbox.gate_opened();
        inbox.take(&mut work);
        assert!(work.gates);
    }
}
