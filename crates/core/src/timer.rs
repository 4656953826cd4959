//! Where a connection's deadlines come from: the crate has no clock and no timer of its own.

use std::{
    task::{Context, Poll},
    time::Instant,
};

/// A clock with one alarm.
pub trait Timer {
    /// The time now.
    fn now(&self) -> Instant;

    /// Ready once `deadline` has passed; until then, `cx`'s waker is called when it has. Each call replaces the last.
    fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()>;
}

/// No alarm: timeouts are noticed only when something else turns the connection.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoTimer;

impl Timer for NoTimer {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn poll_until(&mut self, deadline: Instant, _: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= deadline { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(feature = "tokio-timer")]
pub use with_tokio::TokioTimer;

#[cfg(feature = "tokio-timer")]
mod with_tokio {
    use std::{future::Future, pin::Pin};

    use super::{Context, Instant, Poll, Timer};

    /// tokio's timer (feature `tokio-timer`), armed lazily: an alarm that is early is set again when it fires.
    #[derive(Default, Debug)]
    pub struct TokioTimer(Option<Pin<Box<tokio::time::Sleep>>>);

    impl Timer for TokioTimer {
        fn now(&self) -> Instant {
            tokio::time::Instant::now().into_std()
        }

        fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
            let deadline = tokio::time::Instant::from_std(deadline);
            let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
            while sleep.as_mut().poll(cx).is_ready() {
                if sleep.deadline() >= deadline {
                    return Poll::Ready(());
                }
                sleep.as_mut().reset(deadline);
            }
            Poll::Pending
        }
    }
}
