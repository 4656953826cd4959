//! The memory that JavaScript owns and native code fills and reads.
//!
//! The addresses are taken once, at the start of a loop, because passing typed arrays costs more than a batch. One
//! of the files with `unsafe` code.

use hyperpull::error::{Code, Error};
use napi::bindgen_prelude::{Float64Array, Uint8Array, Uint32Array};
use napi_derive::napi;

use crate::{
    batch::CAPACITY_MIN,
    kinds::{COMMAND_WORDS, EVENT_WORDS, queue},
    stats::STATS_WORDS,
};

/// The views of one I/O loop's memory. They are not to be transferred, detached or resized.
#[napi(object, object_to_js = false)]
pub struct LoopMemory {
    /// 12 words a record; the same buffer is read as Float64Array.
    pub events: Uint32Array,
    /// The bytes of the records.
    pub event_bytes: Uint8Array,
    /// 8 words a record; the first is the queue's own (`queue`).
    pub commands: Uint32Array,
    /// The bytes of the records.
    pub command_bytes: Uint8Array,
    /// Written by each take that looks into the mailbox.
    pub stats: Float64Array,
}

/// The views, checked. Each holds a strong reference on its array; all are used and dropped on the JavaScript thread.
pub struct Memory(LoopMemory);

/// What `take` fills.
pub struct ForTake<'a> {
    pub events: &'a mut [u32],
    pub event_bytes: &'a mut [u8],
    pub stats: &'a mut [f64],
}

impl Memory {
    /// Checks sizes, and that no view lies over another.
    pub fn new(memory: LoopMemory) -> Result<Self, Error> {
        let sizes = [
            (memory.events.len(), EVENT_WORDS, "memory.events"),
            (memory.event_bytes.len(), CAPACITY_MIN, "memory.eventBytes"),
            (memory.commands.len(), COMMAND_WORDS, "memory.commands"),
            (memory.stats.len(), STATS_WORDS, "memory.stats"),
        ];
        if let Some((_, least, name)) = sizes.into_iter().find(|(size, least, _)| size < least) {
            return Err(Error::new(Code::InvalidOption, format!("{name} must have {least} elements at least")));
        }
        let mut spans = [
            memory.events.as_ptr_range_bytes(),
            memory.event_bytes.as_ptr_range_bytes(),
            memory.commands.as_ptr_range_bytes(),
            memory.command_bytes.as_ptr_range_bytes(),
            memory.stats.as_ptr_range_bytes(),
        ];
        spans.sort_unstable();
        if spans.windows(2).any(|pair| matches!(pair, [before, after] if before.1 > after.0)) {
            return Err(Error::new(Code::InvalidOption, "the views of memory must not overlap"));
        }
        Ok(Self(memory))
    }

    /// How many bytes of events fit in at once.
    pub fn event_capacity(&self) -> usize {
        self.0.event_bytes.len()
    }

    /// What `take` fills.
    pub fn for_take(&mut self) -> ForTake<'_> {
        // SAFETY: this is the JavaScript thread (`Memory` lives in an object that only it can reach) and JavaScript
        // does not run before the borrow ends, so nobody else reads or writes. The references keep the arrays alive
        // where they are: the facade made their buffers, shows them to nobody, and neither transfers nor resizes
        // them. No two views overlap (`new`).
        unsafe {
            ForTake {
                events: self.0.events.as_mut(),
                event_bytes: self.0.event_bytes.as_mut(),
                stats: self.0.stats.as_mut(),
            }
        }
    }

    /// The commands that are queued, and their bytes; None when the queue says more than there is room for. Not to be held over a return to
    /// JavaScript.
    pub fn queued(&self) -> Option<(&[u32], &[u8])> {
        let (own, commands) = self.0.commands.split_at_checked(COMMAND_WORDS)?;
        let words = (*own.get(queue::RECORDS)? as usize).checked_mul(COMMAND_WORDS)?;
        Some((commands.get(..words)?, self.0.command_bytes.get(..*own.get(queue::BYTES)? as usize)?))
    }

    /// Commands are queued.
    pub fn has_queued(&self) -> bool {
        self.0.commands.get(queue::RECORDS).is_some_and(|&records| records > 0)
    }

    /// A flush is arranged, as JavaScript sees it: it arranges none of its own.
    pub fn arrange_flush(&mut self) {
        if let Some(arranged) = self.queue().get_mut(queue::ARRANGED) {
            *arranged = 1;
        }
    }

    /// What was queued has been taken, and no flush is arranged.
    pub fn flushed(&mut self) {
        self.queue().fill(0);
    }

    /// The queue's own record.
    fn queue(&mut self) -> &mut [u32] {
        // SAFETY: as in `for_take`.
        let commands = unsafe { self.0.commands.as_mut() };
        commands.get_mut(..COMMAND_WORDS).unwrap_or_default()
    }
}

/// Where a view lies.
trait Span {
    fn as_ptr_range_bytes(&self) -> (usize, usize);
}

impl<T, A: std::ops::Deref<Target = [T]>> Span for A {
    fn as_ptr_range_bytes(&self) -> (usize, usize) {
        let range = self.as_ptr_range();
        (range.start.addr(), range.end.addr())
    }
}
